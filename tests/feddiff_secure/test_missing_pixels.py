"""Pixels without a value: declared or refused, never learnt from, read across no tile's edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.inspect import describe as inspect
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, Modality, PixelTable
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError
from feddiff_secure.federation.examples import describe, labelled_examples, predicted_labels
from feddiff_secure.federation.fused_prediction import Fusion, fused_maps
from feddiff_secure.federation.ledgers import tiles_digest
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.gaps import filled
from feddiff_secure.model.model_file import Model
from feddiff_secure.model.psi import FeatureMap
from tests.support.topologies import tiny_scene, with_gaps

SIDE = 10
GAPS = np.zeros((SIDE, SIDE), dtype=np.bool_)
GAPS[[0, 2, 5, 5, 9], [1, 3, 5, 6, 9]] = True  # the corner is a tile of its own
GAPS[8:, 8:] = True


def write(path: Path, lidar: NDArray[Any], nodata: object = None, **more: Any) -> Path:
    """A raster of `lidar` as stored, with HSI and labels made up."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["hsi"] = rng.random((*lidar.shape[:-1], 12)).astype(np.float32)
        file["lidar"] = lidar
        file["label"] = np.ones(lidar.shape[:-1], dtype=np.uint8)
        file.attrs["classes"] = ["one", "two"]
        file["hsi"].attrs["wavelengths_nm"] = np.linspace(420.0, 980.0, 12)
        file["lidar"].attrs["channels"] = ["height", "intensity"]
        file["lidar"].attrs["scale"] = 0.05
        if nodata is not None:
            file["lidar"].attrs["nodata"] = nodata
        for name, value in more.items():
            file[name] = value
    return path


def heights() -> NDArray[np.float64]:
    return np.random.default_rng(1).integers(1, 100, (SIDE, SIDE, 2)).astype(np.float64)


STORED: dict[str, tuple[str, float]] = {
    "NaN": ("f4", np.nan),
    "a double NaN": ("f8", np.nan),
    "a number": ("f4", -9999.0),
    "the least float32": ("f4", float(np.finfo(np.float32).min)),
    "an integer": ("i2", -9999),
    "zero": ("u1", 0),
}


@pytest.mark.parametrize("case", STORED)
def test_a_declared_value_in_any_channel_makes_a_pixel_missing(tmp_path: Path, case: str) -> None:
    kind, nodata = STORED[case]
    stored = heights()
    stored[GAPS, 1] = nodata
    scene = read_dataset(write(tmp_path / "s.h5", stored.astype(kind), nodata)).scenes[0]
    lidar = scene.modalities["lidar"]
    assert lidar.valid is not None
    assert np.array_equal(~lidar.valid, GAPS)
    assert not lidar.values[:, GAPS].any()
    assert np.allclose(lidar.values[:, ~GAPS].T, 0.05 * heights()[~GAPS])
    assert scene.modalities["hsi"].valid is None


def test_a_declaration_that_no_pixel_meets_changes_nothing(tmp_path: Path) -> None:
    found = read_dataset(write(tmp_path / "s.h5", heights(), -9999.0)).scenes[0]
    assert found.modalities["lidar"].valid is None


REFUSED: dict[str, tuple[str, object, float, str]] = {
    "undeclared NaN": ("f4", None, np.nan, "NaN, infinite"),
    "NaN where a number is declared": ("f4", -9999.0, np.nan, "NaN, infinite"),
    "infinity where NaN is declared": ("f4", np.nan, np.inf, "infinite"),
    "NaN of integers": ("i2", np.nan, 7, "nodata is NaN, which int16"),
    "a number beyond the type": ("u1", -9999, 7, "no finite value of uint8"),
    "a fraction of integers": ("i2", 0.5, 7, "no finite value of int16"),
    "infinity": ("f4", np.inf, 7, "no finite value"),
    "a number beyond float32": ("f4", 1e300, 7, "no finite value"),
    "two numbers": ("f4", [0.0, 1.0], 7, "holds 2 numbers"),
    "a word": ("f4", "none", 7, "not a number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_declared_so_is_refused_in_words(tmp_path: Path, case: str) -> None:
    kind, nodata, value, word = REFUSED[case]
    stored = heights()
    stored[GAPS] = value
    path = write(tmp_path / "s.h5", stored.astype(kind), nodata)
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert word in str(caught.value)
    assert str(path) in str(caught.value)
    assert "`lidar`" in str(caught.value)
    assert "\n" not in f"{caught.value}{caught.value.hint}"


def test_data_in_which_every_pixel_is_missing_is_refused(tmp_path: Path) -> None:
    stored = heights()
    stored[..., 0] = -1
    with pytest.raises(DataError, match=r"every pixel holds nodata -1"):
        read_dataset(write(tmp_path / "s.h5", stored, -1))


@pytest.mark.parametrize("field", ["label", "region", "hsi"])
def test_nodata_of_lidar_excuses_no_other_field(tmp_path: Path, field: str) -> None:
    stored = heights()
    stored[GAPS] = np.nan
    path = write(tmp_path / "s.h5", stored, np.nan)
    with h5py.File(path, "r+") as file:
        held = file[field][...].astype(np.float64) if field in file else np.ones((SIDE, SIDE))
        held[0, 0] = np.nan
        if field in file:
            del file[field]
        file[field] = held
    with pytest.raises(DataError, match=f"`{field}`"):
        read_dataset(path)


def test_matlab_files_declare_it_by_a_variable(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"hsi": np.ones((SIDE, SIDE, 4)), "label": np.ones((SIDE, SIDE))}
    for name, nodata in (("nan", np.nan), ("number", -9999.0)):
        lidar = heights()
        lidar[GAPS] = nodata
        path = tmp_path / f"{name}.mat"
        scipy.io.savemat(path, {**fields, "lidar": lidar, "nodata_lidar": nodata})
        valid = read_dataset(path).scenes[0].modalities["lidar"].valid
        assert valid is not None
        assert np.array_equal(~valid, GAPS)
        with h5py.File(tmp_path / f"{name}-73.mat", "w") as file:
            for field, value in fields.items():
                file[field] = np.asarray(value).T
            file["lidar"], file["nodata_lidar"] = lidar.T, np.array([[nodata]])
        valid = read_dataset(tmp_path / f"{name}-73.mat").scenes[0].modalities["lidar"].valid
        assert valid is not None
        assert np.array_equal(~valid, GAPS)
        scipy.io.savemat(path, {**fields, "lidar": lidar, "nodata_lidar": [nodata, 1.0]})
        with pytest.raises(DataError, match="`nodata_lidar` holds 2 numbers"):
            read_dataset(path)
    scipy.io.savemat(path, {**fields, "lidar": np.where(GAPS[..., None], np.nan, 1.0)})
    with pytest.raises(DataError, match="`lidar`: 8 of"):
        read_dataset(path)


def test_what_is_written_is_read_back_with_its_gaps(tmp_path: Path) -> None:
    for dataset in (gappy(), as_table(gappy())):
        write_scene(tmp_path / "s.h5", dataset)
        again = read_dataset(tmp_path / "s.h5")
        old, new = ((d.table or d.scenes[0]).modalities["lidar"] for d in (dataset, again))
        assert new.valid is not None
        assert np.array_equal(new.valid, old.valid)  # type: ignore[arg-type]  # old has gaps
        assert np.array_equal(new.values, old.values)


def test_a_stack_of_rasters_has_gaps_by_raster(tmp_path: Path) -> None:
    stored = np.stack([heights(), heights(), heights()])
    stored[1][GAPS] = np.nan
    stored[2] = np.nan
    dataset = read_dataset(write(tmp_path / "s.h5", stored, np.nan))
    counts = [scene.modalities["lidar"].valid for scene in dataset.scenes]
    assert [int((~mask).sum()) for mask in counts if mask is not None] == [0, GAPS.sum(), SIDE**2]
    write_scene(tmp_path / "again.h5", dataset)
    again = read_dataset(tmp_path / "again.h5")
    assert [tiles_digest(cut_tiles(d, 4)) for d in (dataset, again)] == [
        tiles_digest(cut_tiles(again, 4))
    ] * 2


def test_inspect_says_how_many_pixels_are_missing(tmp_path: Path) -> None:
    stored = heights()
    stored[GAPS] = -9999
    path = write(tmp_path / "s.h5", stored, -9999)
    found = inspect(read_dataset(path), path)
    lidar = found["modalities"]["lidar"]
    assert lidar["missing"] == GAPS.sum()
    assert found["modalities"]["hsi"]["missing"] == 0
    assert lidar["range"][0] == pytest.approx(0.05 * heights()[~GAPS].min())  # not the zeros
    (line,) = [text for text in found["warnings"] if "missing" in text]
    assert f"in {GAPS.sum()} of {SIDE**2} pixels" in line


@pytest.mark.parametrize(
    "valid",
    [np.ones((2, 2), dtype=np.bool_), np.ones((1, 2), dtype=np.int8), np.array([[True, False]])],
)
def test_a_modality_refuses_masks_that_do_not_fit_it(valid: NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"valid is|has a value"):
        Modality("lidar", np.ones((1, 1, 2), np.float32), ("height",), valid=valid)


def gappy(*names: str, share: float = 0.1, side: int = 16) -> Dataset:
    """The tiny scene, with gaps in LiDAR or in the modalities named."""
    scene = tiny_scene(side=side)
    for number, name in enumerate(names or ("lidar",)):
        scene = with_gaps(scene, name, share, seed=number)
    return Dataset(scenes=(scene,))


def as_table(dataset: Dataset) -> Dataset:
    """The pixels of a raster as a table."""
    scene = dataset.scenes[0]
    table = table_of(scene.modalities, scene.label)
    return Dataset(table=table)


def table_of(modalities: Mapping[str, Modality], label: NDArray[np.int16]) -> PixelTable:
    flat = {
        name: replace(
            held,
            values=np.ascontiguousarray(held.values.reshape(len(held.values), -1).T),
            valid=None if held.valid is None else held.valid.ravel(),
        )
        for name, held in modalities.items()
    }
    return PixelTable(flat, label.ravel().copy(), ("a", "b", "c"))


def test_a_pixel_of_which_nothing_is_there_is_not_learnt_from() -> None:
    dataset = gappy("hsi", "lidar", share=0.4)
    scene = dataset.scenes[0]
    hsi, lidar = (scene.modalities[name].valid for name in ("hsi", "lidar"))
    assert hsi is not None
    assert lidar is not None
    tiles = cut_tiles(Dataset(scenes=(replace(scene, region=None),)), 5)  # smaller at the edges
    assert np.array_equal(painted(tiles, scene.shape) > 0, (hsi | lidar) & (scene.label > 0))
    alone = tiles.with_modalities(["lidar"])
    assert np.array_equal(painted(alone, scene.shape) > 0, lidar & (scene.label > 0))
    flat = cut_tiles(as_table(dataset), 1)
    assert np.array_equal(
        flat.blocks[0].label.ravel() > 0, ((hsi | lidar) & (scene.label > 0)).ravel()
    )


def painted(tiles: TileSet, shape: tuple[int, int]) -> NDArray[np.int16]:
    (found,) = tiles.paint([block.label for block in tiles], np.int16(0))
    assert found.shape == shape
    return found


@pytest.mark.parametrize("learned", [False, True])
def test_a_missing_pixel_has_no_features_and_the_others_keep_theirs(learned: bool) -> None:
    whole = Dataset(scenes=(tiny_scene(side=16),))
    names = replace(
        whole.scenes[0].modalities["lidar"],
        values=np.concatenate([whole.scenes[0].modalities["lidar"].values] * 2),
        channels=("height", "intensity"),
    )
    scene = replace(whole.scenes[0], modalities={**whole.scenes[0].modalities, "lidar": names})
    holes = with_gaps(scene, "lidar", 0.1, seed=0)
    features = FeatureMap.public(holes.layout, tile=4, learned=learned)
    (before,), (after,) = (cut_tiles(Dataset(scenes=(s,)), 4).blocks for s in (scene, holes))
    valid = after.valid["lidar"].ravel()
    psi, full = features.psi(after), features.psi(before)
    assert not psi["lidar"][~valid].any()
    assert (np.square(psi["lidar"][valid]).sum(axis=1) > 0.1).all()
    assert np.array_equal(psi["hsi"], full["hsi"])
    # Tiles without a gap are what they were, bit for bit; the rest are those of the filled tile.
    there = after.valid["lidar"].reshape(len(after), -1).all(axis=1)
    rows = np.repeat(there, 16)
    assert 0 < rows.sum() < len(rows)
    assert np.array_equal(psi["lidar"][rows], full["lidar"][rows])
    assert after.lidar is not None
    stand_in = replace(after, lidar=filled(after.lidar, after.valid["lidar"]), valid={})
    assert np.array_equal(psi["lidar"][valid], features.psi(stand_in)["lidar"][valid])


def test_missing_hsi_stays_out_of_the_mean_of_its_tile() -> None:
    dataset = gappy("hsi", share=0.3)
    features = FeatureMap.public(dataset.layout, tile=4, learned=False)
    (block,) = cut_tiles(dataset, 4).blocks
    sources = features.describe(block)["hsi"]
    valid, means = block.valid["hsi"], sources["tile"].reshape(len(block), 16, -1)
    assert block.hsi is not None
    for number in range(len(block)):
        there = block.hsi[number][:, valid[number]]
        alone = features._of_means(there.mean(axis=1, dtype=np.float64).astype(np.float32)[None])
        assert np.allclose(means[number, 0], alone[0], atol=1e-5)
    assert not features.psi(block)["hsi"][~valid.ravel()].any()


@given(
    st.integers(1, 5).flatmap(
        lambda side: st.lists(st.booleans(), min_size=side * side, max_size=side * side)
    )
)
def test_gaps_are_filled_from_the_nearest_pixel_of_the_tile(there: list[bool]) -> None:
    side = round(len(there) ** 0.5)
    valid = np.array(there).reshape(1, side, side)
    values = np.arange(1, side * side + 1, dtype=np.float32).reshape(1, 1, side, side) * valid
    found = filled(values, valid)[0, 0]
    places = np.argwhere(valid[0])
    for row, col in np.ndindex(side, side):
        if not len(places):
            assert found[row, col] == 0
            continue
        away = np.square(places - (row, col)).sum(axis=1)
        nearest = places[away.argmin()]  # argwhere goes row by row
        assert found[row, col] == values[0, 0, nearest[0], nearest[1]]


def test_a_gap_moves_no_columns_of_its_modality_and_leaves_the_others() -> None:
    dataset = gappy(share=0.3)
    tiles = cut_tiles(dataset, 4)
    features = FeatureMap.public(dataset.layout, tile=4, learned=False)
    examples = labelled_examples(features, describe(features, tiles, Silent()))
    first = features.widths["hsi"]
    (block,) = tiles.blocks
    gaps = ~block.valid["lidar"][block.label > 0]
    assert gaps.any()
    assert not examples.features[gaps, first:].any()
    assert examples.features[gaps, :first].any(axis=1).all()
    assert examples.features[~gaps, first:].any(axis=1).all()
    alone = tiles.with_modalities(["lidar"])
    held = labelled_examples(features, describe(features, alone, Silent()))
    assert len(held.labels) == int((~gaps).sum())  # the others are not this owner's


def test_prediction_uses_what_is_there_and_says_nothing_where_nothing_is() -> None:
    dataset = gappy("hsi", "lidar", share=0.4)
    features = FeatureMap.public(dataset.layout, tile=4, learned=False)
    weights = np.random.default_rng(0).normal(size=(3, sum(features.widths.values())))
    tiles = cut_tiles(dataset, 4)
    (block,) = tiles.blocks
    (labels,) = predicted_labels(features, weights, describe(features, tiles, Silent()))
    assert np.array_equal(labels > 0, block.valid["hsi"] | block.valid["lidar"])
    for name, other in (("hsi", "lidar"), ("lidar", "hsi")):
        alone = tiles.with_modalities([name])
        (mine,) = predicted_labels(features, weights, describe(features, alone, Silent()))
        only = block.valid[name] & ~block.valid[other]
        assert only.any()
        assert np.array_equal(labels[only], mine[only])
    fusion = Fusion(holds={"ann": "hsi", "bob": "lidar"}, recipient="zoe", consents=())
    model = Model(features, weights, dataset.classes)
    (fused,) = fused_maps(model, tiles, fusion, Silent())
    (expected,) = tiles.paint([labels], np.int16(0))
    (both,) = tiles.paint([block.valid["hsi"] & block.valid["lidar"]], np.bool_(False))
    assert np.array_equal(fused, np.where(both, expected, 0))


CHANGES: dict[str, Callable[[Dataset], Dataset]] = {
    "a gap": lambda d: Dataset(scenes=(with_gaps(d.scenes[0], "lidar", 0.05, seed=9),)),
    "no gap": lambda d: d,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_of_a_holding_tells_gaps_from_zeros(change: str) -> None:
    scene = tiny_scene(side=8)
    lidar = scene.modalities["lidar"]
    flat = replace(lidar, values=np.zeros_like(lidar.values))
    bare = replace(scene, modalities={"lidar": flat}, label=np.zeros_like(scene.label))
    dataset = Dataset(scenes=(bare,))
    changed = CHANGES[change](dataset)
    same = tiles_digest(cut_tiles(dataset, 4)) == tiles_digest(cut_tiles(changed, 4))
    assert same == (change == "no gap")
