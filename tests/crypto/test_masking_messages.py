"""Message types: strict inverses of their fields, named errors for anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.encoding import Value, canonical_digest, decode, encode
from feddiff_crypto.errors import CryptoError, DecodeError
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import (
    SEALED_BYTES,
    Advertise,
    ConsistencySignature,
    DeliveredShares,
    MaskedInput,
    Roster,
    SealedShares,
    SurvivorSet,
    UnmaskReply,
    UnmaskRequest,
)

CONTEXT = bytes(range(32))
ADVERT = Advertise(CONTEXT, "ann", b"m" * 32, b"s" * 32, b"c" * 32, b"x" * 64)
BOB = Advertise(CONTEXT, "bob", b"n" * 32, b"t" * 32, b"d" * 32, b"y" * 64)
MESSAGES: list[Any] = [
    ADVERT,
    Roster(CONTEXT, (ADVERT, BOB)),
    SealedShares(CONTEXT, "ann", {"bob": b"1" * SEALED_BYTES, "cy": b"2" * SEALED_BYTES}),
    DeliveredShares(CONTEXT, "ann", {"bob": b"1" * SEALED_BYTES}),
    MaskedInput(CONTEXT, "ann", np.arange(5, dtype=np.uint32)),
    SurvivorSet(CONTEXT, ("ann", "bob")),
    ConsistencySignature(CONTEXT, "ann", b"x" * 64),
    UnmaskRequest(CONTEXT, ("ann", "bob", "cy"), {"ann": b"x" * 64, "bob": b"y" * 64}),
    UnmaskReply(CONTEXT, "ann", {"ann": b"1" * 33}, {"bob": b"2" * 33}),
    UnmaskReply(CONTEXT, "ann", {"ann": b"1" * 33, "bob": b"2" * 33}, {}),
]
KINDS = pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
WRONG: list[Value] = [
    0,
    True,
    1.5,
    "",
    "x",
    "bob\nann",
    "ann\nann",
    "\n",
    "ann\n",
    b"",
    bytes(31),
    bytes(1000),
    np.zeros((0, 32), np.uint8),
    np.zeros((2, 32), np.int32),
    np.zeros(0, np.uint32),
    np.zeros((2, 2), np.uint32),
    "\n".join(f"p{i:03d}" for i in range(101)),
]


@KINDS
def test_a_message_comes_back_through_the_codec(message: Any) -> None:
    raw = encode(message.to_message())
    back = type(message).from_message(decode(raw))
    assert encode(back.to_message()) == raw
    if not isinstance(message, MaskedInput):
        assert back == message


@KINDS
def test_a_missing_or_unknown_field_is_refused(message: Any) -> None:
    fields = message.to_message()
    for name in fields:
        with pytest.raises(DecodeError):
            type(message).from_message({k: v for k, v in fields.items() if k != name})
    with pytest.raises(DecodeError, match="extra"):
        type(message).from_message(fields | {"extra": 1})


@KINDS
def test_each_field_refuses_what_it_cannot_mean(message: Any) -> None:
    fields = message.to_message()
    for name, right in fields.items():
        for wrong in WRONG:
            name_or_none = isinstance(right, str) and name != "kind" and isinstance(wrong, str)
            if name_or_none and wrong in ("x", right):
                continue  # a party's name may be another, and no owner need have dropped out
            with pytest.raises(DecodeError, match=message.KIND):
                type(message).from_message(fields | {name: wrong})


@KINDS
def test_no_message_is_read_as_another_kind(message: Any) -> None:
    for other in MESSAGES:
        if type(other) is not type(message):
            with pytest.raises(DecodeError, match="kind"):
                type(other).from_message(message.to_message())


@given(st.sampled_from(MESSAGES), st.data())
@settings(max_examples=400)
def test_broken_bytes_give_named_errors_or_another_valid_message(
    message: Any, data: st.DataObject
) -> None:
    raw = bytearray(encode(message.to_message()))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = type(message).from_message(decode(bytes(raw)))
    except CryptoError:
        return
    assert encode(back.to_message()) == bytes(raw)


def test_both_kinds_of_share_for_one_owner_are_no_reply() -> None:
    both = UnmaskReply(CONTEXT, "ann", {"bob": b"1" * 33}, {"bob": b"2" * 33})
    with pytest.raises(DecodeError, match="both kinds of share for \\['bob'\\]"):
        UnmaskReply.from_message(both.to_message())


def test_secrets_do_not_show_themselves() -> None:
    for message in MESSAGES:
        if isinstance(message, (UnmaskReply, SealedShares, MaskedInput)):
            assert "111" not in repr(message)
            assert "array" not in repr(message)


def test_the_signed_digest_covers_each_field_but_the_signature() -> None:
    fields = ADVERT.to_message()
    digests = {ADVERT.signed_digest()}
    for name in ("context", "mask_key", "sealing_key", "secret_commitment"):
        digests.add(Advertise.from_message(fields | {name: b"z" * 32}).signed_digest())
    digests.add(Advertise.from_message(fields | {"party": "eve"}).signed_digest())
    assert len(digests) == 6
    resigned = Advertise.from_message(fields | {"signature": bytes(64)})
    assert resigned.signed_digest() == ADVERT.signed_digest()
    del fields["signature"]
    assert ADVERT.signed_digest() == canonical_digest(fields)


def test_each_fact_of_a_round_changes_its_context() -> None:
    facts: dict[str, Any] = {
        "session": "s",
        "round_index": 1,
        "attempt": 0,
        "model_hash": bytes(32),
        "config_hash": bytes(32),
    }
    base = RoundContext(**facts)
    changed = {
        "session": "t",
        "round_index": 2,
        "attempt": 1,
        "model_hash": b"m" * 32,
        "config_hash": b"m" * 32,
    }
    digests = {RoundContext(**facts | {k: v}).digest() for k, v in changed.items()}
    assert len(digests | {base.digest(), base.with_roster(b"m" * 32).digest()}) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"session": ""},
        {"session": "a b"},
        {"round_index": -1},
        {"attempt": 2**31},
        {"model_hash": b""},
        {"config_hash": bytes(31)},
        {"roster_hash": b"x"},
    ],
)
def test_a_context_out_of_range_is_the_callers_bug(change: dict[str, Any]) -> None:
    facts: dict[str, Any] = {"session": "s", "round_index": 0, "attempt": 0}
    facts |= {"model_hash": bytes(32), "config_hash": bytes(32)}
    with pytest.raises(ValueError, match=next(iter(change))):
        RoundContext(**facts | change)


def test_a_context_gets_its_roster_once() -> None:
    context = RoundContext("s", 0, 0, bytes(32), bytes(32))
    with pytest.raises(ValueError, match="once"):
        context.with_roster(b"")
    with pytest.raises(ValueError, match="once"):
        context.with_roster(bytes(32)).with_roster(bytes(32))
