"""Splits and partitions: disjoint, covering, and never through a region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.partition import PartitionScheme, parse_partition, partition
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene
from feddiff_secure.data.split import train_test_split
from feddiff_secure.data.tiles import NO_ID, TileSet
from feddiff_secure.errors import DataError, UsageError

CLASSES = ("grass", "water", "road")


def table_of(
    label: np.ndarray,
    *,
    region: np.ndarray | None = None,
    group: np.ndarray | None = None,
    row_col: np.ndarray | None = None,
    site: np.ndarray | None = None,
) -> TileSet:
    def ids(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values.astype(np.int32)

    values = np.arange(label.size, dtype=np.float32)[:, None]
    pixels = PixelTable(
        {"lidar": Modality("lidar", values, ("height",))},
        label.astype(np.int16),
        CLASSES,
        region=ids(region),
        group=ids(group),
        row_col=ids(row_col),
        site=site,
    )
    return cut_tiles(Dataset(table=pixels), 1)


def patchy(seed: int, side: int = 40) -> TileSet:
    """A raster of square labelled patches, each a region of one class."""
    rng = np.random.default_rng(seed)
    patch = np.arange(side) // 5
    region = patch[:, None] * (side // 5) + patch[None, :] + 1
    label = rng.integers(0, 4, region.max() + 1)[region]
    scene = Scene(
        {"lidar": Modality("lidar", rng.random((1, side, side), np.float32), ("height",))},
        label.astype(np.int16),
        CLASSES,
        region=region.astype(np.int32),
    )
    return cut_tiles(Dataset(scenes=(scene,)), 4)


def lines(tiles: TileSet) -> np.ndarray:
    return np.concatenate([block.index for block in tiles])


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), fraction=st.floats(0.1, 0.5))
def test_training_and_test_share_no_region_and_no_tile(seed: int, fraction: float) -> None:
    tiles = patchy(seed)
    train, test, how = train_test_split(tiles, fraction, seed)
    assert how == "region"
    assert not set(train.units.unit) & set(test.units.unit)
    assert train.n_units + test.n_units == tiles.n_units
    assert not (set(train.units.region) & set(test.units.region)) - {NO_ID}


def test_about_a_fifth_of_every_class_is_tested() -> None:
    tiles = patchy(1, side=80)
    _, test, _ = train_test_split(tiles, 0.2, 0)
    share = test.units.class_counts.sum(axis=0) / tiles.units.class_counts.sum(axis=0)
    assert ((share > 0.15) & (share < 0.25)).all()


def test_a_class_with_one_region_stays_in_training_and_the_others_are_on_both_sides() -> None:
    label = np.repeat([1, 1, 2, 2, 3], 10)
    region = np.repeat([1, 2, 3, 4, 5], 10)
    train, test, _ = train_test_split(table_of(label, region=region))
    assert train.units.class_counts.sum(axis=0).tolist() == [10, 10, 10]
    assert test.units.class_counts.sum(axis=0).tolist() == [10, 10, 0]


def test_a_region_with_the_only_pixels_of_a_class_stays_in_training_at_any_cost() -> None:
    label = np.repeat([1, 2, 3, 1, 2], [2, 2, 5, 8, 8])
    region = np.repeat([1, 2], [9, 16])  # testing region 1 would meet the fifth of 1 and 2
    train, test, _ = train_test_split(table_of(label, region=region))
    assert train.units.class_counts.sum(axis=0).tolist() == [2, 2, 5]
    assert test.units.class_counts.sum(axis=0).tolist() == [8, 8, 0]


def test_groups_that_share_a_region_are_kept_together() -> None:
    label = np.tile([1, 2], 12)
    group = np.repeat([1, 2, 3, 4, 5, 6], 4)
    region = np.repeat([1, 1, 2, 2, 3, 3], 4)  # regions bridge groups 1-2, 3-4, 5-6
    train, test, how = train_test_split(table_of(label, region=region, group=group))
    assert how == "group and region"
    assert set(train.units.group) in ({1, 2, 3, 4}, {1, 2, 5, 6}, {3, 4, 5, 6})
    assert not set(train.units.group) & set(test.units.group)


def test_scenes_without_regions_are_split_by_spatial_blocks() -> None:
    rng = np.random.default_rng(0)
    scene = Scene(
        {"lidar": Modality("lidar", rng.random((1, 64, 64), np.float32), ("height",))},
        rng.integers(1, 4, (64, 64)).astype(np.int16),
        CLASSES,
    )
    train, test, how = train_test_split(cut_tiles(Dataset(scenes=(scene,)), 4))
    assert how == "blocks of 4×4 tiles"
    blocks = [{(r // 16, c // 16) for _, r, c in part.units.origin} for part in (train, test)]
    assert not blocks[0] & blocks[1]


def test_a_table_of_unknown_places_is_split_at_random_and_says_so() -> None:
    train, test, how = train_test_split(table_of(np.tile([1, 2, 3], 50)))
    assert how == "random tiles (no regions known)"
    assert test.units.class_counts.sum(axis=0).tolist() == [10, 10, 10]
    assert train.n_units == 120


def test_positions_give_spatial_blocks_to_a_table() -> None:
    row_col = np.stack(np.divmod(np.arange(256), 16), axis=1)
    _, _, how = train_test_split(table_of(np.tile([1, 2], 128), row_col=row_col))
    assert how == "blocks of 4×4 tiles"


def test_data_that_cannot_spare_a_region_asks_for_test_data() -> None:
    tiles = table_of(np.repeat([1, 2], 5), region=np.repeat([1, 2], 5))
    with pytest.raises(DataError, match="no test part"):
        train_test_split(tiles)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_test_fraction_outside_its_range_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="fraction"):
        train_test_split(patchy(0), fraction)


def test_the_split_depends_on_the_seed_alone() -> None:
    tiles = patchy(3)
    first, again, other = (train_test_split(tiles, 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(lines(first), lines(again))
    assert not np.array_equal(lines(first), lines(other))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    owners=st.integers(2, 7),
    scheme=st.sampled_from(["iid", "dirichlet:1", "dirichlet:100", "region"]),
)
def test_owners_hold_disjoint_tiles_that_cover_all(seed: int, owners: int, scheme: str) -> None:
    tiles = patchy(seed)
    parts = partition(tiles, owners, parse_partition(scheme), seed)
    assert len(parts) == owners
    dealt = np.concatenate([lines(part) for part in parts])
    assert np.array_equal(np.sort(dealt), np.sort(lines(tiles)))
    assert all(part.labelled_units().size > 0 for part in parts)


def test_region_partition_gives_whole_regions_of_balanced_size() -> None:
    parts = partition(patchy(1), 4, PartitionScheme("region"))
    held = [set(part.units.region) - {NO_ID} for part in parts]
    assert sum(len(regions) for regions in held) == len(set().union(*held))
    labelled = [int(part.units.class_counts.sum()) for part in parts]
    assert max(labelled) - min(labelled) <= 16


def test_dirichlet_skews_labels_more_for_a_smaller_concentration() -> None:
    def spread(alpha: float) -> float:
        parts = partition(patchy(1, 80), 4, PartitionScheme("dirichlet", alpha))
        counts = np.array([part.units.class_counts.sum(axis=0) for part in parts], dtype=float)
        return float((counts / counts.sum(axis=0)).std())

    assert spread(0.1) > 3 * spread(1000.0)


def test_site_partition_makes_every_site_an_owner() -> None:
    site = np.array(["south", "north", "south", "east"])
    tiles = table_of(np.array([1, 2, 3, 1]), site=site)
    assert tiles.sites == ("east", "north", "south")
    parts = partition(tiles, None, PartitionScheme("site"))
    assert [lines(part).tolist() for part in parts] == [[3], [1], [0, 2]]
    with pytest.raises(UsageError, match="3 sites"):
        partition(tiles, 4, PartitionScheme("site"))


def test_site_partition_without_sites_is_refused() -> None:
    with pytest.raises(UsageError, match="0 sites"):
        partition(patchy(0), None, PartitionScheme("site"))


def test_a_site_without_labels_is_refused_as_an_owner() -> None:
    tiles = table_of(np.array([1, 0]), site=np.array(["north", "south"]))
    with pytest.raises(UsageError, match="owner 2 of 2 would hold no labelled tile"):
        partition(tiles, None, PartitionScheme("site"))


def test_region_partition_of_unknown_places_is_refused() -> None:
    with pytest.raises(UsageError, match="no region, group or row_col"):
        partition(table_of(np.ones(9)), 2, PartitionScheme("region"))


@pytest.mark.parametrize("owners", [None, 1, 0, -3])
def test_fewer_than_two_owners_are_refused(owners: int | None) -> None:
    with pytest.raises(UsageError, match="below 2"):
        partition(patchy(0), owners, PartitionScheme("iid"))


def test_more_owners_than_labelled_tiles_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be dealt"):
        partition(table_of(np.array([1, 0, 0, 2])), 3, PartitionScheme("iid"))


@pytest.mark.parametrize(
    "text",
    [
        "IID",
        "iid:1",
        "dirichlet",
        "dirichlet:",
        "dirichlet:0",
        "dirichlet:-1",
        "dirichlet:nan",
        "dirichlet:inf",
        "dirichlet:x",
        "region:2",
        "site:",
        "random",
    ],
)
def test_an_unknown_partition_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="partition"):
        parse_partition(text)


@pytest.mark.parametrize("text", ["iid", "dirichlet:0.5", "region", "site"])
def test_a_partition_prints_as_it_is_written(text: str) -> None:
    assert str(parse_partition(text)) == text


@pytest.mark.parametrize("name", ["houston2013_pixels", "idtrees_plots", "trento_lidar_labels"])
def test_real_data_is_split_by_ground(name: str, real_data: Callable[[str], Path]) -> None:
    tiles = cut_tiles(read_dataset(real_data(name)), 1 if "pixels" in name else 4)
    train, test, how = train_test_split(tiles)
    assert how in {"region", "group", "blocks of 4×4 tiles"}
    assert not set(train.units.unit) & set(test.units.unit)
    share = test.units.class_counts.sum() / tiles.units.class_counts.sum()
    assert 0.12 < share < 0.25
