"""Prediction by windows: the same map as at once, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import rasterio
from matplotlib.image import imread

from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.raster.assembly import open_scene
from feddiff_secure.data.read import raster_files, read_dataset
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.model_file import Model, model_bytes
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.report.landcover_map import LandcoverMap, write_map_png
from feddiff_secure.report.map_sinks import MapFrame, open_sink
from feddiff_secure.report.prediction import predict_maps
from feddiff_secure.report.windowed_prediction import predict_windows
from tests.support.rasters import (
    CLASSES,
    COLOURS,
    CRS,
    TRANSFORM,
    arrays,
    as_geotiff,
    as_hdf5,
    manifest,
    write_raster,
)


class Counter(Silent):
    """Counts steps."""

    def __init__(self) -> None:
        self.total = self.done = 0

    def stage(self, name: str, total: int) -> None:
        self.total = total

    def advance(self, steps: int = 1) -> None:
        self.done += steps


def model_for(path: Path, *, learned: bool = True, tile: int = 4) -> Model:
    """Weights at random: every class is predicted somewhere."""
    layout = read_dataset(path, require_labels=False).layout
    features = FeatureMap.public(layout, tile=tile, seed=0, learned=learned)
    width = sum(features.widths.values())
    return Model(features, np.random.default_rng(3).normal(size=(3, width)), CLASSES)


def predicted(model: Model, data: Path, out: Path, side: int) -> Counter:
    files = raster_files(data)
    assert files is not None
    progress = Counter()
    with open_scene(files) as scene:
        predict_windows(model, scene, out, progress, what=str(data), side=side)
    return progress


@pytest.mark.parametrize("kind", ["hdf5", "geotiff", "resampled"])
def test_a_scene_of_many_windows_gives_the_map_of_the_whole(tmp_path: Path, kind: str) -> None:
    scene = arrays(22, 27)
    if kind == "hdf5":
        data = as_hdf5(tmp_path / "scene.h5", scene)
    elif kind == "geotiff":
        data = as_geotiff(tmp_path, scene)
    else:
        write_raster(tmp_path / "hsi.tif", scene.hsi)
        odd = (1.1, 0.0, TRANSFORM[2] + 9.0, 0.0, -1.3, TRANSFORM[5] - 7.7)
        write_raster(tmp_path / "lidar.tif", arrays(40, 50, 1).lidar, transform=odd, nodata=-9999)
        write_raster(tmp_path / "labels.tif", scene.label)
        data = manifest(tmp_path, ".tif", f"classes = {list(CLASSES)}")
    model = model_for(data, learned=kind == "geotiff")  # the networks are slow
    whole = predict_maps(model, read_dataset(data), Silent())[0]
    assert set(np.unique(whole)) >= {1, 2, 3}
    for side in (14, 1000):  # 14 is rounded down to three tiles
        out = tmp_path / f"map{side}.h5"
        progress = predicted(model, data, out, side)
        with h5py.File(out) as file:
            assert np.array_equal(file["label"][()], whole)
        assert progress.done == progress.total > 0


def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    peaks = []
    for name, length in (("small", 64), ("large", 192)):
        data = as_hdf5(tmp_path / f"{name}.h5", arrays(length, length))
        model = model_for(data, learned=False)
        _ = [part.projection.frequencies for part in model.features.parts]  # made once, kept
        tracemalloc.start()
        predicted(model, data, tmp_path / f"{name}-map.h5", 32)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]  # of nine times the pixels


def test_the_map_has_place_colours_and_names_and_reads_back_as_labels(tmp_path: Path) -> None:
    data = as_geotiff(tmp_path, arrays(45, 39))
    model = model_for(data, learned=False)
    predicted(model, data, tmp_path / "map.tif", 16)
    with rasterio.open(tmp_path / "map.tif") as file:
        labels = file.read(1)
        assert (file.crs.to_string(), tuple(file.transform)[:6]) == (CRS, TRANSFORM)
        assert (file.nodata, file.dtypes) == (0, ("uint8",))
        assert [file.tags(1)[f"class_{n}"] for n in (1, 2, 3)] == list(CLASSES)
        table = file.colormap(1)
        assert [table[n][:3] for n in (1, 2, 3)] == list(COLOURS)
        assert table[0] == (0, 0, 0, 0)
    assert np.array_equal(labels, predict_maps(model, read_dataset(data), Silent())[0])
    (tmp_path / "again.toml").write_text('hsi = "hsi.tif"\nlabels = "map.tif"', encoding="utf-8")
    again = read_dataset(tmp_path / "again.toml")
    assert (again.classes, again.colours) == (CLASSES, COLOURS)
    assert np.array_equal(again.scenes[0].label, labels)


def test_predict_writes_every_format_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = as_geotiff(tmp_path, arrays(45, 39))
    model = model_for(data, learned=False)
    (tmp_path / "model.safetensors").write_bytes(model_bytes(model))
    whole = predict_maps(model, read_dataset(data), Silent())[0]
    label = arrays(45, 39).label
    for name in ("map.png", "map.tif", "map.h5"):
        arguments = ["predict", tmp_path / "model.safetensors", "--data", data]
        arguments += ["--out", tmp_path / name, "--json", "--quiet"]
        assert run_cli([str(a) for a in arguments]) == 0
        found = json.loads(capsys.readouterr().out)
        shares = [float((whole == k).mean()) for k in (1, 2, 3)]
        assert list(found["areas"].values()) == pytest.approx(shares)
        assert found["accuracy"]["oa"] == pytest.approx((whole == label)[label > 0].mean())
        assert found["accuracy"]["n_test"] == int((label > 0).sum())
    pixels = np.rint(imread(tmp_path / "map.png")[..., :3] * 255).astype(int)
    assert set(COLOURS) <= {tuple(c) for c in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    assert not list(tmp_path.glob("*.partial"))


def test_a_picture_of_windows_is_the_picture_of_the_whole(tmp_path: Path) -> None:
    """Also where it is thinned, and windows begin between the pixels that are shown."""
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, (90, 4500)).astype(np.int16)
    reference = rng.integers(0, 4, (90, 4500)).astype(np.int16)
    frame = MapFrame(labels.shape, CLASSES, None, None, None, "scene")
    with open_sink(tmp_path / "windows.png", frame) as sink:
        for top in range(0, 90, 31):
            for left in range(0, 4500, 1000):
                at = slice(top, top + 31), slice(left, left + 1000)
                sink.write(top, left, labels[at], reference[at])
    entry = LandcoverMap(labels[::3, ::3], reference[::3, ::3])
    write_map_png(tmp_path / "whole.png", [entry], CLASSES)
    assert (tmp_path / "windows.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


def test_a_prediction_that_fails_midway_leaves_no_map(tmp_path: Path) -> None:
    values = arrays(45, 39).hsi * np.float32(1e-4)
    model = model_for(write_raster(tmp_path / "hsi.tif", values), learned=False)
    values[40, 3, 2] = np.nan
    write_raster(tmp_path / "hsi.tif", values)
    for name in ("map.tif", "map.h5", "map.png"):
        with pytest.raises(DataError, match=r"hsi\.tif: `hsi`: 1 of \d+ values are NaN"):
            predicted(model, tmp_path / "hsi.tif", tmp_path / name, 16)
        assert not list(tmp_path.glob("map*"))


def test_a_geotiff_needs_a_crs(tmp_path: Path) -> None:
    write_raster(tmp_path / "scene.tif", arrays().hsi, crs=None)
    model = model_for(tmp_path / "scene.tif", learned=False)
    with pytest.raises(UsageError, match="needs one scene with a CRS"):
        predicted(model, tmp_path / "scene.tif", tmp_path / "map.tif", 16)
