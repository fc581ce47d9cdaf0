"""Wrong rasters: two lines that name the file and what is wrong with it, and exit code 3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import scipy.io
from scipy.sparse import csc_array

from feddiff_secure.cli.main import run_cli
from tests.support.rasters import (
    CLASSES,
    TRANSFORM,
    arrays,
    as_envi,
    as_geotiff,
    manifest,
    write_raster,
)

Make = Callable[[Path], Path]


def changed(folder: Path, old: str, new: str, name: str = "hsi.hdr") -> Path:
    """An ENVI scene with one header edited."""
    path = as_envi(folder, arrays())
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return path


def truncated_geotiff(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    whole = (folder / "hsi.tif").read_bytes()
    (folder / "hsi.tif").write_bytes(whole[: len(whole) // 2])
    return path


def geotiff_cut_inside(folder: Path) -> Path:
    """The directory is whole, the last strip is not there."""
    path = as_geotiff(folder, arrays())
    rng = np.random.default_rng(0)
    profile = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    noise = rng.integers(0, 9999, (64, 64, 3)).astype(np.int16)
    write_raster(folder / "hsi.tif", noise, **profile)
    whole = bytearray((folder / "hsi.tif").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 4000] = bytes(4000)
    (folder / "hsi.tif").write_bytes(bytes(whole))
    return path


def bands_first(folder: Path) -> Path:
    with h5py.File(folder / "scene.h5", "w") as file:
        file["hsi"] = np.moveaxis(arrays().hsi, -1, 0)
        file["label"] = arrays().label
    return folder / "scene.h5"


def rows_and_columns_swapped(folder: Path) -> Path:
    variables = {"hsi": np.swapaxes(arrays().hsi, 0, 1), "gt": arrays().label}
    scipy.io.savemat(folder / "scene.mat", variables)
    return folder / "scene.mat"


def float_labels(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "labels.tif", arrays().label.astype(np.float32))
    return path


def other_crs(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "lidar.tif", arrays().lidar, crs="EPSG:32618")
    return path


def empty_band(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    values = arrays().hsi.astype(np.float32)
    values[..., 3] = np.nan
    write_raster(folder / "hsi.tif", values)
    return path


def empty_band_declared(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    values = arrays().hsi.copy()
    values[..., 1] = -1
    write_raster(folder / "hsi.tif", values, nodata=-1)
    return path


def elsewhere(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    a, b, c, d, e, f = TRANSFORM
    write_raster(folder / "lidar.tif", arrays().lidar, transform=(a, b, c + 9e4, d, e, f))
    return path


def rotated(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    turned = (2.4, -0.7, TRANSFORM[2], -0.7, -2.4, TRANSFORM[5])
    write_raster(folder / "lidar.tif", arrays().lidar, transform=turned)
    return path


def south_up(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    a, b, c, d, e, f = TRANSFORM
    write_raster(folder / "lidar.tif", arrays().lidar, transform=(a, b, c, d, -e, f + 21 * e))
    return path


def unnamed_palette(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "labels.tif", arrays().label)
    with rasterio.open(folder / "labels.tif", "r+") as file:
        file.write_colormap(1, {1: (1, 2, 3, 255), 2: (4, 5, 6, 255), 3: (7, 8, 9, 255)})
    return path


def more_labels_than_classes(folder: Path) -> Path:
    as_geotiff(folder, arrays())
    return manifest(folder, ".tif", 'classes = ["a", "b"]')


def missing_header(folder: Path) -> Path:
    path = as_envi(folder, arrays())
    (folder / "lidar.hdr").unlink()
    return path


def other_shape(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "lidar.tif", arrays(10, 10).lidar, transform=None, crs=None)
    return path


def several_label_bands(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "labels.tif", np.repeat(arrays().label[..., None], 3, axis=2))
    return path


def masked(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(folder / "hsi.tif", "r+") as f:
        f.write_mask(arrays().label > 0)
    return path


def offset(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    with rasterio.open(folder / "hsi.tif", "r+") as file:
        file.offsets = [5.0] * file.count
    return path


def not_a_tiff(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    (folder / "lidar.tif").write_bytes(b"PK\x03\x04 a zip, say")
    return path


def linking_raster(folder: Path) -> Path:
    """A GDAL virtual raster reads other files, whatever its own name."""
    path = as_geotiff(folder, arrays())
    (folder / "hsi.tif").write_text(
        '<VRTDataset rasterXSize="34" rasterYSize="21"><VRTRasterBand dataType="Byte" band="1">'
        '<SimpleSource><SourceFilename relativeToVRT="1">labels.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>",
        encoding="utf-8",
    )
    return path


def complex_values(folder: Path) -> Path:
    path = as_geotiff(folder, arrays())
    write_raster(folder / "hsi.tif", arrays().hsi.astype(np.complex64))
    return path


def sparse_labels(folder: Path) -> Path:
    write_raster(folder / "hsi.tif", arrays().hsi)
    scipy.io.savemat(folder / "labels.mat", {"gt": csc_array(arrays().label.astype(np.float64))})
    (folder / "scene.toml").write_text('hsi = "hsi.tif"\nlabels = "labels.mat"', encoding="utf-8")
    return folder / "scene.toml"


def roi_of_another_raster(folder: Path) -> Path:
    write_raster(folder / "hsi.tif", arrays().hsi)
    (folder / "labels.txt").write_text(
        "; ENVI Output of ROIs\n; File Dimension: 9 x 9\n; ROI name: a\n; ROI npts: 1\n"
        "; ID X Y\n 1 3 4\n",
        encoding="utf-8",
    )
    (folder / "scene.toml").write_text('hsi = "hsi.tif"\nlabels = "labels.txt"', encoding="utf-8")
    return folder / "scene.toml"


def edited(old: str, new: str, name: str = "hsi.hdr") -> Make:
    return lambda folder: changed(folder, old, new, name)


WRONG: list[tuple[Make, str, str]] = [
    (truncated_geotiff, "hsi.tif: cannot be read as GTiff", "cut short"),
    (geotiff_cut_inside, "hsi.tif: cannot be read as GTiff", "cut short"),
    (not_a_tiff, "lidar.tif: cannot be read as GTiff", "another type"),
    (linking_raster, "hsi.tif: cannot be read as GTiff", "another type"),
    (bands_first, "scene.h5: `hsi` has shape (5, 21, 34)", "its bands come first"),
    (rows_and_columns_swapped, "scene.mat: `hsi` has shape (34, 21, 5)", "are swapped"),
    (float_labels, "labels.tif: labels are of type float32", "store labels as integers"),
    (several_label_bands, "labels.tif: labels have 3 bands", "one band"),
    (other_crs, "lidar.tif: its CRS is EPSG:32618, that of hsi.tif is EPSG:32617", "gdalwarp"),
    (elsewhere, "lidar.tif: lidar covers x 490000..490085", "same ground"),
    (rotated, "lidar.tif: its grid is rotated", "north up"),
    (south_up, "lidar.tif: alignment: one grid is flipped", "north up"),
    (other_shape, "lidar.tif: lidar of 10 × 10 pixels and hsi of 21 × 34", "georeference"),
    (empty_band, "hsi.tif: `hsi`: 714 of 3570 values are NaN", "nodata"),
    (empty_band, "(band 4 hold nothing else)", "nodata"),
    (empty_band_declared, "hsi.tif: `hsi`: every pixel holds nodata -1", "empty everywhere"),
    (empty_band_declared, "band 2 everywhere", "empty everywhere"),
    (unnamed_palette, "labels.tif: labels have a colour table of 3 colours", "name the classes"),
    (more_labels_than_classes, "labels.tif: `label`: labels 0..3 leave 0..2", "name every class"),
    (masked, "hsi.tif: missing pixels are marked by a mask", "gdal_translate"),
    (offset, "hsi.tif: bands have an offset 5", "unscale"),
    (complex_values, "hsi.tif: values are of type complex64", "integers or reals"),
    (missing_header, "lidar.img: its ENVI header lidar.hdr is missing", ".hdr beside"),
    (
        edited("samples = 34", "samples = 33"),
        "hsi.img: 7140 bytes, its header hsi.hdr",
        "",
    ),
    (edited("samples = 34", "samples = many"), "hsi.hdr: `samples` is 'many', not an integer", ""),
    (edited("interleave = bsq", "interleave = bsx"), "hsi.hdr: `interleave` is 'bsx'", "bil"),
    (edited("data type = 2", "data type = 7"), "hsi.hdr: `data type` 7 is none", ""),
    (
        edited("650.000000", "450.000000"),
        "`wavelength`: wavelengths must be finite",
        "sort",
    ),
    (edited("650.000000", "red"), "hsi.hdr: `wavelength`: not all are numbers", ""),
    (edited("650.000000, ", ""), "hsi.hdr: `wavelength`: 4 wavelengths for 5 bands", ""),
    (edited("= Nanometers", "= GHz"), "wavelength unit 'GHz'", "nanometres or micrometres"),
    (edited("ENVI\n", "ENVY\n"), "hsi.hdr: the first line is not `ENVI`", ""),
    (edited("}\n", "\n"), "hsi.hdr: ", "repair"),
    (
        edited("classes = 4", "classes = 9", "labels.hdr"),
        "`class names` lists 4",
        "",
    ),
    (edited("lookup = {0", "lookup = {999", "labels.hdr"), "labels.hdr: `class lookup`", ""),
    (sparse_labels, "labels.mat: `gt` is of class sparse", "real numbers"),
    (roi_of_another_raster, "labels.txt: labels of 9 × 9 pixels and hsi of 21 × 34", ""),
]


@pytest.mark.parametrize(("make", "message", "hint"), WRONG)
def test_a_wrong_raster_gives_two_helpful_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Make, message: str, hint: str
) -> None:
    code = run_cli(["data", "inspect", str(make(tmp_path))])
    found = capsys.readouterr()
    error, hinted, *rest = found.err.splitlines()
    assert (code, found.out, rest) == (3, "", [])
    assert error.startswith("error: ")
    assert message in error
    assert hinted.startswith("hint: ")
    assert hint in hinted


@pytest.mark.parametrize("make", [truncated_geotiff, other_crs, float_labels, elsewhere])
def test_an_import_of_a_wrong_raster_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Make
) -> None:
    out = tmp_path / "owner.h5"
    assert run_cli(["data", "import", str(make(tmp_path)), "--out", str(out)]) == 3
    assert capsys.readouterr().err.count("\n") == 2
    assert not list(tmp_path.glob("owner*"))


def test_the_sound_scene_that_all_of_these_spoil_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, make in (("tif", as_geotiff), ("envi", as_envi)):
        folder = tmp_path / name
        folder.mkdir()
        make_any: Any = make
        assert run_cli(["data", "inspect", str(make_any(folder, arrays()))]) == 0
        assert all(f"{class_name}:" in capsys.readouterr().out for class_name in CLASSES[:1])
