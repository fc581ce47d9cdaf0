"""`data import`, `run` and `predict` on rasters: from the files to a map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.read import read_dataset
from tests.support.command_line import Cli
from tests.support.rasters import CLASSES, CRS, TRANSFORM, arrays, as_envi, as_geotiff


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on a scene of GeoTIFFs; its data lies beside it."""
    folder = tmp_path_factory.mktemp("rasters")
    as_geotiff(folder, arrays(40, 48))
    arguments = ["run", "--data", folder / "scene.toml", "--out", folder / "run", "--quiet"]
    arguments += ["--rounds", 2, "--owners", 2, "--delta", 1e-3, "--epsilon", 8]
    assert run_cli([str(a) for a in arguments]) == 0
    return folder


def test_a_run_on_a_manifest_leaves_a_map_with_its_place(finished: Path) -> None:
    with rasterio.open(finished / "run" / "map.tif") as file:
        assert file.crs.to_string() == CRS
        assert tuple(file.transform)[:6] == TRANSFORM
        assert file.shape == (40, 48)
    assert (finished / "run" / "map.png").is_file()


def test_import_makes_an_owners_file_and_says_what_is_in_it(tmp_path: Path, cli: Cli) -> None:
    as_envi(tmp_path, arrays(), "bil", "um")
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n", encoding="utf-8")
    layers = ["--hsi", tmp_path / "hsi.hdr", "--lidar", tmp_path / "lidar.img"]
    layers += ["--labels", tmp_path / "labels.img", "--classes", names, "--site", "north"]
    out = tmp_path / "owner.h5"
    code, stdout, _ = cli("data", "import", *layers, "--lidar-scale", 0.02, "--out", out, "--json")
    assert code == 0
    described = json.loads(stdout)
    assert described["modalities"]["lidar"]["scale"] == "× 0.02"
    assert list(described["classes"]) == ["a", "b", "c"]
    (scene,) = read_dataset(out).scenes
    assert (scene.site, scene.crs) == ("north", CRS)
    assert np.array_equal(scene.label, arrays().label)
    again, _, stderr = cli("data", "import", *layers, "--out", out)
    assert (again, stderr.count("\n")) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "neither a scene"),
        (["--hsi", "absent.tif"], 3, "absent.tif: no such file"),
        (["absent"], 3, "absent: no such file"),
        (["{}", "--hsi", "x.tif"], 2, "a scene and single layers"),
        (["{}", "--grid", "dsm"], 2, "grid is 'dsm'"),
        (["{}", "--hsi-scale", "0"], 2, "hsi-scale is 0"),
        (["{}", "--classes", "absent.txt"], 3, "absent.txt"),
    ],
)
def test_a_wrong_import_gives_two_lines_and_leaves_nothing(
    tmp_path: Path, cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    manifest = as_geotiff(tmp_path, arrays())
    given = [argument.format(manifest) for argument in arguments]
    found, stdout, stderr = cli("data", "import", *given, "--out", tmp_path / "o.h5")
    assert (found, stdout, stderr.count("\n")) == (code, "", 2)
    assert message in stderr
    assert not list(tmp_path.glob("o.h5*"))


def test_class_names_of_the_manifest_are_those_of_the_run(finished: Path, cli: Cli) -> None:
    _, stdout, _ = cli("data", "inspect", finished / "scene.toml", "--json")
    assert tuple(json.loads(stdout)["classes"]) == CLASSES
