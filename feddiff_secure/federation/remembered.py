"""Descriptors of tiles, each computed once in the life of a process.

Benchmarks run the same tiles under many settings. A tile's descriptors follow from its own
values and the feature map alone, so they are kept by the digest of both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.federation.examples import Described, Descriptors, describe
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.psi import FeatureMap

Rows = dict[tuple[str, str], NDArray[np.float32]]


class Remembered:
    """`describe` with a memory of tiles."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Rows] = {}

    def __call__(self, features: FeatureMap, tiles: TileSet, progress: Progress) -> Described:
        """The descriptors of every pixel of every tile."""
        described = features.numbers()
        described.pop("seed")  # descriptors come before the projections
        described["parts"] = [(part["modality"], part["source"]) for part in described["parts"]]
        key = json.dumps(described, sort_keys=True).encode()
        return Described(
            tiles,
            tuple(self._block(features, key, replace(tiles, blocks=(b,)), progress) for b in tiles),
        )

    def _block(
        self, features: FeatureMap, key: bytes, tiles: TileSet, progress: Progress
    ) -> Descriptors:
        (block,) = tiles.blocks
        digests = [_digest(key, block, number) for number in range(len(block))]
        new = np.flatnonzero([digest not in self._kept for digest in digests])
        if len(new):
            taken = block.take(new)
            made = describe(features, replace(tiles, blocks=(taken,)), progress).parts[0]
            area = block.height * block.width
            for place, number in enumerate(new):
                at = slice(place * area, (place + 1) * area)
                self._kept[digests[number]] = {
                    (modality, source): values[at]
                    for modality, sources in made.items()
                    for source, values in sources.items()
                }
        found: dict[str, dict[str, NDArray[np.float32]]] = {}
        for modality, source in self._kept[digests[0]]:
            rows = [self._kept[digest][modality, source] for digest in digests]
            found.setdefault(modality, {})[source] = np.concatenate(rows)
        return found


def _digest(key: bytes, block: TileBlock, number: int) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(repr((block.height, block.width)).encode())
    for values in (*block.modalities.values(), *block.valid.values()):
        digest.update(np.ascontiguousarray(values[number]).tobytes())
    return digest.digest()
