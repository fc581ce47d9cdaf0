"""docs/protocol.md names what the code does: fields, errors, refusal codes, tests."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_crypto import errors
from feddiff_crypto.he import custodian_messages as c
from feddiff_crypto.he import errors as he_errors
from feddiff_crypto.he import round_messages as r
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput, SumSignature
from feddiff_crypto.he.parameters import DEGREE
from feddiff_crypto.masking import messages as m
from feddiff_crypto.masking.share_messages import CONTRIBUTION_BYTES, HYBRID_SEALED_BYTES
from feddiff_crypto.mlkem import KEM_PUBLIC_BYTES

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")
NODES = "".join(
    (REPOSITORY / "feddiff_secure" / f"{name}.py").read_text(encoding="utf-8")
    for name in (
        *(
            f"federation/{name}"
            for name in (
                "owner",
                "private_values",
                "account",
                "node",
                "custodian",
                "protocol_walk",
                "prediction_node",
                "log_view",
            )
        ),
        "node/plan_signature",
        "node/review",
        "deployment/site_party",
        "transport/flare/executor",
    )
)
ADVERT = m.Advertise(bytes(32), "ann", bytes(32), bytes(32), bytes(32), bytes(64))
CHUNK = Ciphertexts(np.ones((1, 2, DEGREE), np.uint64), np.zeros((0, 64), np.uint8))
AGGREGATE = EncryptedAggregate(bytes(32), ("ann",), bytes(32), CHUNK)
OPENED = r.OpenedSecrets({}, {})
KEY = c.CustodianKey(bytes(32), "carl", bytes(c.PUBLIC_KEY_BYTES), bytes(32), bytes(64))
HYBRID_ADVERT = replace(ADVERT, kem_mask_key=bytes(1184), kem_sealing_key=bytes(1184))
HYBRID_MESSAGES = [
    (HYBRID_ADVERT, ADVERT),
    (m.Roster(bytes(32), (HYBRID_ADVERT,)), m.Roster(bytes(32), (ADVERT,))),
    (m.SealedShares(bytes(32), "ann", {}, {}), m.SealedShares(bytes(32), "ann", {})),
    (m.DeliveredShares(bytes(32), "ann", {}, {}), m.DeliveredShares(bytes(32), "ann", {})),
]
MESSAGES = [
    ADVERT,
    m.Roster(bytes(32), (ADVERT,)),
    m.SealedShares(bytes(32), "ann", {}),
    m.DeliveredShares(bytes(32), "ann", {}),
    m.SurvivorSet(bytes(32), ("ann",)),
    m.ConsistencySignature(bytes(32), "ann", bytes(64)),
    m.UnmaskRequest(bytes(32), ("ann",), {}),
    m.UnmaskReply(bytes(32), "ann", {}, {}),
    r.KeyedShares(m.SealedShares(bytes(32), "ann", {}), {}),
    r.KeyedDelivery(m.DeliveredShares(bytes(32), "ann", {}), b""),
    EncryptedInput(bytes(32), "ann", bytes(32), CHUNK),
    AGGREGATE,
    r.EncryptedConsistency(bytes(32), "ann", bytes(64), bytes(64)),
    r.DecryptRequest(bytes(32), {}, OPENED),
    SumSignature(bytes(32), "ann", bytes(32), bytes(64)),
    KEY,
    c.CustodianDelivery(m.DeliveredShares(bytes(32), "ann", {}), KEY),
    c.CustodyRequest(AGGREGATE, {}),
    c.SealedSums(bytes(32), "carl", {"ann": np.zeros(20, np.uint8)}),
    c.ReceiveRequest(bytes(32), np.zeros(20, np.uint8), OPENED),
]


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 15
    source = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")
    )
    assert named <= set(re.findall(r"^def (test_\w+)\(", source, re.MULTILINE))


def test_every_file_that_the_page_names_exists() -> None:
    for name in re.findall(r"`((?:crypto|feddiff_secure|tests)/[\w/.]+)`", PAGE):
        assert (REPOSITORY / name).exists(), name
    attack = "unmask-reply--both-kinds-for-one-owner.bin"
    assert attack in PAGE
    assert (REPOSITORY / "tests" / "crypto" / "bad_messages" / attack).is_file()


ACROSS = "".join(
    path.read_text(encoding="utf-8") for path in (REPOSITORY / "feddiff_secure/node").glob("*.py")
)


def test_every_refusal_code_of_an_owner_is_on_the_page_and_no_other() -> None:
    raised = set(re.findall(r'RefusalError\("(\w+)"\)', NODES))
    raised |= set(re.findall(r'REFUSED: "(\w+)"', NODES))
    raised |= set(re.findall(r'(?:RefusalError\(|REFUSED: |return )"(\w+)(?:: )?"', ACROSS))
    table = PAGE.split("### Codes that leave an owner")[1].split("\n## ")[0]
    assert raised == set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def test_every_error_that_stops_a_round_is_on_the_page() -> None:
    table = PAGE.split("## When a round stops")[1].split("###")[0]
    named = set(re.findall(r"`(\w+Error)`", table))
    stopping = {error.__name__ for error in errors.ProtocolError.__subclasses__()}
    assert stopping | {"DecodeError", "LimitError"} <= named
    assert all(hasattr(errors, name) or hasattr(he_errors, name) for name in named)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_every_message_has_the_fields_that_the_page_gives_it(message: Any) -> None:
    table = PAGE.split("## Messages")[1].split("What is computed")[0]
    (line,) = re.findall(rf"^\|.*\| `{message.KIND}` \| (.*) \|$", table, re.MULTILINE)
    assert set(message.to_message()) == {"kind", "context"} | set(re.findall(r"`(\w+)`", line))


@pytest.mark.parametrize(("hybrid", "default"), HYBRID_MESSAGES, ids=lambda message: message.KIND)
def test_every_hybrid_message_has_the_fields_that_the_page_adds(hybrid: Any, default: Any) -> None:
    table = PAGE.split("## Hybrid key agreement")[1].split("*Mask secret.*")[0]
    (line,) = re.findall(rf"^\| `{hybrid.KIND}` \| (.*) \|$", table, re.MULTILINE)
    added = set(hybrid.to_message()) - set(default.to_message())
    assert added == set(re.findall(r"`(\w+)`", line)) - set(default.to_message())
    widths = {CONTRIBUTION_BYTES, HYBRID_SEALED_BYTES, KEM_PUBLIC_BYTES}
    assert {int(number) for number in re.findall(r"\b(\d{4})\b", line)} <= widths
