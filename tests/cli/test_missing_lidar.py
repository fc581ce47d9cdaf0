"""A scene with 10 % of its LiDAR missing, from file to map, in every topology."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.command_line import Cli
from tests.support.topologies import only, tiny_scene, with_gaps, written

SIDE = 16
GROUND = with_gaps(tiny_scene(side=SIDE), "lidar", 0.1)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("gaps") / "ground.h5", GROUND)


def gaps() -> NDArray[np.bool_]:
    valid = GROUND.modalities["lidar"].valid
    assert valid is not None
    return ~valid


def labels_of(path: Path) -> NDArray[np.uint16]:
    with h5py.File(path) as file:
        found: NDArray[np.uint16] = file["label"][...]
    return found


def small(data: Path, out: Path, *more: object) -> list[object]:
    base = ["run", "--data", data, "--out", out, "--rounds", 2, "--delta", 1e-4, "--quiet"]
    return [*base, *more]


@pytest.mark.parametrize(
    ("topology", "aggregation"),
    [("paired", "masked"), ("mixed", "encrypted"), ("split", "masked"), ("split", "encrypted")],
)
def test_a_scene_with_ten_percent_missing_lidar_works(
    cli: Cli, scene: Path, tmp_path: Path, topology: str, aggregation: str
) -> None:
    options = ("--topology", topology, "--aggregation", aggregation, "--epsilon", 8, "--json")
    code, text, err = cli(*small(scene, tmp_path / "r", *options))
    assert code == 0, err
    assert 7.92 <= json.loads(text)["privacy"]["epsilon"] <= 8
    assert (tmp_path / "r" / "map.png").is_file()
    more = ("--recipient", "zoe", "--aggregation", aggregation) if topology == "split" else ()
    command = ("predict", tmp_path / "r", "--data", scene, "--out", tmp_path / "map.h5", "--json")
    code, text, err = cli(*command, "--quiet", *more)
    assert code == 0, err
    found = labels_of(tmp_path / "map.h5")
    if topology == "split":  # LiDAR's owner does not hold them, and HSI's would be alone
        assert np.array_equal(found == 0, gaps())
        assert json.loads(text)["fused"]["refused_pixels"] == gaps().sum()
    else:
        assert (found > 0).all()
        assert json.loads(text)["accuracy"]["n_test"] == SIDE * SIDE


def test_in_split_the_missing_pixels_of_a_file_of_its_own_are_not_held(
    cli: Cli, tmp_path: Path
) -> None:
    hsi = written(tmp_path / "hsi.h5", only(GROUND, "hsi"))
    lidar = written(tmp_path / "lidar.h5", only(GROUND, "lidar"))
    options = ("--topology", "split", "--lidar-data", lidar, "--epsilon", "inf")
    assert cli(*small(hsi, tmp_path / "r", *options))[0] == 0
    more = ("--lidar-data", lidar, "--recipient", "zoe", "--out", tmp_path / "m.h5", "--quiet")
    code, _, err = cli("predict", tmp_path / "r", "--data", hsi, *more)
    assert code == 0, err
    assert f"{gaps().sum()} pixels with a single contributor were left out" in err
    assert np.array_equal(labels_of(tmp_path / "m.h5") == 0, gaps())


def test_where_lidar_is_missing_the_prediction_is_that_of_hsi_alone(
    cli: Cli, scene: Path, tmp_path: Path
) -> None:
    options = ("--epsilon", "inf", "--rounds", 20)
    assert cli(*small(scene, tmp_path / "r", *options))[0] == 0
    hsi = written(tmp_path / "hsi.h5", only(GROUND, "hsi"))
    found = {}
    for name, data in (("gaps", scene), ("hsi", hsi)):
        more = ("--data", data, "--out", tmp_path / f"map-{name}.h5", "--quiet")
        assert cli("predict", tmp_path / "r", *more)[0] == 0
        found[name] = labels_of(tmp_path / f"map-{name}.h5")
    assert np.array_equal(found["gaps"][gaps()], found["hsi"][gaps()])


def test_data_inspect_counts_the_missing_pixels(cli: Cli, scene: Path) -> None:
    code, text, _ = cli("data", "inspect", scene)
    assert code == 0
    assert f"missing: {gaps().sum()}" in text
    assert f"`lidar` is missing (nodata nan) in {gaps().sum()} of {SIDE * SIDE} pixels" in text


def test_nan_that_nobody_declared_is_two_lines_and_exit_3(
    cli: Cli, scene: Path, tmp_path: Path
) -> None:
    data = tmp_path / "silent.h5"
    data.write_bytes(scene.read_bytes())
    with h5py.File(data, "r+") as file:
        del file["lidar"].attrs["nodata"]
    for command in (small(data, tmp_path / "r"), ["data", "inspect", data]):
        code, out, err = cli(*command)
        assert (code, out) == (3, "")
        assert err.startswith(
            f"error: {data}: `lidar`: {gaps().sum()} of {SIDE * SIDE} values are NaN"
        )
        assert "`nodata`" in err
        assert err.count("\n") == 2
    assert not (tmp_path / "r.partial").exists()
