"""Arrays inside the structures and cells of MATLAB version 5 files, found by a path of names.

Only what the path names is read: a step into a structure or a cell skips over its other parts by
their sizes. As in `mat5`, every count is checked against the bytes that are there, and nothing is
rebuilt as an object.

Source: MathWorks, "MAT-File Format", R2024a, chapter 1: a structure's body is the length of a field
name, the names, and one matrix element a field (of each element in turn); a cell's one matrix a
cell.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.limits import Limits
from feddiff_secure.data.mat5 import (
    MI_INT8,
    MI_INT32,
    MI_MATRIX,
    NUMERIC_CLASSES,
    ByteOrder,
    Cursor,
    DamagedError,
    damaged,
    list_variables,
    matrix_head,
    numbers_of,
    variable_body,
)
from feddiff_secure.errors import DataError

CELL, STRUCT, CHAR = 1, 2, 4
MAX_DEPTH = 8
MAX_PARTS = 10_000  # fields of a structure, or cells of a cell
CHAR_TYPES = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}


def read_nested(path: Path, name: str, limits: Limits) -> NDArray[Any]:
    """A numeric array by its path, `scene.sensors.0.values`: fields by name, cells by number.

    Args:
        path: the file; its size is checked already.
        name: the variable and then the steps, at most 8, with dots between them.
        limits: bound on the bytes of the variable and of the array.

    Raises:
        DataError: the file is damaged, the path leads nowhere, or to no real, dense array.
    """
    body, order = _found(path, name, limits)
    try:
        cursor = Cursor(body, order)
        code, is_complex, shape, _ = matrix_head(cursor)
        if code not in NUMERIC_CLASSES or is_complex or math.prod(shape) == 0:
            raise DataError(f"{path}: `{name}` is no array of real numbers", "name one that is")
        return numbers_of(cursor, code, shape, name)
    except DamagedError as error:
        raise damaged(path, error) from error


def read_nested_names(path: Path, name: str, limits: Limits) -> tuple[str, ...]:
    """The texts of a cell array by its path, as `read_nested`.

    Raises:
        DataError: the file is damaged, or the path leads to no cell of texts.
    """
    body, order = _found(path, name, limits)
    try:
        cursor = Cursor(body, order)
        code, _, shape, _ = matrix_head(cursor)
        if code != CELL or math.prod(shape) > limits.classes:
            raise DataError(f"{path}: `{name}` is no cell of names", "name one that is")
        return tuple(_text(_part(cursor), order) for _ in range(math.prod(shape)))
    except DamagedError as error:
        raise damaged(path, error) from error


def _found(path: Path, name: str, limits: Limits) -> tuple[bytes, ByteOrder]:
    """The body of the matrix that a path leads to."""
    first, *steps = name.split(".")
    if len(steps) > MAX_DEPTH:
        raise DataError(f"{path}: `{name[:80]}` has more than {MAX_DEPTH} steps", "shorten it")
    listed = {variable.name: variable for variable in list_variables(path)}
    if first not in listed:
        raise DataError(f"{path}: holds no variable {first}", f"it holds {', '.join(listed)[:200]}")
    try:
        body, order = variable_body(path, listed[first], limits.array_bytes)
        for step in steps:
            inner = _inside(body, order, step)
            if inner is None:
                raise DataError(
                    f"{path}: `{name}`: there is no `{step}`", "fields by name, cells by number"
                )
            body = inner
    except (DamagedError, zlib.error, OSError) as error:
        raise damaged(path, error) from error
    return body, order


def _inside(body: bytes, order: ByteOrder, step: str) -> bytes | None:
    """One field of a structure's first element, or one cell; None where there is none."""
    cursor = Cursor(body, order)
    code, _, shape, _ = matrix_head(cursor)
    count = math.prod(shape)
    if code == CELL and step.isdecimal():
        return _skip_to(cursor, int(step)) if int(step) < min(count, MAX_PARTS) else None
    if code != STRUCT or count == 0:
        return None
    if step == "0":  # an array of structures: fields are those of its first element
        return body
    fields = _field_names(cursor)
    return _skip_to(cursor, fields.index(step)) if step in fields else None


def _field_names(cursor: Cursor) -> list[str]:
    kind, stated = cursor.element()
    if kind != MI_INT32 or len(stated) != 4:
        raise DamagedError("the length of field names is missing")
    length = int(np.frombuffer(stated, dtype=f"{cursor.order}i4")[0])
    kind, names = cursor.element()
    if kind != MI_INT8 or length < 1 or len(names) % length or len(names) // length > MAX_PARTS:
        raise DamagedError("field names are missing")
    parts = (names[at : at + length] for at in range(0, len(names), length))
    return [part.split(b"\0")[0].decode("ascii", "backslashreplace") for part in parts]


def _skip_to(cursor: Cursor, number: int) -> bytes:
    for _ in range(number):
        _part(cursor)
    return _part(cursor)


def _part(cursor: Cursor) -> bytes:
    kind, data = cursor.element()
    if kind != MI_MATRIX:
        raise DamagedError(f"a part of type {kind} where a matrix is expected")
    return data


def _text(body: bytes, order: ByteOrder) -> str:
    """A row of characters."""
    cursor = Cursor(body, order)
    code, _, shape, _ = matrix_head(cursor)
    if code != CHAR or len(shape) != 2 or math.prod(shape) > max(shape, default=0):
        raise DamagedError("a cell holds no text")
    kind, data = cursor.element()
    if kind not in CHAR_TYPES:
        raise DamagedError(f"characters of type {kind}")
    encoding = CHAR_TYPES[kind]
    if encoding == "utf-16":
        encoding = "utf-16-le" if order == "<" else "utf-16-be"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DamagedError("characters that are no text") from error
