"""A strict reader of the numeric arrays in MATLAB version 5 files ("-v6" and "-v7").

Common readers trust the type codes of a file: flipping bytes of a small one crashed the whole
process. Here every code, count and size is checked against the bytes that are there, nothing is
inflated beyond its stated size, and only real, dense, numeric arrays are read.

Source: MathWorks, "MAT-File Format", R2024a, chapter 1 (level 5): the header is 128 bytes; an
element is a tag (type, byte count) and its data, padded to 8 bytes unless compressed; a matrix
holds the elements flags, dimensions, name and real part, in this order.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.limits import Limits
from feddiff_secure.errors import DataError

HEADER_BYTES = 128
MI_MATRIX, MI_COMPRESSED = 14, 15
MI_INT8, MI_INT32, MI_UINT32 = 1, 5, 6
STORED_TYPES = {  # element type → numpy, without byte order
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
NUMERIC_CLASSES = {  # array class → MATLAB's name and numpy type
    6: ("double", "f8"),
    7: ("single", "f4"),
    8: ("int8", "i1"),
    9: ("uint8", "u1"),
    10: ("int16", "i2"),
    11: ("uint16", "u2"),
    12: ("int32", "i4"),
    13: ("uint32", "u4"),
    14: ("int64", "i8"),
    15: ("uint64", "u8"),
}
OTHER_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function"}
COMPLEX_FLAG = 0x0800
PEEK_BYTES = 4096  # enough for flags, 32 dimensions and a name of 63 characters
MAX_ELEMENTS = 10_000
MAX_DIMENSIONS = 8

ByteOrder = Literal["<", ">"]


class DamagedError(Exception):
    """The bytes are not what the format says; readers turn it into a DataError (`damaged`)."""


@dataclass(frozen=True)
class MatVariable:
    """One array of a file, known from its first bytes.

    Attributes:
        name: MATLAB's name for it.
        class_code: MATLAB's array class.
        is_complex: whether an imaginary part follows.
        shape: its dimensions.
        offset: where its element's data starts in the file, bytes.
        size: of that data, bytes.
        compressed: whether the data is a zlib stream.
    """

    name: str
    class_code: int
    is_complex: bool
    shape: tuple[int, ...]
    offset: int
    size: int
    compressed: bool

    @property
    def kind(self) -> str:
        """MATLAB's word for the class."""
        known = NUMERIC_CLASSES.get(self.class_code)
        word = known[0] if known else OTHER_CLASSES.get(self.class_code, "unknown")
        return f"complex {word}" if self.is_complex else word


@dataclass
class Cursor:
    """Reads elements one after the other from bytes."""

    data: bytes
    order: ByteOrder
    at: int = 0

    def tag(self) -> tuple[int, int, bool]:
        """(type, byte count, whether the data is packed into the tag); moves past the tag."""
        words = np.frombuffer(self.take(8), dtype=f"{self.order}u4")
        code, size = int(words[0]), int(words[1])
        if code >> 16:  # small element: count and type share a word, the data follows in it
            self.at -= 4
            code, size = code & 0xFFFF, code >> 16
            if size > 4:
                raise DamagedError(f"a small element of {size} bytes")
            return code, size, True
        return code, size, False

    def take(self, size: int) -> bytes:
        """The next bytes, all of them there."""
        if size > len(self.data) - self.at:
            raise DamagedError(f"{size} bytes announced, {len(self.data) - self.at} left")
        self.at += size
        return self.data[self.at - size : self.at]

    def element(self) -> tuple[int, bytes]:
        """The next element's type and data; moves past its padding."""
        code, size, small = self.tag()
        data = self.take(size)
        padding = 4 - size if small else -size % 8
        self.at = min(self.at + padding, len(self.data))
        return code, data


def read_mat5(path: Path, wanted: dict[str, str], limits: Limits) -> dict[str, NDArray[Any]]:
    """Reads arrays of a version 5 file.

    Args:
        path: the file; its size is checked already.
        wanted: for each field the name of the variable that serves it.
        limits: bound on the bytes of one array.

    Returns:
        The arrays by field, with MATLAB's own type, shape and values.

    Raises:
        DataError: the file is damaged, or a wanted variable is not a real, dense, numeric,
            non-empty array within the limit.
    """
    listed = {variable.name: variable for variable in list_variables(path)}
    for name in wanted.values():
        _check_variable(listed[name], path, limits)
    try:
        with path.open("rb") as file:
            order = _byte_order(file)
            return {field: _read_array(file, order, listed[name]) for field, name in wanted.items()}
    except (DamagedError, zlib.error, OSError) as error:
        raise damaged(path, error) from error


def list_variables(path: Path) -> list[MatVariable]:
    """The variables of a version 5 file, in its order.

    Raises:
        DataError: it is not such a file, is damaged, or holds one name twice.
    """
    try:
        with path.open("rb") as file:
            found = _scan(file, path.stat().st_size)
    except (DamagedError, zlib.error, OSError) as error:
        raise damaged(path, error) from error
    names = [variable.name for variable in found]
    if len(set(names)) < len(names):
        raise DataError(f"{path}: holds a variable twice", "save the file again")
    return found


def _scan(file: BinaryIO, file_size: int) -> list[MatVariable]:
    """Walks over the top-level elements, reading the first bytes of each."""
    order = _byte_order(file)
    found: list[MatVariable] = []
    at = HEADER_BYTES
    while at < file_size:
        file.seek(at)
        code, size, small = Cursor(file.read(8), order).tag()
        if small or code not in (MI_MATRIX, MI_COMPRESSED) or size > file_size - at - 8:
            raise DamagedError(f"element of type {code} and {size} bytes at byte {at}")
        if len(found) == MAX_ELEMENTS:
            raise DamagedError(f"more than {MAX_ELEMENTS} variables")
        head = file.read(min(size, PEEK_BYTES))
        compressed = code == MI_COMPRESSED
        if compressed:
            head = zlib.decompressobj().decompress(head, PEEK_BYTES)
            _matrix_size(head, order)
            head = head[8:]
        code, is_complex, shape, name = matrix_head(Cursor(head, order))
        if name:  # MATLAB keeps unnamed bookkeeping of its own
            found.append(MatVariable(name, code, is_complex, shape, at + 8, size, compressed))
        at += 8 + size
    return found


def _byte_order(file: BinaryIO) -> ByteOrder:
    """Checks the header's version and reads its endian mark."""
    header = file.read(HEADER_BYTES)
    if header[124:128] == b"\x00\x01IM":
        return "<"
    if header[124:128] == b"\x01\x00MI":
        return ">"
    raise DamagedError("no version 5 header")


def _matrix_size(data: bytes, order: ByteOrder) -> int:
    """The size that the tag inside a compressed element states."""
    code, size, small = Cursor(data, order).tag()
    if code != MI_MATRIX or small:
        raise DamagedError(f"compressed element of type {code}")
    return size


def matrix_head(cursor: Cursor) -> tuple[int, bool, tuple[int, ...], str]:
    """(class, complex, shape, name) of a matrix; an exotic one has no shape and a made-up name.

    Raises:
        DamagedError: flags, dimensions or name are missing.
    """
    kind, flags = cursor.element()
    if kind != MI_UINT32 or len(flags) != 8:
        raise DamagedError("array flags are missing")
    word = int(np.frombuffer(flags, dtype=f"{cursor.order}u4")[0])
    code, is_complex = word & 0xFF, bool(word & COMPLEX_FLAG)
    if code not in NUMERIC_CLASSES and code not in OTHER_CLASSES:
        return code, False, (), ""
    kind, dimensions = cursor.element()
    if kind != MI_INT32 or len(dimensions) % 4 or not 2 <= len(dimensions) // 4 <= MAX_DIMENSIONS:
        raise DamagedError("dimensions are missing or too many")
    shape = tuple(np.frombuffer(dimensions, dtype=f"{cursor.order}i4").tolist())
    kind, name = cursor.element()
    if kind != MI_INT8 or min(shape) < 0:
        raise DamagedError("the name is missing or a dimension negative")
    return code, is_complex, shape, name.decode("ascii", "backslashreplace")


def _check_variable(variable: MatVariable, path: Path, limits: Limits) -> None:
    """Refuses what is not a real, dense, numeric array of an acceptable size."""
    known = NUMERIC_CLASSES.get(variable.class_code)
    size = math.prod(variable.shape) * (np.dtype(known[1]).itemsize if known else 1)
    if known is None or variable.is_complex or not 0 < size <= limits.array_bytes:
        raise DataError(
            f"{path}: `{variable.name}` is of class {variable.kind} and shape {variable.shape}",
            f"store a non-empty array of real numbers of at most {limits.array_bytes} bytes",
        )


def variable_body(path: Path, variable: MatVariable, most: int) -> tuple[bytes, ByteOrder]:
    """The element of a variable, inflated, behind its tag; and the file's byte order.

    Args:
        path: the file. variable: as `list_variables` gives it.
        most: bytes that it may inflate to.

    Raises:
        DamagedError: it inflates to another size than stated, or beyond the bound.
    """
    with path.open("rb") as file:
        order = _byte_order(file)
        file.seek(variable.offset)
        body = file.read(variable.size)
    return (_inflated(body, order, variable.name, most) if variable.compressed else body), order


def _inflated(body: bytes, order: ByteOrder, name: str, most: int) -> bytes:
    """A compressed element's data; a stream that inflates beyond the bound is refused."""
    found = zlib.decompressobj().decompress(body, most)
    if len(found) - 8 != _matrix_size(found, order):
        raise DamagedError(f"`{name}` inflates to another size than stated, or beyond {most}")
    return found[8:]


def _read_array(file: BinaryIO, order: ByteOrder, variable: MatVariable) -> NDArray[Any]:
    """The values of a variable that `_check_variable` accepted."""
    file.seek(variable.offset)
    body = file.read(variable.size)
    if variable.compressed:
        # Values take at most 8 bytes each.
        most = 8 * math.prod(variable.shape) + PEEK_BYTES
        body = _inflated(body, order, variable.name, most)
    cursor = Cursor(body, order)
    matrix_head(cursor)
    return numbers_of(cursor, variable.class_code, variable.shape, variable.name)


def numbers_of(cursor: Cursor, class_code: int, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """The real part of a numeric matrix, behind its head, in MATLAB's own type and shape.

    Raises:
        DamagedError: other bytes than the shape asks for.
    """
    count = math.prod(shape)
    code, data = cursor.element()
    stored = STORED_TYPES.get(code)
    if stored is None or len(data) != count * np.dtype(stored).itemsize:
        raise DamagedError(f"`{name}` holds {len(data)} bytes of type {code}")
    values = np.frombuffer(data, dtype=f"{cursor.order}{stored}")
    with np.errstate(invalid="ignore", over="ignore"):
        typed = values.astype(NUMERIC_CLASSES[class_code][1])
    return typed.reshape(shape, order="F")


def damaged(path: Path, error: Exception) -> DataError:
    """The error of a file whose bytes are not what the format says."""
    return DataError(
        f"{path}: cannot be read as a MATLAB file ({str(error)[:200]})",
        "the file is damaged or of another type; save it with -v7 or -v7.3",
    )
