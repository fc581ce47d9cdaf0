"""The privacy unit: tiles of ground, each closed at its edge.

A tile's arrays are copies cut from that tile alone; no neighbour's value is in them, so a
feature computed from them cannot read across the edge. A raster is cut by a grid of side `tile`
that starts at each scene's upper left corner; what is left over at the right and lower edges
becomes smaller tiles, so that every pixel lies in exactly one. Tiles of one size form a block.
`unit` is the privacy unit an entry belongs to: in a raster every tile is one; in a table the
pixels that fall into one grid cell share one (`feddiff_secure.data.cut`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.scene import Floats, Ids, Labels

NO_ID = -1  # in region, group and site: unknown

UnitIds = NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class TileBlock:
    """T tiles of one size.

    Attributes:
        height: rows of every tile in the block, pixels.
        width: columns of every tile in the block, pixels.
        hsi: float32 (T, B, height, width) in sensor units, or None.
        lidar: float32 (T, C, height, width) in sensor units, or None.
        label: int16 (T, height, width), 0 = unlabelled.
        origin: int32 (T, 3): scene number, row and column of the tile's upper left pixel. In a
            table the scene is 0 and row and column are the pixel's own position, or its line
            number and 0 where positions are unknown.
        unit: int64 (T,), id of the privacy unit.
        index: int64 (T,), number of the tile in the data set (a table: line of the file).
        region: int32 (T,), smallest region among the unit's labelled pixels, or `NO_ID`.
        group: int32 (T,), or `NO_ID`.
        site: int32 (T,), position in `TileSet.sites`, or `NO_ID`.
        valid: for each modality held of which pixels are missing, which ones are there: bool
            (T, height, width); the values of the others are 0.
    """

    height: int
    width: int
    hsi: Floats | None
    lidar: Floats | None
    label: Labels
    origin: Ids
    unit: UnitIds
    index: UnitIds
    region: Ids
    group: Ids
    site: Ids
    valid: Mapping[str, Mask] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = self.unit.size
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
            "label": (self.label.shape, (count, self.height, self.width)),
            "origin": (self.origin.shape, (count, 3)),
        }
        for name in ("unit", "index", "region", "group", "site"):
            shapes[name] = (getattr(self, name).shape, (count,))
        for name, values in self.modalities.items():
            shapes[name] = (values.shape, (count, values.shape[1], self.height, self.width))
        for name, mask in self.valid.items():
            held = name in self.modalities
            shapes[f"valid {name}"] = (mask.shape, self.label.shape if held else ())
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise ValueError(f"tile block: {name} has shape {found}, expected {expected}")

    def __len__(self) -> int:
        return int(self.unit.size)

    @property
    def modalities(self) -> dict[str, Floats]:
        """The arrays held, by modality, `hsi` before `lidar`."""
        held = {"hsi": self.hsi, "lidar": self.lidar}
        return {name: values for name, values in held.items() if values is not None}

    @property
    def present(self) -> Mask:
        """Pixels of which at least one modality is there, (T, height, width)."""
        return with_data(self.label.shape, self.modalities, self.valid)

    def only(self, names: Collection[str]) -> TileBlock:
        """The same tiles with some modalities; pixels of which none is there lose their label."""
        held = {name for name in self.modalities if name in names}
        valid = {name: mask for name, mask in self.valid.items() if name in held}
        there = with_data(self.label.shape, held, valid)
        return replace(
            self,
            hsi=self.hsi if "hsi" in held else None,
            lidar=self.lidar if "lidar" in held else None,
            label=np.where(there, self.label, 0).astype(self.label.dtype),
            valid=valid,
        )

    def take(self, rows: NDArray[Any]) -> TileBlock:
        """The entries that a mask or an index array picks, as copies."""
        return replace(
            self,
            hsi=None if self.hsi is None else self.hsi[rows],
            lidar=None if self.lidar is None else self.lidar[rows],
            valid={name: mask[rows] for name, mask in self.valid.items()},
            **{name: getattr(self, name)[rows] for name in _PER_TILE},
        )


def with_data(shape: tuple[int, ...], held: Collection[str], valid: Mapping[str, Mask]) -> Mask:
    """The pixels of which at least one of the modalities held is there.

    Args:
        shape: of the pixels.
        held: the modalities.
        valid: for those of which pixels are missing, which ones are there.
    """
    there = np.zeros(shape, dtype=np.bool_)
    for name in held:
        there |= valid.get(name, np.True_)
    return there


_PER_TILE = ("label", "origin", "unit", "index", "region", "group", "site")


@dataclass(frozen=True, eq=False)
class TileSet:
    """The tiles of one owner, or of one data set.

    Attributes:
        blocks: tiles by size; none is empty; a unit may have entries in one block only.
        classes: the class names; label k means `classes[k - 1]`.
        layout: the public constants of the sensors.
        sites: the names that `TileBlock.site` indexes.
        tile: side of the grid, pixels.
        shapes: (H, W) of each scene that the origins refer to; empty for a table.
        table_size: lines of the table that `index` refers to; 0 for rasters.
        positioned: whether origins are places; False for a table without `row_col`.
    """

    blocks: tuple[TileBlock, ...]
    classes: tuple[str, ...]
    layout: SensorLayout
    sites: tuple[str, ...]
    tile: int
    shapes: tuple[tuple[int, int], ...] = ()
    table_size: int = 0
    positioned: bool = True

    @property
    def is_table(self) -> bool:
        """Whether the tiles come from a table of pixels."""
        return self.table_size > 0

    @cached_property
    def units(self) -> UnitTable:
        """One line a privacy unit, in ascending order of its id."""
        return _unit_table(self)

    @property
    def n_units(self) -> int:
        """The number of privacy units (tiles; private to the owner)."""
        return int(self.units.unit.size)

    def labelled_units(self) -> UnitIds:
        """Ids of the units that hold at least one labelled pixel, ascending."""
        labelled: UnitIds = self.units.unit[self.units.class_counts.sum(axis=1) > 0]
        return labelled

    def select(self, unit_ids: NDArray[Any] | Sequence[int]) -> TileSet:
        """The tiles of the given units, in the order they have here; unknown ids are ignored."""
        wanted = np.asarray(unit_ids, dtype=np.int64)
        kept = (block.take(np.isin(block.unit, wanted)) for block in self.blocks)
        return replace(self, blocks=tuple(block for block in kept if len(block)))

    def with_modalities(self, names: Sequence[str]) -> TileSet:
        """The same tiles holding only some modalities (an owner of one sensor).

        Pixels of which none of them is there lose their label: there is nothing to learn from.

        Raises:
            ValueError: none of the names is held.
        """
        kept = tuple(entry for entry in self.layout.modalities if entry.name in names)
        if not kept:
            raise ValueError(f"none of {tuple(names)} is held")
        held = {entry.name for entry in kept}
        blocks = tuple(block.only(held) for block in self.blocks)
        return replace(self, blocks=blocks, layout=SensorLayout(kept))

    def paint(self, values: Sequence[NDArray[Value]], fill: Value) -> list[NDArray[Value]]:
        """Puts one value a pixel back where the pixel came from.

        Args:
            values: for each block an array (T, height, width).
            fill: what pixels that are in no tile of this set get.

        Returns:
            One (H, W) array a scene; for a table one (N,) array in the order of the file.
        """
        if self.is_table:
            line = np.full(self.table_size, fill)
            for block, part in zip(self.blocks, values, strict=True):
                line[block.index] = part[:, 0, 0]
            return [line]
        painted = [np.full(shape, fill) for shape in self.shapes]
        for block, part in zip(self.blocks, values, strict=True):
            for (scene, row, col), tile in zip(block.origin.tolist(), part, strict=True):
                painted[scene][row : row + block.height, col : col + block.width] = tile
        return painted

    def __iter__(self) -> Iterator[TileBlock]:
        return iter(self.blocks)


@dataclass(frozen=True, eq=False)
class UnitTable:
    """What splits and partitions look at, one line a unit (U of them), ascending by id.

    Attributes:
        unit: int64 (U,).
        class_counts: int64 (U, K), labelled pixels of each class.
        origin: int32 (U, 3), the smallest scene, row and column among the unit's entries.
        region: int32 (U,), or `NO_ID`.
        group: int32 (U,), or `NO_ID`.
        site: int32 (U,), or `NO_ID`.
    """

    unit: UnitIds
    class_counts: UnitIds
    origin: Ids
    region: Ids
    group: Ids
    site: Ids


def _unit_table(tiles: TileSet) -> UnitTable:
    """Gathers the entries of every unit; group, region and site agree within a unit."""
    n_classes = len(tiles.classes)
    if not tiles.blocks:
        none, ids = np.zeros(0, np.int64), np.zeros(0, np.int32)
        return UnitTable(
            none, np.zeros((0, n_classes), np.int64), np.zeros((0, 3), np.int32), ids, ids, ids
        )
    all_units = np.concatenate([block.unit for block in tiles.blocks])
    unit, first, inverse = np.unique(all_units, return_index=True, return_inverse=True)
    counts = np.zeros(unit.size * (n_classes + 1), dtype=np.int64)
    start = 0
    for block in tiles.blocks:
        owner = inverse[start : start + len(block), None, None]
        cells = owner * (n_classes + 1) + block.label
        counts += np.bincount(cells.ravel(), minlength=counts.size)
        start += len(block)
    origins = np.concatenate([block.origin for block in tiles.blocks])
    origin = np.full((unit.size, 3), np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(origin, inverse, origins)
    gathered = {
        name: np.concatenate([getattr(block, name) for block in tiles.blocks])[first]
        for name in ("region", "group", "site")
    }
    by_class = counts.reshape(unit.size, n_classes + 1)[:, 1:]
    return UnitTable(unit, by_class, origin, **gathered)
