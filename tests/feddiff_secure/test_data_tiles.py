"""Tiles are closed at their edge and cover every pixel exactly once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene
from feddiff_secure.data.tiles import NO_ID, TileSet
from feddiff_secure.errors import UsageError

CLASSES = ("grass", "water", "road")


def raster(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    regions: bool = False,
    group: int | None = None,
    site: str | None = None,
) -> Scene:
    def values(count: int) -> np.ndarray:
        return rng.random((count, height, width)).astype(np.float32)

    return Scene(
        {
            "hsi": Modality("hsi", values(4), ("a", "b", "c", "d"), (400.0, 500.0, 600.0, 700.0)),
            "lidar": Modality("lidar", values(2), ("height", "intensity")),
        },
        rng.integers(0, 4, (height, width)).astype(np.int16),
        CLASSES,
        region=rng.integers(1, 9, (height, width)).astype(np.int32) if regions else None,
        group=group,
        site=site,
    )


def table(rng: np.random.Generator, count: int, *, positions: bool = True) -> PixelTable:
    return PixelTable(
        {"hsi": Modality("hsi", rng.random((count, 3)).astype(np.float32), ("a", "b", "c"))},
        rng.integers(0, 4, count).astype(np.int16),
        CLASSES,
        region=rng.integers(1, 5, count).astype(np.int32),
        group=rng.integers(1, 3, count).astype(np.int32),
        site=np.array(["north", "south"])[rng.integers(0, 2, count)],
        row_col=rng.integers(0, 12, (count, 2)).astype(np.int32) if positions else None,
    )


sizes = st.integers(1, 17)


@settings(max_examples=40)
@given(height=sizes, width=sizes, tile=st.integers(1, 9), scenes=st.integers(1, 3))
def test_tiles_cover_every_pixel_of_every_scene_exactly_once(
    height: int, width: int, tile: int, scenes: int
) -> None:
    rng = np.random.default_rng(0)
    data = Dataset(scenes=tuple(raster(rng, height, width) for _ in range(scenes)))
    tiles = cut_tiles(data, tile)
    ones = [np.ones(block.label.shape, dtype=np.int64) for block in tiles]
    visits = [np.zeros((height, width), dtype=np.int64) for _ in range(scenes)]
    for block, part in zip(tiles, ones, strict=True):
        for (scene, row, col), values in zip(block.origin.tolist(), part, strict=True):
            visits[scene][row : row + block.height, col : col + block.width] += values
    assert all((visit == 1).all() for visit in visits)
    painted = tiles.paint([block.label for block in tiles], np.int16(-7))
    for scene, labels in zip(data.scenes, painted, strict=True):
        assert np.array_equal(labels, scene.label)
    assert tiles.n_units == sum(len(block) for block in tiles)
    assert tiles.n_units == scenes * -(-height // tile) * -(-width // tile)


@pytest.mark.parametrize("tile", [1, 3, 4])
def test_values_of_a_tile_are_those_of_its_ground(tile: int) -> None:
    scene = raster(np.random.default_rng(1), 10, 11)
    for block in cut_tiles(Dataset(scenes=(scene,)), tile):
        assert block.hsi is not None
        for row, (_, top, left) in enumerate(block.origin.tolist()):
            ground = np.s_[:, top : top + block.height, left : left + block.width]
            assert np.array_equal(block.hsi[row], scene.modalities["hsi"].values[ground])


def test_changing_a_pixel_changes_the_arrays_of_its_own_tile_only() -> None:
    before = raster(np.random.default_rng(2), 13, 10, regions=True)
    hsi = before.modalities["hsi"].values.copy()
    hsi[:, 5, 7] += 1.0
    label, region = before.label.copy(), before.region
    label[5, 7] = 3 - label[5, 7]
    after = Scene(
        {
            "hsi": Modality("hsi", hsi, before.modalities["hsi"].channels, (4.0, 5.0, 6.0, 7.0)),
            "lidar": before.modalities["lidar"],
        },
        label,
        CLASSES,
        region=region,
    )
    old, new = (cut_tiles(Dataset(scenes=(scene,)), 4) for scene in (before, after))
    changed = []
    for one, other in zip(old, new, strict=True):
        for row in range(len(one)):
            names = ("hsi", "lidar", "label", "region", "unit", "origin")
            pairs = [(getattr(one, name)[row], getattr(other, name)[row]) for name in names]
            if not all(np.array_equal(a, b) for a, b in pairs):
                changed.append(tuple(one.origin[row]))
    assert changed == [(0, 4, 4)]


def test_arrays_of_a_tile_share_no_memory_with_the_scene() -> None:
    scene = raster(np.random.default_rng(3), 8, 8)
    for tile in (1, 4, 8, 64):
        for block in cut_tiles(Dataset(scenes=(scene,)), tile):
            assert not np.shares_memory(block.hsi, scene.modalities["hsi"].values)
            assert not np.shares_memory(block.label, scene.label)


def test_a_tile_has_one_region_and_other_regions_in_it_become_unlabelled() -> None:
    label = np.array([[1, 1, 2, 2], [1, 0, 0, 2]], dtype=np.int16)
    region = np.array([[9, 5, 5, 7], [9, 1, 1, 7]], dtype=np.int32)
    scene = Scene(
        {"lidar": Modality("lidar", np.zeros((1, 2, 4), np.float32), ("height",))},
        label,
        CLASSES,
        region=region,
    )
    (block,) = cut_tiles(Dataset(scenes=(scene,)), 2)
    assert block.region.tolist() == [5, 5]
    assert block.label[0].tolist() == [[0, 1], [0, 0]]
    assert block.label[1].tolist() == [[2, 0], [0, 0]]


def test_an_unlabelled_tile_has_no_region() -> None:
    scene = raster(np.random.default_rng(4), 4, 4, regions=True)
    bare = Scene(scene.modalities, np.zeros_like(scene.label), CLASSES, region=scene.region)
    (block,) = cut_tiles(Dataset(scenes=(bare,)), 4)
    assert block.region.tolist() == [NO_ID]


@settings(max_examples=30)
@given(count=st.integers(1, 60), tile=st.integers(1, 6))
def test_table_pixels_share_a_unit_exactly_when_they_share_site_group_and_cell(
    count: int, tile: int
) -> None:
    pixels = table(np.random.default_rng(count), count)
    (block,) = cut_tiles(Dataset(table=pixels), tile)
    assert pixels.site is not None
    assert pixels.group is not None
    assert pixels.row_col is not None
    keys = [
        (str(site), int(group), int(row) // tile, int(col) // tile)
        for site, group, (row, col) in zip(pixels.site, pixels.group, pixels.row_col, strict=True)
    ]
    for i in range(count):
        for j in range(i):
            assert (keys[i] == keys[j]) == bool(block.unit[i] == block.unit[j])
    for unit in np.unique(block.unit):
        assert np.unique(block.region[block.unit == unit]).size == 1
    labelled = block.label[:, 0, 0] > 0
    assert pixels.region is not None
    assert np.array_equal(block.region[labelled], pixels.region[labelled])


def test_a_table_without_positions_makes_every_line_a_unit() -> None:
    pixels = table(np.random.default_rng(0), 20, positions=False)
    tiles = cut_tiles(Dataset(table=pixels), 1)
    assert tiles.n_units == 20
    assert tiles.paint([tiles.blocks[0].label], np.int16(0))[0].shape == (20,)


def test_a_table_without_positions_refuses_larger_tiles() -> None:
    pixels = table(np.random.default_rng(0), 20, positions=False)
    with pytest.raises(UsageError, match="row_col"):
        cut_tiles(Dataset(table=pixels), 2)


@pytest.mark.parametrize("tile", [0, -1, 65])
def test_a_tile_side_out_of_range_is_refused(tile: int) -> None:
    with pytest.raises(UsageError, match=r"outside 1\.\.64"):
        cut_tiles(Dataset(table=table(np.random.default_rng(0), 5)), tile)


def test_units_count_the_labels_of_all_their_entries() -> None:
    tiles = cut_tiles(Dataset(scenes=(raster(np.random.default_rng(5), 9, 7),)), 4)
    units = tiles.units
    assert (np.diff(units.unit) > 0).all()
    for block in tiles:
        for row, unit in enumerate(block.unit):
            counts = np.bincount(block.label[row].ravel(), minlength=4)[1:]
            line = np.searchsorted(units.unit, unit)
            assert np.array_equal(units.class_counts[line], counts)
            assert np.array_equal(units.origin[line], block.origin[row])


def test_selecting_keeps_the_order_and_drops_empty_blocks() -> None:
    tiles = cut_tiles(Dataset(scenes=(raster(np.random.default_rng(6), 9, 7),)), 4)
    chosen = tiles.select([tiles.blocks[0].unit[1], tiles.blocks[0].unit[0], 999])
    assert isinstance(chosen, TileSet)
    assert [len(block) for block in chosen] == [2]
    assert np.array_equal(chosen.blocks[0].hsi, tiles.blocks[0].hsi[:2])
    assert tiles.select([]).n_units == 0
    assert tiles.select([]).labelled_units().size == 0


def test_an_owner_of_one_sensor_holds_no_other() -> None:
    tiles = cut_tiles(Dataset(scenes=(raster(np.random.default_rng(7), 8, 8),)), 4)
    alone = tiles.with_modalities(["lidar"])
    assert alone.layout.names == ("lidar",)
    assert all(block.hsi is None and block.lidar is not None for block in alone)
