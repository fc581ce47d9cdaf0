"""Strict reading of a safetensors file that carries one JSON description beside its tensors."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError, safe_open

from feddiff_secure.errors import DataError

MOST_CLASSES = 255
Tensors = dict[str, NDArray[Any]]


def read_described(
    path: Path, key: str, *, most_bytes: int, fields: Collection[str], hint: str
) -> tuple[dict[str, Any], Tensors]:
    """The description and the tensors of a file, the tensors unchecked.

    Args:
        path: the file.
        key: the one metadata entry that there must be.
        most_bytes: of the file.
        fields: exactly those of the description.
        hint: of every error.

    Raises:
        DataError: a missing or oversized file, no safetensors, other metadata, or a description
            that is not a JSON object of these fields.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint)
    if path.stat().st_size > most_bytes:
        raise DataError(f"{path}: larger than {most_bytes} bytes", hint)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}", hint) from error
    if set(metadata) != {key}:
        raise DataError(f"{path}: metadata {sorted(metadata)}, not {key!r} alone", hint)
    try:
        described: Any = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: its description is not JSON", hint) from error
    if not isinstance(described, dict) or set(described) != set(fields):
        raise DataError(f"{path}: its description has other fields", hint)
    return described, tensors


def check_says(
    described: Mapping[str, Any], field: str, expected: str, path: Path, hint: str
) -> None:
    """Refuse a description whose field is not exactly this text.

    Raises:
        DataError: naming field and text.
    """
    if described[field] != expected:
        raise DataError(f"{path}: {field} {described[field]!r:.60}, not {expected!r}", hint)


def check_classes(classes: object, path: Path, hint: str) -> tuple[str, ...]:
    """The class names of a description.

    Raises:
        DataError: not 1 to 255 different names.
    """
    if (
        not isinstance(classes, list)
        or not 1 <= len(classes) <= MOST_CLASSES
        or not all(isinstance(name, str) and name for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise DataError(f"{path}: classes are not 1 to {MOST_CLASSES} different names", hint)
    return tuple(classes)


def check_names(tensors: Collection[str], expected: Collection[str], path: Path, hint: str) -> None:
    """Refuse other tensors than these.

    Raises:
        DataError: naming one.
    """
    odd = sorted(set(tensors) ^ set(expected))
    if odd:
        raise DataError(f"{path}: tensor {odd[0][:80]!r} is missing or unexpected", hint)


def check_tensors(
    tensors: Mapping[str, NDArray[Any]],
    expected: Mapping[str, tuple[int, ...]],
    dtype: DTypeLike,
    path: Path,
    hint: str,
) -> None:
    """Refuse tensors that are not exactly these: names, shapes, type, and finite.

    Raises:
        DataError: naming the first that is not so.
    """
    check_names(tensors, expected, path, hint)
    for name, shape in expected.items():
        found = tensors[name]
        if found.shape != shape or found.dtype != dtype:
            wanted = f"{np.dtype(dtype)} {shape}"
            raise DataError(f"{path}: {name} is {found.dtype} {found.shape}, not {wanted}", hint)
        if not np.isfinite(found).all():
            raise DataError(f"{path}: {name} has values that are not finite", hint)
