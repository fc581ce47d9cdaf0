"""Maps: the right colours, equal files for equal inputs, and a GeoTIFF that reads back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from feddiff_secure.data.scene import Dataset, Modality, Scene
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.report.geotiff import write_map_geotiff
from feddiff_secure.report.landcover_map import LandcoverMap, write_map_png, write_table_png
from feddiff_secure.report.palette import class_colours
from feddiff_secure.report.run_map import write_tif

CLASSES = ("grass", "water $", "road_1")
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, (30, 40))


def colours_in(path: Path) -> set[tuple[int, ...]]:
    pixels = np.rint(imread(path)[..., :3] * 255).astype(int)
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


def test_a_map_shows_the_colour_of_every_class_and_repeats_bit_for_bit(tmp_path: Path) -> None:
    entry = LandcoverMap(LABELS, reference=LABELS, tested=LABELS > 1)
    for name in ("a.png", "b.png"):
        write_map_png(tmp_path / name, [entry], CLASSES, title="50 % of $10")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert {tuple(colour) for colour in class_colours(3).tolist()} <= colours_in(tmp_path / "a.png")
    assert b"Software" not in (tmp_path / "a.png").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_training_pixels_are_pale_in_the_reference(tmp_path: Path) -> None:
    labels = np.full((20, 20), 1)
    tested = np.zeros((20, 20), dtype=bool)
    empty = np.zeros_like(labels)
    write_map_png(tmp_path / "m.png", [LandcoverMap(empty, labels, tested)], ("a",))
    strong, weak = class_colours(1)[1].astype(float), class_colours(1)[0].astype(float)
    assert tuple(np.rint(0.35 * strong + 0.65 * weak).astype(int)) in colours_in(tmp_path / "m.png")


@pytest.mark.parametrize("shape", [(1, 1), (5, 400), (400, 5), (166, 600)])
def test_any_shape_can_be_drawn(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_map_png(tmp_path / "m.png", [LandcoverMap(np.ones(shape, int))], CLASSES)
    assert max(imread(tmp_path / "m.png").shape[:2]) < 4000


def test_several_scenes_become_a_mosaic(tmp_path: Path) -> None:
    maps = [
        LandcoverMap(np.full((6 + n, 8), 1 + n % 3), reference=None if n else np.full((6, 8), 2))
        for n in range(5)
    ]
    write_map_png(tmp_path / "m.png", maps, CLASSES)
    assert {tuple(c) for c in class_colours(3)[1:].tolist()} <= colours_in(tmp_path / "m.png")


def test_a_table_is_drawn_where_its_pixels_lie_or_as_areas(tmp_path: Path) -> None:
    predicted, places = RNG.integers(1, 4, 60), RNG.integers(0, 50, (60, 2))
    for name, row_col in (("places.png", places), ("areas.png", None)):
        write_table_png(
            tmp_path / name, predicted, CLASSES, row_col=row_col, reference=predicted, title="t"
        )
        wanted = {tuple(colour) for colour in class_colours(3)[1:].tolist()}
        assert wanted <= colours_in(tmp_path / name)


def test_shapes_that_disagree_are_a_caller_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no map"):
        write_map_png(tmp_path / "m.png", [], CLASSES)
    with pytest.raises(ValueError, match="reference"):
        write_map_png(tmp_path / "m.png", [LandcoverMap(LABELS, LABELS[:5])], CLASSES)
    with pytest.raises(ValueError, match="positions"):
        write_table_png(tmp_path / "m.png", np.ones(3, int), CLASSES, row_col=np.ones((2, 2)))


def test_class_colours_are_distinct_for_many_classes() -> None:
    colours = class_colours(60)
    assert colours.shape == (61, 3)
    assert len({tuple(colour) for colour in colours.tolist()}) == 61
    assert np.array_equal(class_colours(5), colours[:6])


def test_a_geotiff_reads_back_with_place_names_and_colours(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "m.tif"
    place = (2.5, 0.0, 401000.0, 0.0, -2.5, 4142000.0)
    write_map_geotiff(path, LABELS, CLASSES, "EPSG:32617", place)
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), LABELS)
        assert (file.nodata, file.crs.to_epsg(), tuple(file.transform)[:6]) == (0, 32617, place)
        assert file.tags(1)["class_3"] == "road_1"
        assert file.colormap(1)[1][:3] == tuple(class_colours(3)[1].tolist())
    first = path.read_bytes()
    write_map_geotiff(path, LABELS, CLASSES, "EPSG:32617", place)
    assert path.read_bytes() == first


def test_an_unknown_crs_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    with pytest.raises(DataError, match="is not known"):
        write_map_geotiff(tmp_path / "m.tif", LABELS, CLASSES, "nowhere", None)
    assert not list(tmp_path.iterdir())


def test_a_missing_geo_extra_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UsageError, match="rasterio"):
        write_map_geotiff(tmp_path / "m.tif", LABELS, CLASSES, "EPSG:4326", None)


def test_a_run_does_without_its_geotiff_where_the_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsi = Modality("hsi", np.zeros((2, 3, 4), dtype=np.float32), ("a", "b"))
    label = np.ones((3, 4), dtype=np.int16)
    dataset = Dataset(scenes=(Scene({"hsi": hsi}, label, CLASSES, crs="EPSG:32617"),))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert not write_tif(tmp_path / "m.tif", dataset, [label])
    with pytest.raises(UsageError, match="rasterio"):
        write_tif(tmp_path / "m.tif", dataset, [label], asked=True)
