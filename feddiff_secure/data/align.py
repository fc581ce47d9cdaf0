"""Bringing HSI and LiDAR of the same ground, held by different owners, onto one grid.

1. Each owner tells the other where its data lies: a `GroundGrid`, the only message of alignment.
2. Both compute the same common grid from the two (`common_grid`): the coarser of the two pixel
   grids, cropped to the whole pixels that both scenes cover. Tables have no pixels to resample:
   their common grid is the positions that both hold. From the gaps that the other told, each
   knows where on the common grid both have values (`covered`).
3. Each brings its own values onto it (`onto`), on its own machine.

Grids are matched by georeference: one CRS, axes along the coordinate axes. Scenes without one are
matched by shape, which says that their owners aligned them before. Whatever cannot be matched is
refused, never guessed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.ground_grid import GroundGrid
from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.resample import Axis, nearest_index, resample
from feddiff_secure.data.scene import Dataset, Ids, PixelTable, Scene
from feddiff_secure.errors import DataError

ALIGNED = 1e-3  # of a pixel: rounding of stored georeferences, not a shift
HALF = 0.5 - 1e-6  # of a pixel's area, less the rounding of float32
_HINT = "export both scenes in one CRS, north up, over the same ground"


def common_grid(hsi: GroundGrid, lidar: GroundGrid) -> GroundGrid:
    """The grid that both owners compute for themselves from the two grids.

    Raises:
        DataError: grids that cannot be matched: another CRS, rotated, without overlap, a
            georeference on one side only, other shapes or positions.
    """
    if hsi.positions is not None or lidar.positions is not None:
        return _common_positions(hsi, lidar)
    if (hsi.transform is None) != (lidar.transform is None):
        raise DataError(
            "alignment: one scene has a georeference (`transform`), the other has none", _HINT
        )
    if hsi.transform is None or lidar.transform is None:
        if hsi.shapes != lidar.shapes:
            raise DataError(
                f"alignment: HSI is of {hsi.size} and LiDAR of {lidar.size} pixels, without a "
                "georeference to match them by",
                "give one raster each a `crs` and `transform`, or tables a `row_col`",
            )
        return replace(hsi, valid=None)
    if hsi.crs != lidar.crs:
        raise DataError(
            f"alignment: the CRS of HSI is {_short(hsi.crs)}, that of LiDAR {_short(lidar.crs)}",
            "reproject one of them",
        )
    if (hsi.transform, hsi.shapes) == (lidar.transform, lidar.shapes):
        return replace(hsi, valid=None)
    return _overlap(hsi, lidar)


def onto(dataset: Dataset, name: str, grid: GroundGrid) -> Dataset:
    """One owner's own step: its modality, labels and regions on the common grid.

    Values become the mean over each common pixel's area; labels and regions are those at its
    centre. Where the owner's grid is the common one, or a crop of it, nothing is computed.

    Args:
        dataset: the owner's data.
        name: the modality it contributes.
        grid: what `common_grid` gave.

    Raises:
        DataError: the data holds no such modality, or a position twice.
    """
    if name not in dataset.layout.names:
        raise DataError(f"alignment: the data holds no `{name}`", "give the file of that sensor")
    mine = GroundGrid.of(dataset, name)
    if dataset.table is not None:
        rows = np.arange(dataset.table.n_pixels)
        if grid.positions is not None:
            rows = _rows_at(mine, grid.positions)
        return Dataset(table=_table_rows(dataset.table, name, rows))
    if (mine.transform, mine.shapes) == (grid.transform, grid.shapes):
        return Dataset(scenes=tuple(_only(scene, name) for scene in dataset.scenes))
    return Dataset(scenes=(_scene_onto(dataset.scenes[0], name, grid),))


def covered(grid: GroundGrid, common: GroundGrid) -> tuple[Mask, ...] | None:
    """Where on the common grid an owner has values, as both owners compute it from its grid.

    A common pixel counts if values cover at least half of its area.

    Returns:
        One (H, W) a scene of the common grid, (N, 1) for a table; None where it has all.
    """
    if grid.valid is None:
        return None
    if grid.positions is not None and common.positions is not None:
        return (grid.valid[0][_rows_at(grid, common.positions)],)
    if (grid.transform, grid.shapes) == (common.transform, common.shapes):
        return grid.valid
    row, col = axes(common, grid)
    share = resample(grid.valid[0][None].astype(np.float32), row, col)[0]
    return (share >= HALF,)


def _common_positions(hsi: GroundGrid, lidar: GroundGrid) -> GroundGrid:
    mine, theirs = hsi.positions, lidar.positions
    if mine is None or theirs is None or mine.shape[1] != theirs.shape[1]:
        raise DataError(
            "alignment: only one of the tables has `row_col` (or `group`)",
            "give both tables the positions of their pixels",
        )
    known = _keys(theirs, "LiDAR")
    kept = np.array([key in known for key in _keys(mine, "HSI")], dtype=np.bool_)
    if not kept.any():
        raise DataError("alignment: the tables have no position in common", _HINT)
    return GroundGrid(None, None, ((int(kept.sum()), 1),), mine[kept])


def _keys(positions: NDArray[np.int64], whose: str) -> dict[tuple[int, ...], int]:
    """Position → line; the order is that of the table."""
    keys = {tuple(row): line for line, row in enumerate(positions.tolist())}
    if len(keys) != len(positions):
        raise DataError(
            f"alignment: {len(positions) - len(keys)} positions occur twice in the {whose} table",
            "keep one row a position",
        )
    return keys


def _rows_at(mine: GroundGrid, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    assert mine.positions is not None  # the common grid has positions only if both have
    keys = _keys(mine.positions, "own")
    return np.array([keys[tuple(row)] for row in positions.tolist()], dtype=np.int64)


def _overlap(hsi: GroundGrid, lidar: GroundGrid) -> GroundGrid:
    """The whole pixels of the coarser grid that the other one covers too."""
    for grid, whose in ((hsi, "HSI"), (lidar, "LiDAR")):
        _, b, _, d, _, _ = grid.affine
        if b or d:
            raise DataError(
                f"alignment: the {whose} grid is rotated or sheared against its coordinate axes",
                _HINT,
            )
    base, other = (lidar, hsi) if _area(lidar) > _area(hsi) * (1 + ALIGNED) else (hsi, lidar)
    row, col = axes(base, other)
    if row.size <= 0 or col.size <= 0:
        how = "do not overlap" if _apart(hsi, lidar) else "overlap by no whole pixel of the coarser"
        raise DataError(
            f"alignment: the scenes {how}: HSI covers {hsi.extent}, LiDAR covers {lidar.extent}",
            _HINT,
        )
    a, b, c, d, e, f = base.affine
    first_row, first_col = row.first, col.first
    moved = (a, b, c + a * first_col, d, e, f + e * first_row)
    return GroundGrid(base.crs, moved, ((row.size, col.size),))


def axes(base: GroundGrid, other: GroundGrid) -> tuple[Axis, Axis]:
    """For rows and columns: the pixels of `base` that `other` covers, in pixels of `other`.

    Raises:
        DataError: an axis runs the other way.
    """
    (height, width), (rows, cols) = base.shapes[0], other.shapes[0]
    a, _, c, _, e, f = base.affine
    a2, _, c2, _, e2, f2 = other.affine
    if a * a2 < 0 or e * e2 < 0:
        raise DataError("alignment: one grid is flipped against the other", _HINT)
    return _axis(height, rows, e / e2, (f - f2) / e2), _axis(width, cols, a / a2, (c - c2) / a2)


def _axis(base: int, other: int, step: float, start: float) -> Axis:
    """Pixels k of the base axis, at start + k·step … of the other, within 0 … other."""
    first = max(0, math.ceil((0 - start) / step - ALIGNED))
    last = min(base, math.floor((other - start) / step + ALIGNED))
    return Axis(first, last - first, start + first * step, step)


def _scene_onto(scene: Scene, name: str, grid: GroundGrid) -> Scene:
    mine = GroundGrid.of(Dataset(scenes=(scene,)), name)
    row, col = axes(grid, mine)
    modality = scene.modalities[name]
    nested = row.nested(ALIGNED) and col.nested(ALIGNED)
    at = np.ix_(nearest_index(row, scene.shape[0]), nearest_index(col, scene.shape[1]))
    there = covered(mine, grid)
    valid = None if there is None else there[0]
    if row.is_crop(ALIGNED) and col.is_crop(ALIGNED):
        values = modality.pick(at).values
    else:
        values = resample(modality.values, row, col, modality.valid)
    moved = replace(
        modality,
        values=values if valid is None else np.where(valid, values, np.float32(0)),
        valid=valid,
        # A source pixel that lies across two common pixels may reach two tiles.
        support=modality.support if nested else "neighbourhood",
    )
    return replace(
        scene,
        modalities={name: moved},
        label=scene.label[at],
        region=None if scene.region is None else scene.region[at],
        transform=grid.transform,
    )


def _only(scene: Scene, name: str) -> Scene:
    return replace(scene, modalities={name: scene.modalities[name]})


def _table_rows(table: PixelTable, name: str, rows: NDArray[np.int64]) -> PixelTable:
    def taken(ids: Ids | None) -> Ids | None:
        return None if ids is None else ids[rows]

    return replace(
        table,
        modalities={name: table.modalities[name].pick(rows)},
        label=table.label[rows],
        region=taken(table.region),
        group=taken(table.group),
        site=None if table.site is None else table.site[rows],
        row_col=taken(table.row_col),
    )


def _apart(hsi: GroundGrid, lidar: GroundGrid) -> bool:
    """Whether no point of the ground is in both scenes."""
    sides = zip(hsi.bounds, lidar.bounds, strict=True)
    return any(low >= high2 or low2 >= high for (low, high), (low2, high2) in sides)


def _area(grid: GroundGrid) -> float:
    return abs(grid.affine[0] * grid.affine[4])


def _short(crs: str | None) -> str:
    return "absent" if crs is None else repr(" ".join(crs.split())[:60])
