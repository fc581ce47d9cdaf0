"""Folds by ground: disjoint, complete, and no class is tested that was not trained on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.folds import NEVER_TESTED, deal_folds, fold_split
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.prepare import prepare
from scripts.make_tiny_table import tiny_table

FOLDS = 4


@pytest.fixture(scope="module")
def tiles() -> TileSet:
    return cut_tiles(tiny_table(pixels=240, bands=8, seed=0), 1)


def test_every_labelled_unit_is_tested_in_exactly_one_fold(tiles: TileSet) -> None:
    tested = [fold_split(tiles, FOLDS, k, 0)[1].units.unit for k in range(FOLDS)]
    assert sorted(np.concatenate(tested).tolist()) == sorted(tiles.units.unit.tolist())


def test_no_region_is_in_both_parts_of_a_fold(tiles: TileSet) -> None:
    for number in range(FOLDS):
        train, test, how = fold_split(tiles, FOLDS, number, 3)
        assert not set(train.units.region.tolist()) & set(test.units.region.tolist())
        assert how == "4 folds by region"


def test_another_seed_makes_other_folds_and_the_same_seed_the_same(tiles: TileSet) -> None:
    first, again, other = (fold_split(tiles, FOLDS, 0, s)[1].units.unit for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(st.integers(0, 1000), st.integers(2, 6))
def test_a_class_of_one_cell_is_never_tested(seed: int, folds: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 3, (12, 4)).astype(np.int64)
    counts[:, 0] = 0
    counts[5, 0] = 7  # lives in cell 5 alone
    fold = deal_folds(counts, folds, seed)
    assert fold[5] == NEVER_TESTED
    assert fold.max() < folds


@pytest.mark.parametrize(("folds", "number"), [(1, 0), (21, 0), (4, 4), (4, -1)])
def test_folds_outside_their_range_are_refused(tiles: TileSet, folds: int, number: int) -> None:
    with pytest.raises(UsageError, match=r"fold"):
        fold_split(tiles, folds, number, 0)


def test_more_folds_than_cells_are_refused() -> None:
    few = cut_tiles(tiny_table(pixels=24, bands=8, seed=0), 1)  # one pixel a region
    only = few.select(few.units.unit[few.units.region < 6])  # two cells a class
    with pytest.raises(DataError, match="no labelled pixel"):
        fold_split(only, 12, 11, 0)


def test_a_run_is_prepared_on_a_fold(tmp_path: Path) -> None:
    path = tmp_path / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=8, seed=0))
    splitter = partial(fold_split, folds=FOLDS, number=1, seed=0)
    prepared = prepare(RunConfig(data=str(path)), splitter)
    assert prepared.how == "4 folds by region"
    assert prepared.test_is_part
    held = np.concatenate([owner.units.unit for owner in prepared.owners])
    assert not set(held.tolist()) & set(prepared.test.units.unit.tolist())
