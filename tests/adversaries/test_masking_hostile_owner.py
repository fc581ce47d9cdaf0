"""An owner that breaks the rules: the coordinator aborts and names it, and never adds its noise.

Robustness is not claimed: one hostile owner can abort a round, and a wrong vector cannot be told
from a right one. What it cannot do is make the coordinator accept a wrong unmasking in silence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.errors import (
    ContextMismatchError,
    CryptoError,
    OutOfOrderError,
    ProtocolError,
    RosterError,
    ShareError,
    SignatureInvalidError,
    ThresholdError,
)
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.coordinator import CoordinatorStart, RoundSum
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.shamir import SHARE_BYTES

RANDOM = SecureRandom()
NAMES = ("ann", "bob", "cy", "dee")
POLICY = Policy(4, dropouts=1)  # τ = 3
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in NAMES}
REGISTRY = Registry({name: IDENTITIES[name].public for name in NAMES})
CONTEXT = RoundContext("session", 3, 0, b"m" * 32, b"c" * 32)
VECTOR = np.arange(6, dtype=np.uint32)

Tamper = Callable[[Any, dict[str, Any]], Any]


def run(phase: str = "", tamper: Tamper = lambda message, _: message, absent: str = "") -> RoundSum:
    """A round in which `bob`'s message of `phase` is replaced, and `absent` sends no vector."""
    owners: dict[str, Any] = {
        name: OwnerStart(
            party=name,
            identity=IDENTITIES[name],
            registry=REGISTRY,
            policy=POLICY,
            context=CONTEXT,
            random=RANDOM,
        )
        for name in NAMES
    }

    def replies(name_of_phase: str, parties: Any, step: Callable[[str], Any]) -> dict[str, Any]:
        messages = {}
        for name in parties:
            owners[name], messages[name] = step(name)
        if phase == name_of_phase:
            messages["bob"] = tamper(messages["bob"], messages)
        return messages

    start = CoordinatorStart(registry=REGISTRY, policy=POLICY, context=CONTEXT, dimension=6)
    sharing, out = start.roster(replies("advertise", NAMES, lambda n: owners[n].advertise()))
    masking, delivered = sharing.deliver(replies("share", out, lambda n: owners[n].share(out[n])))
    present = [name for name in delivered if name != absent]
    consistency, sets = masking.collect(
        replies("masked input", present, lambda n: owners[n].mask(delivered[n], VECTOR))
    )
    unmasking, requests = consistency.request(
        replies("consistency", sets, lambda n: owners[n].sign(sets[n]))
    )
    return unmasking.finish(
        replies("unmask", requests, lambda n: owners[n].reveal(requests[n], lambda _: None))
    )


def changed(**fields: Any) -> Tamper:
    return lambda message, _: dataclasses.replace(message, **fields)


def flip(shares: dict[str, bytes], party: str) -> dict[str, bytes]:
    value = shares[party]
    return shares | {party: value[:-1] + bytes([value[-1] ^ 1])}


def test_the_round_itself_succeeds() -> None:
    assert (run().total == 4 * VECTOR).all()
    assert (run(absent="dee").total == 3 * VECTOR).all()


@pytest.mark.parametrize("phase", ["advertise", "share", "masked input", "consistency", "unmask"])
@pytest.mark.parametrize(
    ("tamper", "error"),
    [
        (changed(context=bytes(32)), ContextMismatchError),
        (changed(party="cy"), ProtocolError),
    ],
    ids=["another round", "another's name"],
)
def test_messages_of_another_round_or_in_anothers_name_abort_and_name_the_party(
    phase: str, tamper: Tamper, error: type[ProtocolError]
) -> None:
    with pytest.raises(error) as caught:
        run(phase, tamper)
    assert caught.value.party == "bob"


def drop_all_but_ann(shares: dict[str, bytes]) -> dict[str, bytes]:
    return {"ann": shares["ann"]}


def flip_anns(shares: dict[str, bytes]) -> dict[str, bytes]:
    return flip(shares, "ann")


def exceed_the_field(shares: dict[str, bytes]) -> dict[str, bytes]:
    return shares | {"ann": b"\xff" * SHARE_BYTES}


def edited(name: str, edit: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Tamper:
    return lambda message, _: dataclasses.replace(message, **{name: edit(getattr(message, name))})


def sign_as_cy(message: Any, messages: dict[str, Any]) -> Any:
    return dataclasses.replace(message, signature=messages["cy"].signature)


def add_a_key_share(message: Any, _: dict[str, Any]) -> Any:
    return dataclasses.replace(message, key_shares={"ann": message.self_shares["ann"]})


@pytest.mark.parametrize(
    ("phase", "tamper", "error", "party"),
    [
        ("advertise", changed(signature=bytes(64)), SignatureInvalidError, "bob"),
        ("advertise", changed(mask_key=b"k" * 32), SignatureInvalidError, "bob"),
        ("share", edited("sealed", drop_all_but_ann), ShareError, "bob"),
        ("share", edited("sealed", flip_anns), ShareError, "bob"),
        ("masked input", changed(vector=np.zeros(5, np.uint32)), ProtocolError, "bob"),
        ("masked input", changed(vector=np.zeros(6, np.uint64)), ProtocolError, "bob"),
        ("consistency", changed(signature=bytes(64)), SignatureInvalidError, "bob"),
        ("consistency", sign_as_cy, SignatureInvalidError, "bob"),
        ("unmask", edited("self_shares", flip_anns), ShareError, "ann"),
        ("unmask", edited("self_shares", exceed_the_field), ShareError, "bob"),
        ("unmask", edited("self_shares", drop_all_but_ann), ShareError, "bob"),
        ("unmask", add_a_key_share, ShareError, "bob"),
    ],
)
def test_a_wrong_message_aborts_the_round(
    phase: str, tamper: Tamper, error: type[CryptoError], party: str
) -> None:
    with pytest.raises(error) as caught:
        run(phase, tamper)
    assert getattr(caught.value, "party", None) == party


def test_a_wrong_share_of_a_dropped_owners_key_is_noticed() -> None:
    def lie(message: Any, _: dict[str, Any]) -> Any:
        return dataclasses.replace(message, key_shares=flip(dict(message.key_shares), "dee"))

    for _ in range(4):  # the key it opens is too long to be one, or is not the advertised one
        with pytest.raises(ShareError) as caught:
            run("unmask", lie, absent="dee")
        assert caught.value.party == "dee"


def test_an_unpinned_party_or_a_late_one_is_not_heard() -> None:
    start = CoordinatorStart(registry=REGISTRY, policy=POLICY, context=CONTEXT, dimension=6)
    adverts = {}
    for name in NAMES:
        owner = OwnerStart(
            party=name,
            identity=IDENTITIES[name],
            registry=REGISTRY,
            policy=POLICY,
            context=CONTEXT,
            random=RANDOM,
        )
        _, adverts[name] = owner.advertise()
    stranger = {"eve": dataclasses.replace(adverts["dee"], party="eve")}
    with pytest.raises(RosterError):
        start.roster(dict(list(adverts.items())[:3]) | stranger)
    with pytest.raises(OutOfOrderError):
        start.roster(adverts)
    again = CoordinatorStart(registry=REGISTRY, policy=POLICY, context=CONTEXT, dimension=6)
    with pytest.raises(ThresholdError, match="2 < threshold 3"):
        again.roster(dict(list(adverts.items())[:2]))
