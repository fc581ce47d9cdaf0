"""The quick look at a scene, and what `data inspect` says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.inspect import describe
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, Modality, PixelTable
from feddiff_secure.errors import UsageError
from feddiff_secure.report.scene_picture import colour_bands, write_scene_picture
from tests.support.rasters import COLOURS, CRS, NODATA, TRANSFORM, arrays, as_envi, as_geotiff


def modality(wavelengths: tuple[float, ...] | None, bands: int) -> Modality:
    values = np.zeros((bands, 2, 2), dtype=np.float32)
    return Modality("hsi", values, tuple(f"b{n}" for n in range(bands)), wavelengths)


def test_true_colours_are_the_bands_of_red_green_and_blue_light() -> None:
    grid = tuple(float(nm) for nm in range(400, 1000, 10))
    assert colour_bands(modality(grid, 60)) == ((24, 15, 6), True)
    assert colour_bands(modality((900.0, 1000.0, 1100.0), 3)) == ((2, 1, 0), False)
    assert colour_bands(modality(None, 8)) == ((6, 4, 2), False)
    assert colour_bands(modality(None, 1))[1] is False


def test_the_picture_shows_the_labels_in_the_colours_of_the_file(tmp_path: Path) -> None:
    dataset = read_dataset(as_geotiff(tmp_path, arrays()))
    write_scene_picture(tmp_path / "look.png", dataset)
    pixels = np.rint(imread(tmp_path / "look.png")[..., :3] * 255).astype(int)
    seen = {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    assert set(COLOURS) <= seen
    assert not list(tmp_path.glob("*.partial"))


def test_a_table_has_no_picture(tmp_path: Path) -> None:
    values = Modality("hsi", np.zeros((3, 2), dtype=np.float32), ("a", "b"))
    table = PixelTable({"hsi": values}, np.ones(3, dtype=np.int16), ("x",))
    with pytest.raises(UsageError, match="table"):
        write_scene_picture(tmp_path / "look.png", Dataset(table=table))


def test_inspect_says_what_was_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = as_envi(tmp_path, arrays(), "bip", "Micrometers")
    look = tmp_path / "look.png"
    assert run_cli(["data", "inspect", str(path), "--picture", str(look), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert look.is_file()
    assert (found["crs"], found["pixel_size"]) == (CRS, [2.5, 2.5])
    assert tuple(found["transform"]) == TRANSFORM
    missing = (arrays().lidar == NODATA).any(axis=-1)
    assert found["modalities"]["lidar"]["missing_share"] == pytest.approx(missing.mean())
    assert found["modalities"]["hsi"]["wavelengths_nm"] == [450.0, 850.0]
    assert any("converted from micrometres" in warning for warning in found["warnings"])
    counts = [int((arrays().label == k).sum()) for k in (1, 2, 3)]
    assert list(found["classes"].values()) == counts
    for arguments in ([look], [tmp_path / "look.jpg"], [tmp_path / "absent" / "look.png"]):
        code = run_cli(["data", "inspect", str(path), "--picture", *map(str, arguments)])
        assert (code, capsys.readouterr().err.count("\n")) == (2, 2)


def test_the_grid_of_a_rotated_scene_has_its_true_pixel_size(tmp_path: Path) -> None:
    turned = (3.0, -4.0, 4e5, 4.0, 3.0, 3e6)
    path = as_geotiff(tmp_path, arrays(), transform=turned)
    assert describe(read_dataset(path), path)["pixel_size"] == [5.0, 5.0]
