"""Ciphertexts and keys from other parties: every wrong one ends in a named error."""

from __future__ import annotations

import dataclasses
import gc
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.errors import (
    ContextMismatchError,
    CryptoError,
    DecodeError,
    OutOfOrderError,
    RosterError,
    SurvivorSetError,
)
from feddiff_crypto.he import aggregate as aggregate_module
from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.encrypt import encrypt_public, encrypt_symmetric
from feddiff_crypto.he.errors import KeyMismatchError
from feddiff_crypto.he.keys import (
    PUBLIC_KEY_BYTES,
    SECRET_KEY_BYTES,
    CkksPublicKey,
    CkksSecretKey,
    generate_pair,
)
from feddiff_crypto.he.messages import (
    EncryptedAggregate,
    EncryptedInput,
    SumSignature,
)
from feddiff_crypto.he.parameters import DEGREE, MODULUS, SLOTS, EncryptedPlan
from feddiff_crypto.he.seal_format import StoredOtherwiseError, words_of_ciphertext

CONTEXT = b"c" * 32
KEY_ID = b"k" * 32
KEY = CkksSecretKey.generate()
CUSTODIAN, PUBLIC = generate_pair()
SIZE = SLOTS + 3
VECTOR = np.arange(SIZE, dtype=np.uint32)
INPUT = EncryptedInput(CONTEXT, "ann", KEY_ID, encrypt_symmetric(VECTOR, KEY))
WHOLE = EncryptedInput(CONTEXT, "bob", KEY_ID, encrypt_public(VECTOR, PUBLIC))
WIRE = encode(INPUT.to_message())
NO_SEEDS = np.zeros((0, 64), np.uint8)


def new_sum(owners: int = 3) -> CiphertextSum:
    return CiphertextSum(plan=EncryptedPlan(owners, SIZE), context=CONTEXT, key_id=KEY_ID)


def test_messages_come_back_from_the_codec() -> None:
    for message in (INPUT, WHOLE):
        again = EncryptedInput.from_message(decode(encode(message.to_message())))
        assert encode(again.to_message()) == encode(message.to_message())
    total = new_sum()
    total.add(INPUT)
    total.add(WHOLE)
    aggregate = total.finish(("ann", "bob"))
    fields = decode(encode(aggregate.to_message()))
    assert EncryptedAggregate.from_message(fields).digest() == aggregate.digest()
    for small in (SumSignature(CONTEXT, "ann", b"d" * 32, b"s" * 64),):
        assert type(small).from_message(decode(encode(small.to_message()))) == small


@given(st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_refused_or_adds_without_a_crash(data: st.DataObject) -> None:
    wire = bytearray(WIRE)
    for _ in range(data.draw(st.integers(1, 4))):
        head = st.integers(0, 400) | st.integers(0, len(wire) - 1)
        wire[data.draw(head)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(wire), 10, 300, len(wire) // 2, len(wire) - 1]))
    try:
        message = EncryptedInput.from_message(decode(bytes(wire[:cut])))
        total = new_sum()
        total.add(message)
        total.add(dataclasses.replace(INPUT, party="zed"))
        total.finish(total.parties)
    except CryptoError:
        return  # nothing else may come


@given(st.binary(max_size=300))
def test_random_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(CryptoError):
        EncryptedInput.from_message(decode(data))


def residues(polynomials: int = 1, chunks: int = 2) -> Any:
    return np.ones((chunks, polynomials, DEGREE), np.uint64)


def with_value(value: int) -> Any:
    array = residues()
    array[1, 0, 77] = value
    return array


BAD_ARRAYS: dict[str, tuple[Any, Any]] = {
    "a residue equal to q": (with_value(MODULUS), np.zeros((2, 64), np.uint8)),
    "a residue of 64 ones": (with_value(2**64 - 1), np.zeros((2, 64), np.uint8)),
    "no chunks": (residues(1, 0), np.zeros((0, 64), np.uint8)),
    "three polynomials": (residues(3), NO_SEEDS),
    "no polynomial": (residues(0), NO_SEEDS),
    "another degree": (np.ones((2, 1, 8192), np.uint64), np.zeros((2, 64), np.uint8)),
    "another type": (residues().astype(np.int64), np.zeros((2, 64), np.uint8)),
    "bytes in place of an array": (b"x" * 100, np.zeros((2, 64), np.uint8)),
    "a seed too few": (residues(), np.zeros((1, 64), np.uint8)),
    "seeds beside whole ciphertexts": (residues(2), np.zeros((2, 64), np.uint8)),
    "a short seed": (residues(), np.zeros((2, 32), np.uint8)),
    "more chunks than any vector has": (
        np.broadcast_to(np.uint64(1), (8193, 1, DEGREE)),
        np.zeros((8193, 64), np.uint8),
    ),
    "a second polynomial of zeros": (residues(2) * np.array([[[1], [0]]], np.uint64), NO_SEEDS),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_other_arrays_are_no_ciphertexts(what: str) -> None:
    with pytest.raises(DecodeError):
        Ciphertexts(*BAD_ARRAYS[what])


def test_ciphertexts_whose_sum_hides_nothing_are_refused() -> None:
    whole = WHOLE.ciphertexts.residues
    negative = Ciphertexts((MODULUS - whole) % MODULUS, NO_SEEDS)
    total = new_sum()
    total.add(WHOLE)
    with pytest.raises(DecodeError, match="does not add"):
        total.add(dataclasses.replace(WHOLE, party="cy", ciphertexts=negative))
    with pytest.raises(OutOfOrderError, match="spoiled"):
        total.finish(("bob",))


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (ContextMismatchError, {"context": b"x" * 32, "party": "bob"}),
        (KeyMismatchError, {"key_id": b"x" * 32, "party": "bob"}),
        (RosterError, {"party": "ann"}),
        (DecodeError, {"party": "bob", "ciphertexts": encrypt_symmetric(VECTOR[:9], KEY)}),
    ],
)
def test_a_message_that_does_not_belong_spoils_the_sum(
    error: type[CryptoError], changes: dict[str, Any]
) -> None:
    total = new_sum()
    total.add(INPUT)
    with pytest.raises(error):
        total.add(dataclasses.replace(INPUT, **changes))
    with pytest.raises(OutOfOrderError):
        total.add(WHOLE)


def test_more_owners_than_planned_are_refused() -> None:
    total = new_sum(owners=2)
    for party in ("ann", "bob"):
        total.add(dataclasses.replace(INPUT, party=party))
    with pytest.raises(RosterError, match="more than 2"):
        total.add(dataclasses.replace(INPUT, party="cy"))


def test_the_sum_is_of_the_survivors_and_serves_once() -> None:
    total = new_sum()
    total.add(INPUT)
    total.add(WHOLE)
    with pytest.raises(SurvivorSetError):
        total.finish(("ann",))
    total.finish(("ann", "bob"))
    with pytest.raises(OutOfOrderError):
        total.finish(("ann", "bob"))


def test_the_coordinator_holds_no_key() -> None:
    total = new_sum()
    total.add(INPUT)
    seen: set[int] = set()
    todo = list(vars(total).values())
    while todo:
        held = todo.pop()
        if id(held) in seen or isinstance(held, type | ModuleType):
            continue
        seen.add(id(held))
        assert "Key" not in type(held).__name__
        assert not type(held).__name__.endswith("cryptor")
        todo += gc.get_referents(held)
    assert len(seen) > 10
    assert not {"CkksSecretKey", "CkksPublicKey", "Decryption"} & vars(aggregate_module).keys()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(SECRET_KEY_BYTES - 1),
        bytes(SECRET_KEY_BYTES + 8),
        bytes(SECRET_KEY_BYTES),  # zero
        b"\xff" * SECRET_KEY_BYTES,
        KEY.to_bytes()[: SECRET_KEY_BYTES // 2] * 2,  # residues of q in place of p
        PUBLIC.to_bytes(),
    ],
)
def test_other_bytes_are_no_secret_key(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        CkksSecretKey.from_bytes(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(PUBLIC_KEY_BYTES),
        b"\xff" * PUBLIC_KEY_BYTES,
        PUBLIC.to_bytes()[:-1],
        PUBLIC.to_bytes()[: PUBLIC_KEY_BYTES // 2] + bytes(PUBLIC_KEY_BYTES // 2),
    ],
)
def test_other_bytes_are_no_public_key(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        CkksPublicKey.from_bytes(raw)


def test_a_public_key_of_another_shape_is_refused() -> None:
    with pytest.raises(DecodeError):
        CkksPublicKey(np.ones((3, 2, DEGREE), np.uint64))


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x5e\xa1\x10\x04\x03\x02\x00\x00" + bytes(8),  # zstd, but no frame
        b"\x5e\xa1\x10\x04\x03\x01\x00\x00" + bytes(8),  # zlib
        b"\x5e\xa1\x10\x04\x03\x02\x00\x00" + bytes(8) + bytes.fromhex("28b52ffd2000050000"),
        b"\x5e\xa1\x10\x04\x03\x02\x00\x00" + bytes(8) + bytes.fromhex("28b52ffd2000ffffff"),
        b"\x5e\xa1\x10\x04\x03\x02\x00\x00" + bytes(8) + bytes.fromhex("28b52ffd2100010000"),
        b"\x5e\xa1\x10\x04\x03\x00\x00\x00" + bytes(8) + bytes(5000),
    ],
)
def test_a_body_stored_otherwise_is_not_misread(stored: bytes) -> None:
    with pytest.raises(StoredOtherwiseError):
        words_of_ciphertext(stored, (1, DEGREE))


def test_an_aggregate_in_compressed_form_is_read_word_by_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sums() -> Any:
        total = new_sum()
        total.add(INPUT)
        total.add(dataclasses.replace(INPUT, party="bob"))
        return total.finish(("ann", "bob")).ciphertexts.residues

    def compressed(stored: bytes, shape: Any) -> Any:
        raise StoredOtherwiseError("a zstd block that is not raw")

    expected = sums()
    monkeypatch.setattr(aggregate_module, "words_of_ciphertext", compressed)
    assert (sums() == expected).all()
