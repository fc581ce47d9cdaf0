r"""The one codec for messages: canonical, strict, without pickle.

A message is a flat mapping of text keys to scalars, text, bytes and arrays. Each message has
exactly one encoding, and `decode` accepts only that one, so a hash or signature of the bytes is a
hash or signature of the message: `encode(decode(b)) == b` for each `b` that `decode` accepts.

Layout, all integers little-endian, no field optional:

    message = "FDM" version(u8 = 1) field_count(u16) field*
    field   = key_length(u16) key(UTF-8) tag(u8) body
    body    = bool:  0x00 | 0x01
            | int:   i64
            | float: f64, a NaN only as 0x7ff8000000000000
            | str:   length(u32) UTF-8
            | bytes: length(u32) bytes
            | array: dtype(u8) ndim(u8) dimension(u32)* padding elements in C order

Fields are in strictly ascending order of their key bytes. `padding` is the least number of zero
bytes that makes the elements begin at a multiple of 8 from the start of the message: a decoded
array is an aligned read-only view of the message, and decoding allocates nothing for it.
Elements of float arrays keep all their bits (a NaN's payload included).
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import DecodeError, LimitError

Value: TypeAlias = bool | int | float | str | bytes | NDArray[Any]

MAGIC: Final = b"FDM\x01"
MAX_NDIM: Final = 4
_ALIGNMENT: Final = 8
_NAN: Final = struct.pack("<Q", 0x7FF8000000000000)
_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u4"),
    3: np.dtype("<u8"),
    4: np.dtype("<i4"),
    5: np.dtype("<i8"),
    6: np.dtype("<f4"),
    7: np.dtype("<f8"),
}
_DTYPE_CODES: Final[dict[np.dtype[Any], int]] = {dtype: code for code, dtype in _DTYPES.items()}


class _Tag(IntEnum):
    BOOL = 1
    INT = 2
    FLOAT = 3
    STR = 4
    BYTES = 5
    ARRAY = 6


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest message that is read or written."""

    max_message_bytes: int = 2**28  # bytes
    max_fields: int = 1024  # fields of one message
    max_key_bytes: int = 128  # bytes of one key in UTF-8
    max_array_elements: int = 2**26  # of one array, a dimension of zero counted as one


DEFAULT_LIMITS: Final = Limits()


def encode(message: Mapping[str, Value], limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Encode `message`; equal messages give equal bytes.

    Args:
        message: keys of 1 to `limits.max_key_bytes` bytes; integers in [-2^63, 2^63); arrays of
            uint8, uint32, uint64, int32, int64, float32 or float64 with at most 4 dimensions.
        limits: what the reader will accept.

    Raises:
        TypeError: a key or value of another type (numpy scalars included).
        ValueError: an integer that does not fit 64 bits, text that is not Unicode.
        LimitError: more than `limits` allow.
    """
    _check_limit("fields", len(message), limits.max_fields)
    writer = _Writer()
    writer.put(MAGIC + struct.pack("<H", len(message)))
    for key, value in sorted(
        ((_encode_key(key, limits), value) for key, value in message.items()),
        key=lambda field: field[0],
    ):
        writer.put(struct.pack("<H", len(key)) + key)
        _write_value(writer, key, value, limits)
    _check_limit("message bytes", writer.size, limits.max_message_bytes)
    return b"".join(writer.parts)


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, Value]:
    """Decode the one canonical encoding of a message.

    Arrays of the result are read-only views of `data`, which they keep alive.

    Args:
        data: bytes from anywhere.
        limits: the largest message to read.

    Raises:
        TypeError: `data` is not `bytes`.
        DecodeError: not the canonical encoding of any message.
        LimitError: more than `limits` allow.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"a message is bytes, not {type(data).__name__}")
    _check_limit("message bytes", len(data), limits.max_message_bytes)
    reader = _Reader(data)
    if reader.take(len(MAGIC), "header") != MAGIC:
        raise DecodeError(f"header: not a message of this format, which begins with {MAGIC!r}")
    count = reader.unsigned(2, "field count")
    _check_limit("fields", count, limits.max_fields)
    message: dict[str, Value] = {}
    previous = b""  # below every key, as no key is empty
    for _ in range(count):
        key = _read_key(reader, limits)
        if key <= previous:
            raise DecodeError(f"field {key!r} follows {previous!r}: not strictly ascending")
        message[_text(key, "key")] = _read_value(reader, key, limits)
        previous = key
    if reader.remaining:
        raise DecodeError(f"{reader.remaining} bytes follow the last field")
    return message


def canonical_digest(message: Mapping[str, Value]) -> bytes:
    """SHA-256 of `encode(message)`: 32 bytes that name the message.

    Raises:
        TypeError, ValueError, LimitError: as `encode`.
    """
    return hashlib.sha256(encode(message)).digest()


def _check_limit(what: str, value: int, limit: int) -> None:
    if value > limit:
        raise LimitError(f"{what}: {value} > limit {limit}")


def _check_extent(what: str, shape: tuple[int, ...], limits: Limits) -> None:
    """Bound an array; one without elements too, as numpy multiplies its other dimensions."""
    extent = math.prod(max(length, 1) for length in shape)
    _check_limit(f"{what}: array elements", extent, limits.max_array_elements)


class _Writer:
    """Collects parts and knows the position, which padding needs."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.size = 0

    def put(self, part: bytes | memoryview) -> None:
        self.parts.append(part)
        self.size += part.nbytes if isinstance(part, memoryview) else len(part)


def _encode_key(key: str, limits: Limits) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"key {key!r} is not text")
    if not key:
        raise ValueError("an empty key is not allowed")
    encoded = key.encode()
    _check_limit(f"key {key[:32]!r}: bytes", len(encoded), limits.max_key_bytes)
    return encoded


def _write_value(writer: _Writer, key: bytes, value: Value, limits: Limits) -> None:
    match value:
        case bool():  # before int, of which bool is a subclass
            writer.put(struct.pack("<BB", _Tag.BOOL, value))
        case int():
            if not -(2**63) <= value < 2**63:
                raise ValueError(f"field {key!r}: {value} does not fit 64 bits")
            writer.put(struct.pack("<Bq", _Tag.INT, value))
        case np.generic():  # np.float64 is a float, but would come back as another type
            raise TypeError(f"field {key!r}: a numpy scalar, convert it to int, float or array")
        case float():
            body = _NAN if math.isnan(value) else struct.pack("<d", value)
            writer.put(bytes([_Tag.FLOAT]) + body)
        case str():
            _write_bytes(writer, _Tag.STR, key, value.encode(), limits)
        case bytes():
            _write_bytes(writer, _Tag.BYTES, key, value, limits)
        case np.ndarray():
            _write_array(writer, key, value, limits)
        case _:
            raise TypeError(f"field {key!r}: cannot encode {type(value).__name__}")


def _write_bytes(writer: _Writer, tag: int, key: bytes, body: bytes, limits: Limits) -> None:
    _check_limit(f"field {key!r}: bytes", len(body), limits.max_message_bytes)
    writer.put(struct.pack("<BI", tag, len(body)))
    writer.put(body)


def _write_array(writer: _Writer, key: bytes, array: NDArray[Any], limits: Limits) -> None:
    code = _DTYPE_CODES.get(array.dtype.newbyteorder("<"))
    if code is None:
        raise TypeError(f"field {key!r}: dtype {array.dtype} is not one of the format")
    if array.ndim > MAX_NDIM:
        raise TypeError(f"field {key!r}: {array.ndim} dimensions > {MAX_NDIM}")
    _check_extent(f"field {key!r}", array.shape, limits)
    writer.put(struct.pack(f"<BBB{array.ndim}I", _Tag.ARRAY, code, array.ndim, *array.shape))
    writer.put(bytes(-writer.size % _ALIGNMENT))
    elements = array.astype(_DTYPES[code], order="C", copy=False).reshape(-1)
    writer.put(elements.view(np.uint8).data)


class _Reader:
    """Takes bytes from the front; refuses to read past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def remaining(self) -> int:
        return len(self.data) - self.position

    def skip(self, count: int, what: str) -> int:
        """Move past `count` bytes and return where they begin."""
        if count > self.remaining:
            raise DecodeError(f"{what}: needs {count} bytes, {self.remaining} are left")
        start = self.position
        self.position += count
        return start

    def take(self, count: int, what: str) -> bytes:
        start = self.skip(count, what)
        return self.data[start : start + count]

    def unsigned(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "little")


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{what}: not UTF-8 at byte {error.start}") from None


def _read_key(reader: _Reader, limits: Limits) -> bytes:
    length = reader.unsigned(2, "key length")
    _check_limit("key bytes", length, limits.max_key_bytes)
    return reader.take(length, "key")


def _read_value(reader: _Reader, key: bytes, limits: Limits) -> Value:
    what = f"field {key!r}"
    tag = reader.unsigned(1, what)
    match tag:
        case _Tag.BOOL:
            raw = reader.unsigned(1, what)
            if raw > 1:
                raise DecodeError(f"{what}: bool is 0 or 1, not {raw}")
            return bool(raw)
        case _Tag.INT:
            return int.from_bytes(reader.take(8, what), "little", signed=True)
        case _Tag.FLOAT:
            return _read_float(reader.take(8, what), what)
        case _Tag.STR:
            return _text(reader.take(reader.unsigned(4, what), what), what)
        case _Tag.BYTES:
            return reader.take(reader.unsigned(4, what), what)
        case _Tag.ARRAY:
            return _read_array(reader, what, limits)
        case _:
            raise DecodeError(f"{what}: unknown tag {tag}")


def _read_float(raw: bytes, what: str) -> float:
    value = float(struct.unpack("<d", raw)[0])
    if math.isnan(value) and raw != _NAN:
        raise DecodeError(f"{what}: a NaN with another payload than the canonical one")
    return value


def _read_array(reader: _Reader, what: str, limits: Limits) -> NDArray[Any]:
    code, ndim = reader.unsigned(1, what), reader.unsigned(1, what)
    dtype = _DTYPES.get(code)
    if dtype is None:
        raise DecodeError(f"{what}: unknown dtype code {code}")
    if ndim > MAX_NDIM:
        raise DecodeError(f"{what}: {ndim} dimensions > {MAX_NDIM}")
    shape = tuple(reader.unsigned(4, what) for _ in range(ndim))
    count = math.prod(shape)
    _check_extent(what, shape, limits)
    if any(reader.take(-reader.position % _ALIGNMENT, what)):
        raise DecodeError(f"{what}: padding is not zero")
    start = reader.skip(count * dtype.itemsize, what)
    if count == 0:  # numpy refuses to view no bytes
        return np.zeros(shape, dtype)
    return np.frombuffer(reader.data, dtype, count, start).reshape(shape)
