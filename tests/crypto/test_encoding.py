"""The codec: one encoding a message, and nothing but named errors for other bytes."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from feddiff_crypto.encoding import MAGIC, Limits, Value, canonical_digest, decode, encode
from feddiff_crypto.errors import CryptoError, DecodeError, LimitError

DTYPES = ("uint8", "uint32", "uint64", "int32", "int64", "float32", "float64")
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)
VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=40),
    ARRAYS,
)
MESSAGES = st.dictionaries(st.text(min_size=1, max_size=12), VALUES, max_size=6)
ONE_OF_EACH: dict[str, Value] = {
    "array": np.arange(6, dtype=np.uint32).reshape(2, 3),
    "bool": True,
    "bytes": b"\x00\x01",
    "float": -0.0,
    "int": -5,
    "text": "señal",
}


def same(a: Value, b: Value) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and repr(a) == repr(b)


def message(*fields: bytes) -> bytes:
    return MAGIC + struct.pack("<H", len(fields)) + b"".join(fields)


def one_field(key: bytes, body: bytes) -> bytes:
    return struct.pack("<H", len(key)) + key + body


@given(MESSAGES)
def test_each_message_comes_back_as_it_was(original: dict[str, Value]) -> None:
    decoded = decode(encode(original))
    assert decoded.keys() == original.keys()
    assert all(same(original[key], decoded[key]) for key in original)


@given(MESSAGES)
def test_equal_messages_have_equal_bytes(original: dict[str, Value]) -> None:
    reordered = dict(reversed(list(original.items())))
    assert encode(reordered) == encode(original)
    assert canonical_digest(reordered) == hashlib.sha256(encode(original)).digest()


@given(MESSAGES, st.data())
@settings(max_examples=300)
def test_broken_bytes_are_refused_or_are_another_canonical_message(
    original: dict[str, Value], data: st.DataObject
) -> None:
    raw = bytearray(encode(original))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(raw))
    except CryptoError:
        return
    assert encode(decoded) == bytes(raw)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_arbitrary_fields_raise_only_named_errors(body: bytes) -> None:
    raw = MAGIC + body
    try:
        decoded = decode(raw)
    except CryptoError:
        return
    assert encode(decoded) == raw


def test_each_truncation_is_refused() -> None:
    raw = encode(ONE_OF_EACH)
    for length in range(len(raw)):
        with pytest.raises(DecodeError):
            decode(raw[:length])


def test_each_extension_is_refused() -> None:
    for extra in (b"\x00", MAGIC, encode(ONE_OF_EACH)):
        with pytest.raises(DecodeError, match="follow the last field"):
            decode(encode(ONE_OF_EACH) + extra)


TRUE, FALSE = b"\x01\x01", b"\x01\x00"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"FDM\x02\x00\x00", "header"),
        (b"", "header"),
        (message(one_field(b"b", TRUE), one_field(b"a", TRUE)), "ascending"),
        (message(one_field(b"a", TRUE), one_field(b"a", TRUE)), "ascending"),
        (message(one_field(b"", TRUE)), "ascending"),
        (message(one_field(b"a", b"\x01\x02")), "bool"),
        (message(one_field(b"a", b"\x00\x01")), "unknown tag"),
        (message(one_field(b"a", b"\x07")), "unknown tag"),
        (message(one_field(b"\xff", TRUE)), "UTF-8"),
        (message(one_field(b"\xc0\x80", TRUE)), "UTF-8"),
        (message(one_field(b"a", b"\x04\x02\x00\x00\x00\xed\xa0")), "UTF-8"),
        (message(one_field(b"a", b"\x03" + struct.pack("<Q", 0xFFF8 << 48))), "NaN"),
        (message(one_field(b"a", b"\x03" + struct.pack("<Q", (0x7FF8 << 48) | 1))), "NaN"),
        (message(one_field(b"a", b"\x05\xff\xff\xff\xff")), "needs 4294967295 bytes"),
        (message(one_field(b"a", b"\x06\x08\x00")), "dtype"),
        (message(one_field(b"a", b"\x06\x01\x05" + bytes(20))), "dimensions"),
        (message(one_field(b"ab", b"\x06\x01\x01\x01" + bytes(9) + b"\x01x")), "padding"),
        (message(one_field(b"a", b"\x06\x02\x01\x00\x00\x00\x01" + bytes(20))), "needs"),
    ],
)
def test_no_second_spelling_is_accepted(raw: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode(raw)


@pytest.mark.parametrize(
    ("original", "limits", "what"),
    [
        ({"a": bytes(100)}, Limits(max_message_bytes=50), "bytes: 1"),
        ({"a": 1, "b": 2}, Limits(max_fields=1), "fields: 2"),
        ({"abc": 1}, Limits(max_key_bytes=2), "key"),
        ({"a": np.zeros(9)}, Limits(max_array_elements=8), "elements: 9"),
        ({"a": np.zeros((0, 9))}, Limits(max_array_elements=8), "elements: 9"),
    ],
)
def test_what_is_over_a_limit_is_neither_written_nor_read(
    original: Mapping[str, Value], limits: Limits, what: str
) -> None:
    with pytest.raises(LimitError, match=what):
        encode(original, limits)
    with pytest.raises(LimitError):
        decode(encode(original), limits)


def test_a_claimed_size_allocates_nothing() -> None:
    shape = struct.pack("<4I", 2**13, 2**13, 1, 1)  # 2**26 elements, the most allowed
    with pytest.raises(DecodeError, match="needs 536870912 bytes"):
        decode(message(one_field(b"a", b"\x06\x07\x04" + shape + bytes(7))))
    product = struct.pack("<4I", 2**26, 2**26, 2**26, 2**26)
    with pytest.raises(LimitError):
        decode(message(one_field(b"a", b"\x06\x07\x04" + product)))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        ([1], TypeError),
        (np.float64(1), TypeError),
        (np.int64(1), TypeError),
        (bytearray(b"x"), TypeError),
        (np.zeros(2, np.float16), TypeError),
        (np.zeros(2, bool), TypeError),
        (np.array(["x"]), TypeError),
        (np.array([None]), TypeError),
        (np.zeros((1,) * 5), TypeError),
        (2**63, ValueError),
        ("\ud800", ValueError),
    ],
)
def test_values_outside_the_format_are_the_callers_bug(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode({"a": value})


def test_decoded_arrays_are_aligned_read_only_views() -> None:
    raw = encode({"k": b"x", "odd": np.arange(5, dtype=np.float64), "z": np.zeros((0, 3))})
    array = decode(raw)["odd"]
    assert isinstance(array, np.ndarray)
    assert array.flags.aligned
    assert not array.flags.writeable
    assert array.base is not None


def test_memory_layout_and_byte_order_do_not_change_the_bytes() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)
    for variant in (np.asfortranarray(array), array.astype(">i4"), np.repeat(array, 2, 0)[::2]):
        assert encode({"a": variant}) == encode({"a": array})
