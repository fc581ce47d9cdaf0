"""Area means of a raster on a coarser, or shifted, grid along the same axes.

A target pixel's value is the mean of the source over the target pixel's area, each source pixel
weighted by the part of it that lies inside. Along axes that do not rotate, the weights are a
product of a row and a column factor, so two sparse matrices do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


@dataclass(frozen=True, slots=True)
class Axis:
    """Consecutive target pixels along one axis, in units of source pixels.

    Attributes:
        first: number of the first target pixel on its own grid.
        size: how many; below 1 where none is covered.
        start: where the first begins, from the source's edge.
        step: how long each is, > 0.
    """

    first: int
    size: int
    start: float
    step: float

    def nested(self, tolerance: float) -> bool:
        """Whether every source pixel lies in one target pixel."""
        return _whole(self.step, tolerance / max(self.size, 1)) and _whole(self.start, tolerance)

    def is_crop(self, tolerance: float) -> bool:
        """Whether target pixels are source pixels."""
        return self.nested(tolerance) and round(self.step) == 1


def nearest_index(axis: Axis, source: int) -> NDArray[np.int64]:
    """The source pixel at the centre of each target pixel, (size,)."""
    centres = axis.start + (np.arange(axis.size) + 0.5) * axis.step
    index: NDArray[np.int64] = np.clip(np.floor(centres), 0, source - 1).astype(np.int64)
    return index


def resample(
    values: NDArray[np.float32], row: Axis, col: Axis, valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """(C, H, W) to (C, row.size, col.size): area means.

    Args:
        values: source pixels; 0 where missing.
        row: target pixels along the rows. col: along the columns.
        valid: (H, W), the source pixels that are there, over which alone means are taken; a target
            pixel without any gets 0.
    """
    return area_means(values, weights(row, values.shape[1]), weights(col, values.shape[2]), valid)


def area_means(
    values: NDArray[np.float32],
    by_row: csr_array,
    by_col: csr_array,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """`resample` with the weights of both axes given: (C, H, W) to (C, targets, targets).

    Args:
        values: source pixels; 0 where missing.
        by_row: (targets, H). by_col: (targets, W).
        valid: (H, W), or None where all are there.
    """
    share = 1.0 if valid is None else (by_col @ (by_row @ valid.astype(np.float64)).T).T
    share = np.where(share > 0, share, 1.0)
    out = np.empty((values.shape[0], by_row.shape[0], by_col.shape[0]), dtype=np.float32)
    for channel, layer in enumerate(values.astype(np.float64)):
        out[channel] = (by_col @ (by_row @ layer).T).T / share
    return out


def weights(axis: Axis, source: int) -> csr_array:
    """The part of every source pixel in every target pixel, (size, source): rows sum to 1."""
    low = axis.start + np.arange(axis.size) * axis.step
    # A target pixel may stick out by the tolerance with which it counted as covered.
    low, high = np.clip(low, 0, source), np.clip(low + axis.step, 0, source)
    targets, sources, parts = [], [], []
    for number, (left, right) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        inside = np.arange(int(np.floor(left)), min(int(np.ceil(right)), source))
        part = np.minimum(inside + 1, right) - np.maximum(inside, left)
        targets.append(np.full(inside.size, number))
        sources.append(inside)
        parts.append(part / part.sum())
    triple = (np.concatenate(targets), np.concatenate(sources))
    return csr_array((np.concatenate(parts), triple), shape=(axis.size, source))


def _whole(value: float, tolerance: float) -> bool:
    return abs(value - round(value)) <= tolerance
