"""Strict reading and writing of small public float32 tensors with one provenance string.

A file is safetensors with the named tensors and one metadata string: its key is the format's
version and its value the provenance (safetensors writes several keys in no fixed order, and equal
contents are to be equal files).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from feddiff_secure.errors import DataError

Tensors = dict[str, npt.NDArray[np.float32]]


def write_public_tensors(
    path: Path,
    tensors: Mapping[str, npt.NDArray[np.float32]],
    version: str,
    provenance: str,
    load: Callable[[Path], object],
) -> str:
    """Write a file and return its SHA-256; atomic by rename, and `load` must read it back first."""
    from safetensors.numpy import save  # noqa: PLC0415

    ready = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    data = save(ready, metadata={version: provenance})
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    load(partial)
    partial.replace(path)
    return hashlib.sha256(data).hexdigest()


def read_public_tensors(
    path: Path, version: str, shapes: Mapping[str, tuple[int, ...]], limit: int, hint: str
) -> tuple[bytes, Tensors, str]:
    """The bytes of a file, its tensors and its provenance.

    Args:
        path: the file.
        version: the one key its metadata must have.
        shapes: of the tensors it must have, by name.
        limit: bytes at most.
        hint: second line of an error.

    Raises:
        DataError: missing, too large, not safetensors, unknown format version, or any tensor
            that is not a finite float32 one of the expected shape.
    """
    data = _read(path, limit, hint)
    metadata, tensors = _parse(path, data, hint)
    if set(metadata) != {version}:
        raise DataError(f"{path}: its metadata is not that of {version!r}", hint)
    if set(shapes) != set(tensors):
        odd = sorted(set(shapes) ^ set(tensors))[0]
        raise DataError(f"{path}: tensor {odd!r} is missing or unexpected", hint)
    for name, wanted in shapes.items():
        given = tensors[name]
        if given.shape != wanted or given.dtype != np.float32:
            raise DataError(f"{path}: tensor {name!r} must be float32 {wanted}", hint)
        if not np.isfinite(given).all():
            raise DataError(f"{path}: tensor {name!r} is not finite", hint)
    return data, tensors, metadata[version]


def _read(path: Path, limit: int, hint: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot read it ({error.strerror})", hint) from error
    if len(data) > limit:
        raise DataError(f"{path}: such a file may have {limit} bytes at most", hint)
    return data


def _parse(
    path: Path, data: bytes, hint: str
) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        tensors = load(data)  # checks the header against the data's length
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a safetensors file ({error})", hint) from error
    return metadata, tensors
