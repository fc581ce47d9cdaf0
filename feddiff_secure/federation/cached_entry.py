"""The file of one entry of the descriptor cache: a line with a SHA-256, then safetensors."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.federation.examples import Described, Descriptors
from feddiff_secure.model.psi import VALID, FeatureMap

FORMAT = b"feddiff-secure descriptors 1 "


def entry_bytes(described: Described) -> bytes:
    """An entry of described tiles."""
    tensors = {
        f"{number}.{modality}.{source}": np.ascontiguousarray(values)
        for number, parts in enumerate(described.parts)
        for modality, sources in parts.items()
        for source, values in sources.items()
    }
    content = save(tensors)
    return FORMAT + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def parse_entry(data: bytes, features: FeatureMap, tiles: TileSet) -> Described:
    """Read an entry back as the descriptors of tiles.

    Raises:
        ValueError: damaged, or not exactly what these tiles ask for.
    """
    head, newline, content = data.partition(b"\n")
    if not newline or head != FORMAT + hashlib.sha256(content).hexdigest().encode():
        raise ValueError("not an entry of this version, or damaged")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(f"not a safetensors file: {error}") from error
    wanted = [_widths(features, block) for block in tiles]
    names = {f"{i}.{modality}.{source}" for i, of in enumerate(wanted) for modality, source in of}
    if set(tensors) != names:
        raise ValueError("its arrays are not those of these tiles")
    parts: list[Descriptors] = []
    for number, (block, widths) in enumerate(zip(tiles, wanted, strict=True)):
        found: dict[str, dict[str, NDArray[np.float32]]] = {}
        for (modality, source), width in widths.items():
            values = tensors[f"{number}.{modality}.{source}"]
            _check(values, (block.label.size, width))
            found.setdefault(modality, {})[source] = values
        parts.append(found)
    return Described(tiles, tuple(parts))


def _widths(features: FeatureMap, block: TileBlock) -> dict[tuple[str, str], int]:
    """Columns by modality and source of what `FeatureMap.describe` gives for a block."""
    widths = {
        (part.modality, part.source): part.projection.inputs
        for part in features.parts
        if part.modality in block.modalities
    }
    return widths | {
        (modality, VALID): 1 for modality, _ in list(widths) if modality in block.valid
    }


def _check(values: NDArray[Any], shape: tuple[int, int]) -> None:
    if values.dtype != np.float32 or values.shape != shape:
        raise ValueError(f"an array is {values.dtype} {values.shape}, not float32 {shape}")
