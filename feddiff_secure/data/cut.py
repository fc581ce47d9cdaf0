"""Cutting a data set into tiles (`feddiff_secure.data.tiles` says what a tile is)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.scene import Dataset, Ids, Labels, PixelTable, Scene
from feddiff_secure.data.tiles import NO_ID, TileBlock, TileSet, Value, with_data
from feddiff_secure.errors import UsageError

MAX_TILE = 64  # pixels; a larger unit would leave a scene with a handful of records
NO_REGION = np.iinfo(np.int32).max


def cut_tiles(dataset: Dataset, tile: int) -> TileSet:
    """Cuts a data set into privacy units of side `tile`.

    A tile's region is the smallest region id among its labelled pixels. Labelled pixels of
    other regions inside it become unlabelled (0), so that no region lies in two tiles that a
    split could put on both sides. So do pixels of which no modality is there.

    Rasters: a grid closed at each scene's edge; the remainders are smaller tiles. Tables: each
    pixel is an entry of 1×1; pixels of one site and group whose `row_col` fall into one
    tile×tile cell are one unit (a repeated position is one unit also at `tile` 1); without
    `row_col` every line is its own unit.

    Args:
        dataset: scenes or a table.
        tile: side of the grid in pixels, 1..64.

    Returns:
        The tiles, in an order that depends on the data's shape alone.

    Raises:
        UsageError: `tile` is out of range, or more than 1 for a table without `row_col`.
    """
    if not 1 <= tile <= MAX_TILE:
        raise UsageError(f"tile {tile} is outside 1..{MAX_TILE}", "give a side in pixels")
    if dataset.table is not None:
        return _cut_table(dataset.table, dataset, tile)
    sites = tuple(sorted({scene.site for scene in dataset.scenes if scene.site is not None}))
    by_shape: dict[tuple[int, int], list[TileBlock]] = defaultdict(list)
    unit = 0
    for number, scene in enumerate(dataset.scenes):
        for block in _cut_scene(scene, number, tile, unit, sites):
            by_shape[block.height, block.width].append(block)
        unit += -(-scene.shape[0] // tile) * -(-scene.shape[1] // tile)
    blocks = tuple(_join(by_shape.pop(shape)) for shape in sorted(by_shape, reverse=True))
    shapes = tuple(scene.shape for scene in dataset.scenes)
    return TileSet(blocks, dataset.classes, dataset.layout, sites, tile, shapes)


@dataclass(frozen=True)
class _Window:
    """A part of a scene whose tiles have one size: `rows` × `cols` tiles of height × width."""

    top: int
    left: int
    rows: int
    cols: int
    height: int
    width: int

    def cut(self, values: NDArray[Value]) -> NDArray[Value]:
        """(C, H, W) → (rows·cols, C, height, width), a contiguous copy, row by row."""
        bottom, right = self.top + self.rows * self.height, self.left + self.cols * self.width
        part = values[:, self.top : bottom, self.left : right]
        grid = part.reshape(values.shape[0], self.rows, self.height, self.cols, self.width)
        tiles = grid.transpose(1, 3, 0, 2, 4).copy()  # a copy also where the order allows a view
        return tiles.reshape(-1, values.shape[0], self.height, self.width)


def _windows(height: int, width: int, tile: int) -> list[_Window]:
    """The whole tiles, the remainders right and below, and the corner; empty ones left out."""
    rows, below = divmod(height, tile)
    cols, right = divmod(width, tile)
    windows = (
        _Window(0, 0, rows, cols, tile, tile),
        _Window(0, cols * tile, rows, 1, tile, right),
        _Window(rows * tile, 0, 1, cols, below, tile),
        _Window(rows * tile, cols * tile, 1, 1, below, right),
    )
    return [w for w in windows if w.rows * w.cols * w.height * w.width > 0]


def _cut_scene(
    scene: Scene, number: int, tile: int, first_unit: int, sites: tuple[str, ...]
) -> list[TileBlock]:
    """The tiles of one scene, one block a size."""
    grid_columns = -(-scene.shape[1] // tile)
    learnable, blocks = _learnable(scene), []
    for window in _windows(*scene.shape, tile):
        rows = window.top + window.height * np.arange(window.rows)
        cols = window.left + window.width * np.arange(window.cols)
        origin = np.empty((rows.size * cols.size, 3), dtype=np.int32)
        origin[:, 0] = number
        origin[:, 1] = np.repeat(rows, cols.size)
        origin[:, 2] = np.tile(cols, rows.size)
        unit = first_unit + (origin[:, 1] // tile).astype(np.int64) * grid_columns
        unit += origin[:, 2] // tile
        label = window.cut(learnable[None])[:, 0]  # (T, h, w)
        region = np.full(unit.size, NO_ID, dtype=np.int32)
        if scene.region is not None:
            label, region = _close_regions(label, window.cut(scene.region[None])[:, 0])
        cut = {name: window.cut(modality.values) for name, modality in scene.modalities.items()}
        blocks.append(
            TileBlock(
                window.height,
                window.width,
                cut.get("hsi"),
                cut.get("lidar"),
                label,
                origin,
                unit,
                unit.copy(),
                region,
                np.full(unit.size, NO_ID if scene.group is None else scene.group, np.int32),
                np.full(unit.size, NO_ID if scene.site is None else sites.index(scene.site)).astype(
                    np.int32
                ),
                valid={name: window.cut(mask[None])[:, 0] for name, mask in _valid(scene).items()},
            )
        )
    return blocks


def _valid(part: Scene | PixelTable) -> dict[str, Mask]:
    """By modality of which pixels are missing, those that are there."""
    held = part.modalities.items()
    return {name: modality.valid for name, modality in held if modality.valid is not None}


def _learnable(part: Scene | PixelTable) -> Labels:
    """The labels, 0 where no modality is there: nothing can be learnt from such a pixel."""
    there = with_data(part.label.shape, part.modalities, _valid(part))
    return np.where(there, part.label, 0).astype(np.int16)


def _close_regions(label: Labels, region: Ids) -> tuple[Labels, Ids]:
    """Gives every tile one region: (T, h, w) twice → labels without the others, (T,) ids."""
    counted = np.where(label > 0, region, NO_REGION)
    smallest = counted.reshape(label.shape[0], -1).min(axis=1)
    kept = np.where(region == smallest[:, None, None], label, 0).astype(np.int16)
    return kept, np.where(smallest == NO_REGION, NO_ID, smallest).astype(np.int32)


def _join(parts: list[TileBlock]) -> TileBlock:
    """Blocks of one size as one block."""
    if len(parts) == 1:
        return parts[0]
    names = ("label", "origin", "unit", "index", "region", "group", "site")
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    for name in ("hsi", "lidar"):
        held = name in parts[0].modalities
        joined[name] = np.concatenate([getattr(part, name) for part in parts]) if held else None
    joined["valid"] = {
        name: np.concatenate(
            [part.valid.get(name, np.ones(part.label.shape, dtype=np.bool_)) for part in parts]
        )
        for name in parts[0].modalities
        if any(name in part.valid for part in parts)
    }
    return TileBlock(parts[0].height, parts[0].width, **joined)


def _cut_table(table: PixelTable, dataset: Dataset, tile: int) -> TileSet:
    """The pixels of a table as one block of 1×1 tiles."""
    n_pixels = table.n_pixels
    line = np.arange(n_pixels, dtype=np.int64)
    nobody = np.full(n_pixels, NO_ID, dtype=np.int32)
    group = nobody if table.group is None else table.group.copy()
    sites: tuple[str, ...] = ()
    site = nobody
    if table.site is not None:
        names, numbers = np.unique(table.site, return_inverse=True)
        sites, site = tuple(str(name) for name in names), numbers.astype(np.int32)
    origin = np.zeros((n_pixels, 3), dtype=np.int32)
    if table.row_col is not None:
        origin[:, 1:] = table.row_col
        cell = np.column_stack([site, group, table.row_col // tile])  # (N, 4)
        unit = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    elif tile > 1:
        raise UsageError(
            f"tile {tile} needs pixel positions, and {table.name} has no row_col",
            "use --tile 1, or add a `row_col` data set",
        )
    else:
        origin[:, 1] = line
        unit = line
    label, region = _learnable(table), nobody
    if table.region is not None:
        label, region = _close_unit_regions(label, table.region, unit)
    values = {
        name: np.ascontiguousarray(modality.values)[:, :, None, None].copy()
        for name, modality in table.modalities.items()
    }
    block = TileBlock(
        1,
        1,
        values.get("hsi"),
        values.get("lidar"),
        label.reshape(-1, 1, 1).copy(),
        origin,
        unit,
        line,
        region,
        group,
        site,
        valid={name: mask.reshape(-1, 1, 1).copy() for name, mask in _valid(table).items()},
    )
    return TileSet(
        (block,),
        dataset.classes,
        dataset.layout,
        sites,
        tile,
        table_size=n_pixels,
        positioned=table.row_col is not None,
    )


def _close_unit_regions(label: Labels, region: Ids, unit: NDArray[np.int64]) -> tuple[Labels, Ids]:
    """`_close_regions` for tables: all (N,), entries of one unit share the smallest region."""
    smallest = np.full(int(unit.max()) + 1, NO_REGION, dtype=np.int32)
    np.minimum.at(smallest, unit, np.where(label > 0, region, NO_REGION))
    of_line = smallest[unit]
    kept = np.where(region == of_line, label, 0).astype(np.int16)
    return kept, np.where(of_line == NO_REGION, NO_ID, of_line).astype(np.int32)
