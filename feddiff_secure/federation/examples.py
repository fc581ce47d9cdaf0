"""From tiles to what is learnt on: descriptors once, ψ of the labelled pixels, ψ in chunks.

Descriptors of a tile are computed from that tile alone, so they can be computed by its owner,
once, and kept; the wide Fourier features are made from them where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.aggregation.centring import Block
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.descriptors import pixels
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.rowwise import row_matmul

Descriptors = Mapping[str, Mapping[str, NDArray[np.float32]]]

_TILES_A_STEP = 64  # of 16 pixels; smaller tiles go in larger steps
_ROWS_A_CHUNK = 8192  # pixels whose ψ is in memory at once while predicting


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Tiles with the descriptors of their pixels.

    Attributes:
        tiles: the tiles.
        parts: for each block of the tiles, its descriptors: by modality and source, one row a
            pixel.
    """

    tiles: TileSet
    parts: tuple[Descriptors, ...]


Describer = Callable[[FeatureMap, TileSet, Progress], Described]
"""What computes descriptors: `describe`, or one that remembers."""


def steps(tiles: TileSet) -> int:
    """Number of progress steps that `describe` takes: one a tile."""
    return sum(len(block) for block in tiles)


def describe(features: FeatureMap, tiles: TileSet, progress: Progress) -> Described:
    """Compute the descriptors of every pixel of every tile."""
    parts = tuple(_describe_block(features, block, progress) for block in tiles)
    return Described(tiles, parts)


def _describe_block(features: FeatureMap, block: TileBlock, progress: Progress) -> Descriptors:
    step = max(1, _TILES_A_STEP * 16 // (block.height * block.width))
    found: list[Descriptors] = []
    for start in range(0, len(block), step):
        rows = np.arange(start, min(start + step, len(block)))
        found.append(features.describe(block.take(rows)))
        progress.advance(len(rows))
    return {
        modality: {
            source: np.concatenate([part[modality][source] for part in found]) for source in sources
        }
        for modality, sources in found[0].items()
    }


def with_diffusion(features: FeatureMap, described: Described) -> Described:
    """The same tiles with diffusion features of HSI by another map; all else is kept."""
    parts: list[Descriptors] = []
    for block, found in zip(described.tiles, described.parts, strict=True):
        held = {modality: dict(sources) for modality, sources in found.items()}
        if block.hsi is not None and "hsi" in held:
            held["hsi"]["diffusion"] = features.hsi_diffusion(pixels(block.hsi))
        parts.append(held)
    return Described(described.tiles, tuple(parts))


def part_of(described: Described, tiles: TileSet) -> Described:
    """What an owner of some of the tiles, and of some of their modalities, has computed itself.

    Descriptors of a tile and modality are computed from these alone, so the ones of a larger set
    are the same numbers.

    Args:
        described: the larger set.
        tiles: tiles of that set, of the same modalities or fewer.
    """
    whole = {
        (block.height, block.width): (block, parts)
        for block, parts in zip(described.tiles, described.parts, strict=True)
    }
    found = []
    for block in tiles:
        larger, parts = whole[block.height, block.width]
        order = np.argsort(larger.index)
        place = order[np.searchsorted(larger.index, block.index, sorter=order)]
        area = block.height * block.width
        rows = (place[:, None] * area + np.arange(area)).ravel()
        held = {name: parts[name] for name in block.modalities if name in parts}
        found.append(_take(held, rows))
    return Described(tiles, tuple(found))


def blocks_of(features: FeatureMap, config: RunConfig) -> tuple[Block, ...] | None:
    """The layout of ψ as a plan names it; None where no mean is released."""
    return tuple(Block(*columns) for columns in features.columns) if config.centring else None


def adapter_of(features: FeatureMap) -> int | None:
    """Numbers in the adapter as a plan names them; None where no branch is adapted."""
    return None if features.adapter is None else len(features.adapter)


def labelled_examples(features: FeatureMap, described: Described) -> TileExamples:
    """ψ, labels and tile ids of the labelled pixels, grouped by tile.

    A modality that the owner does not hold, or not of a pixel, leaves zero columns: it adds nothing
    to the scores and its part of the gradient is zero.
    """
    rows, labels, units = [], [], []
    for block, parts in zip(described.tiles, described.parts, strict=True):
        label = block.label.reshape(-1)
        chosen = np.flatnonzero(label > 0)
        rows.append(_wide(features, _take(parts, chosen), len(chosen)))
        labels.append(label[chosen].astype(np.int64) - 1)
        units.append(np.repeat(block.unit, block.height * block.width)[chosen])
    return TileExamples.group(
        np.concatenate(rows).astype(np.float64), np.concatenate(labels), np.concatenate(units)
    )


def partial_scores(
    features: FeatureMap, weights: NDArray[np.float64], described: Described
) -> list[NDArray[np.float64]]:
    """W_m ψ_m of every pixel, over the modalities that are there: a block's (pixels, K) each."""
    found = []
    for block, parts in zip(described.tiles, described.parts, strict=True):
        scores = np.empty((block.label.size, len(weights)))
        for chunk in _chunks(block.label.size):
            # Row by row, so that a pixel's scores do not depend on those computed beside it.
            scores[chunk] = row_matmul(_wide(features, _take(parts, chunk), len(chunk)), weights)
        found.append(scores)
    return found


def predicted_labels(
    features: FeatureMap, weights: NDArray[np.float64], described: Described
) -> list[NDArray[np.int16]]:
    """The most likely class of every pixel: for each block an array (T, h, w) of labels 1..K.

    A pixel of which no modality is there gets 0.
    """
    return [
        np.where(block.present, scores.argmax(axis=1).reshape(block.label.shape) + 1, 0).astype(
            np.int16
        )
        for block, scores in zip(
            described.tiles, partial_scores(features, weights, described), strict=True
        )
    ]


def _wide(features: FeatureMap, parts: Descriptors, rows: int) -> NDArray[np.float32]:
    """ψ over all modalities, (rows, D), in the order of `FeatureMap.widths`."""
    expanded = features.expand(parts)
    columns = [
        expanded.get(modality, np.zeros((rows, width), dtype=np.float32))
        for modality, width in features.widths.items()
    ]
    return np.concatenate(columns, axis=1)


def _take(parts: Descriptors, rows: NDArray[np.int64]) -> Descriptors:
    return {
        modality: {source: values[rows] for source, values in sources.items()}
        for modality, sources in parts.items()
    }


def _chunks(rows: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, rows, _ROWS_A_CHUNK):
        yield np.arange(start, min(start + _ROWS_A_CHUNK, rows))
