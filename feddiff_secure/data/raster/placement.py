"""How a layer lies on the grid of its scene, and its values there.

Where pixels of the grid are pixels of the layer, they are picked; else a value is the mean of the
layer over the pixel's area (`feddiff_secure.data.resample`), a label that at its centre. All
weights follow from the two grids, so a window of the grid gets the numbers that the whole gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from feddiff_secure.data.align import ALIGNED, HALF, axes
from feddiff_secure.data.ground_grid import GroundGrid
from feddiff_secure.data.nodata import missing_pixels
from feddiff_secure.data.raster.layer import Layer
from feddiff_secure.data.resample import Axis, area_means, nearest_index, weights


@dataclass(frozen=True, eq=False)
class Placement:
    """A layer on a grid.

    Attributes:
        row: the rows of the grid that the layer covers, in rows of the layer. col: columns.
        source: (H, W) of the layer.
        target: (H, W) of the grid.
    """

    row: Axis
    col: Axis
    source: tuple[int, int]
    target: tuple[int, int]

    @classmethod
    def same(cls, shape: tuple[int, int]) -> Placement:
        """Of a layer that has the grid's pixels."""
        return cls(Axis(0, shape[0], 0.0, 1.0), Axis(0, shape[1], 0.0, 1.0), shape, shape)

    @classmethod
    def of(cls, grid: GroundGrid, layer: GroundGrid) -> Placement:
        """By georeference; sizes below 1 where the two do not overlap.

        Raises:
            DataError: one is flipped against the other.
        """
        row, col = axes(grid, layer)
        return cls(row, col, layer.shapes[0], grid.shapes[0])

    @property
    def overlaps(self) -> bool:
        """Whether the layer covers a whole pixel of the grid."""
        return self.row.size > 0 and self.col.size > 0

    @property
    def is_pick(self) -> bool:
        """Whether pixels of the grid are pixels of the layer."""
        return self.row.is_crop(ALIGNED) and self.col.is_crop(ALIGNED)

    @property
    def nested(self) -> bool:
        """Whether every pixel of the layer lies in one pixel of the grid."""
        return self.row.nested(ALIGNED) and self.col.nested(ALIGNED)

    @property
    def covers_all(self) -> bool:
        """Whether every pixel of the grid is covered."""
        return (self.row.first, self.col.first) == (0, 0) and (
            self.row.size,
            self.col.size,
        ) == self.target

    @cached_property
    def _by_row(self) -> csr_array:
        return weights(self.row, self.source[0])

    @cached_property
    def _by_col(self) -> csr_array:
        return weights(self.col, self.source[1])

    def picked(
        self, layer: Layer, rows: slice, cols: slice, fill: NDArray[Any] | None
    ) -> NDArray[Any]:
        """A window of the grid, (h, w, bands) in the layer's type; `fill` where not covered."""
        (r0, r1), (c0, c1) = _inside(self.row, rows), _inside(self.col, cols)
        top = round(self.row.start) + r0 - self.row.first
        left = round(self.col.start) + c0 - self.col.first
        source = slice(top, top + r1 - r0), slice(left, left + c1 - c0)
        if (r0, r1, c0, c1) == (rows.start, rows.stop, cols.start, cols.stop):
            return layer.read(*source)
        assert fill is not None  # a layer that does not cover the grid has a value for the rest
        shape = (rows.stop - rows.start, cols.stop - cols.start, layer.facts.bands)
        canvas = np.full(shape, fill)
        if r1 > r0 and c1 > c0:
            values = layer.read(*source)
            canvas[r0 - rows.start : r1 - rows.start, c0 - cols.start : c1 - cols.start] = values
        return canvas

    def source_window(self, rows: slice, cols: slice) -> tuple[slice, slice]:
        """The layer's pixels under a window of the grid."""
        return _under(self.row, rows, self.source[0]), _under(self.col, cols, self.source[1])

    def means(
        self, values: NDArray[Any], rows: slice, cols: slice, nodata: float | None, where: str
    ) -> NDArray[np.float32]:
        """Area means over a window of the grid, (h, w, bands); NaN where the layer has none.

        A pixel of the grid has a value if the layer has values of at least half of its area.

        Args:
            values: stored values of `source_window`, (h, w, bands).
            rows: of the grid. cols: of the grid.
            nodata: the stored value of missing pixels.
            where: for messages.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start, values.shape[-1])
        canvas = np.full(shape, np.float32(np.nan))
        (r0, r1), (c0, c1) = _inside(self.row, rows), _inside(self.col, cols)
        if r1 <= r0 or c1 <= c0:
            return canvas
        down, across = self.source_window(rows, cols)
        by_row = self._by_row[r0 - self.row.first : r1 - self.row.first, down]
        by_col = self._by_col[c0 - self.col.first : c1 - self.col.first, across]
        cube = np.moveaxis(values, -1, 0).astype(np.float32)
        if nodata is None:
            found = area_means(cube, by_row, by_col)
        else:  # also where nothing is missing, so that a window divides as the whole does
            missing = missing_pixels(values, nodata, where, may_be_all=True)
            cube[:, missing] = 0
            found = area_means(cube, by_row, by_col, ~missing)
            there = (~missing)[None].astype(np.float32)
            found[:, area_means(there, by_row, by_col)[0] < HALF] = np.nan
        part = canvas[r0 - rows.start : r1 - rows.start, c0 - cols.start : c1 - cols.start]
        part[...] = np.moveaxis(found, 0, -1)
        return canvas

    def nearest(self, layer: Layer, rows: slice, cols: slice) -> NDArray[Any]:
        """The first band at the centre of each pixel of a window, (h, w); 0 where not covered."""
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        canvas = np.zeros(shape, dtype=layer.facts.dtype)
        (r0, r1), (c0, c1) = _inside(self.row, rows), _inside(self.col, cols)
        if r1 <= r0 or c1 <= c0:
            return canvas
        down = nearest_index(self.row, self.source[0])[r0 - self.row.first : r1 - self.row.first]
        across = nearest_index(self.col, self.source[1])[c0 - self.col.first : c1 - self.col.first]
        top, left = int(down[0]), int(across[0])
        values = layer.read(slice(top, int(down[-1]) + 1), slice(left, int(across[-1]) + 1))
        part = canvas[r0 - rows.start : r1 - rows.start, c0 - cols.start : c1 - cols.start]
        part[...] = values[np.ix_(down - top, across - left)][..., 0]
        return canvas


def _inside(axis: Axis, window: slice) -> tuple[int, int]:
    """The part of a window that the layer covers, in pixels of the grid."""
    low = max(window.start, axis.first)
    return low, max(low, min(window.stop, axis.first + axis.size))


def _under(axis: Axis, window: slice, source: int) -> slice:
    """The source pixels that a window touches, and one more on each side for rounding."""
    low, high = _inside(axis, window)
    start = axis.start + (low - axis.first) * axis.step
    stop = axis.start + (high - axis.first) * axis.step
    first = min(max(int(np.floor(start)) - 1, 0), source)
    return slice(first, max(first, min(int(np.ceil(stop)) + 1, source)))
