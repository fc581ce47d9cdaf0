"""The published round, read as another implementation would: from its messages alone to the sum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feddiff_crypto
from feddiff_crypto.encoding import decode
from feddiff_crypto.keys import CONSISTENCY_LABEL, AgreementKey, IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import (
    Advertise,
    ConsistencySignature,
    MaskedInput,
    Roster,
    SurvivorSet,
    UnmaskReply,
)
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.roster import check_roster
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.shamir import Share, combine

FILE = Path(feddiff_crypto.__file__).parent / "vectors" / "round.json"


@pytest.fixture(scope="module")
def vector() -> dict[str, Any]:
    (only,) = json.loads(FILE.read_text(encoding="utf-8"))["vectors"]
    vector: dict[str, Any] = only
    return vector


def read(vector: dict[str, Any], phase: str, kind: Any) -> dict[str, Any]:
    """The messages of a phase by party."""
    sent = vector["messages"][phase]
    return {name: kind.from_message(decode(bytes.fromhex(raw))) for name, raw in sent.items()}


def roster_of(vector: dict[str, Any]) -> Roster:
    adverts = read(vector, "advertise", Advertise)
    return Roster(
        bytes.fromhex(vector["context"]), tuple(adverts[name] for name in sorted(adverts))
    )


def registry_of(vector: dict[str, Any]) -> Registry:
    identities = vector["identities"].items()
    return Registry({name: IdentityKey(bytes.fromhex(raw)).public for name, raw in identities})


def test_the_contexts_are_those_of_the_stated_facts(vector: dict[str, Any]) -> None:
    context = RoundContext(
        vector["session"],
        vector["round_index"],
        vector["attempt"],
        bytes.fromhex(vector["model_hash"]),
        bytes.fromhex(vector["config_hash"]),
    )
    roster = roster_of(vector)
    assert context.digest().hex() == vector["context"]
    assert roster.digest().hex() == vector["roster_hash"]
    assert context.with_roster(roster.digest()).digest().hex() == vector["context_with_roster"]


def test_adverts_and_survivor_set_carry_valid_signatures(vector: dict[str, Any]) -> None:
    registry, roster = registry_of(vector), roster_of(vector)
    policy = Policy(vector["owners"], vector["dropouts"], vector["colluders"])
    assert policy.threshold == vector["threshold"]
    check_roster(roster, registry, policy, roster.context)
    context = bytes.fromhex(vector["context_with_roster"])
    digest = SurvivorSet(context, tuple(vector["survivors"])).digest()
    signed = read(vector, "consistency", ConsistencySignature)
    assert len(signed) >= policy.threshold
    for party, message in signed.items():
        registry.verify(party, message.signature, CONSISTENCY_LABEL, digest)


def test_the_revealed_shares_open_the_published_secrets(vector: dict[str, Any]) -> None:
    replies = read(vector, "unmask", UnmaskReply)
    position = {name: x for x, name in enumerate(sorted(vector["identities"]), start=1)}
    opened = {
        "self_secrets": {p: {n: r.self_shares[p] for n, r in replies.items()} for p in replies},
        "mask_keys": {"cy": {n: r.key_shares["cy"] for n, r in replies.items()}},
    }
    for kind, secrets in opened.items():
        for party, values in secrets.items():
            shares = [Share.from_bytes(position[n], value) for n, value in values.items()]
            assert combine(shares, vector["threshold"]).hex() == vector[kind][party]


def test_the_masks_come_off_to_the_survivors_sum(vector: dict[str, Any]) -> None:
    inputs = read(vector, "masked input", MaskedInput)
    assert sorted(inputs) == vector["survivors"]
    total = np.zeros(3, np.uint32)
    for message in inputs.values():
        total += message.vector
    assert total.tolist() != vector["sum"]
    revealed = Revealed(
        {name: bytes.fromhex(raw) for name, raw in vector["self_secrets"].items()},
        {name: AgreementKey(bytes.fromhex(raw)) for name, raw in vector["mask_keys"].items()},
    )
    remove_masks(total, roster_of(vector), bytes.fromhex(vector["context_with_roster"]), revealed)
    plain = [vector["vectors"][name] for name in vector["survivors"]]
    assert total.tolist() == vector["sum"]
    assert total.tolist() == [sum(column) % 2**32 for column in zip(*plain, strict=True)]
