"""`run` and `predict` where owners hold different modalities, on small tables and rasters."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.partition import parse_partition
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.dealing import deal
from feddiff_secure.transport.inprocess import InProcessExchange
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli
from tests.support.topologies import cropped, only, tiny_scene, written

MODES = list(itertools.product(["mixed", "split"], ["masked", "encrypted"]))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=120, bands=8, seed=0))
    return path


def small(data: Path, out: Path, *more: object) -> list[object]:
    base = ["run", "--data", data, "--out", out, "--rounds", 2, "--delta", 1e-4, "--quiet"]
    return [*base, *more]


@pytest.fixture(scope="session")
def split_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "split"
    more = ("--topology", "split", "--epsilon", "inf")
    assert run_cli([str(a) for a in small(tiny, out, *more)]) == 0
    return out


@pytest.mark.parametrize(
    "modes", list(itertools.product(["mixed", "split"], ["masked", "encrypted"]))
)
@pytest.mark.parametrize("epsilon", ["inf", 8, 1])
def test_mixed_and_split_run_in_every_mode_at_every_epsilon(
    cli: Cli, tiny: Path, tmp_path: Path, modes: tuple[str, str], epsilon: object
) -> None:
    topology, aggregation = modes
    options = ("--topology", topology, "--aggregation", aggregation, "--epsilon", epsilon)
    code, out, err = cli(*small(tiny, tmp_path / "r", *options, "--json"))
    assert code == 0, err
    privacy = json.loads(out)["privacy"]
    if epsilon == "inf":
        assert privacy["epsilon"] is None
        return
    assert isinstance(epsilon, int)
    assert 0.99 * epsilon <= privacy["epsilon"] <= epsilon
    assert privacy["cross_check"]["agrees"] is True
    assert "Who holds which modality is public" in (tmp_path / "r" / "privacy.md").read_text()
    if topology == "mixed":
        assert privacy["ground"] is None
        return
    ground = privacy["ground"]
    assert ground["copies"] == 2
    assert privacy["epsilon"] < ground["epsilon"] < 2 * privacy["epsilon"]
    assert privacy["levels"]["pixel"] == ground["epsilon_replace_one"]
    assert any("without noise" in line for line in privacy["not_covered"])


def test_mixed_in_which_all_hold_both_is_paired(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    models = []
    for name, options in (("a", ()), ("b", ("--topology", "mixed", "--holds", "both"))):
        more = ("--epsilon", "inf", "--nominal-tiles", 90, *options)
        assert cli(*small(tiny, tmp_path / name, *more))[0] == 0
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_a_mixed_model_serves_owners_of_one_modality(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    more = ("--topology", "mixed", "--holds", "hsi,lidar,both", "--epsilon", "inf", "--rounds", 20)
    assert cli(*small(tiny, tmp_path / "r", *more))[0] == 0
    for missing in ("hsi", "lidar", None):
        data = tmp_path / f"{missing}.h5"
        data.write_bytes(tiny.read_bytes())
        if missing is not None:
            with h5py.File(data, "r+") as file:
                del file[missing]
        command = ("predict", tmp_path / "r", "--data", data, "--out", tmp_path / f"{missing}.png")
        code, out, err = cli(*command, "--json")
        assert code == 0, err
        assert json.loads(out)["accuracy"]["oa"] > 0.9
        assert "fused" not in json.loads(out)


def test_a_prediction_of_split_ground_goes_to_a_named_recipient(
    cli: Cli, split_run: Path, tiny: Path, tmp_path: Path
) -> None:
    def predict(name: str, *more: object) -> tuple[int, str, str]:
        command = ("predict", split_run, "--data", tiny, "--out", tmp_path / name, "--quiet")
        return cli(*command, *more)

    code, _, err = predict("none.h5")
    assert (code, "--recipient" in err) == (2, True)
    code, _, err = predict("refused.h5", "--recipient", "owner-001")
    assert (code, "--consent owner-002" in err) == (2, True)
    for wrong in (
        ("--consent", "owner-002"), ("--lidar-data", tiny), ("--recipient", "a b"),
        ("--recipient", "zoe", "--aggregation", "plain"),
        ("--recipient", "owner-001", "--consent", "owner-009"),
    ):  # fmt: skip
        code, _, err = predict("wrong.h5", *wrong)
        assert code == 2, wrong
        assert err.count("\n") == 2
    assert not list(tmp_path.iterdir())
    labels = []
    for name, more in {
        "masked.h5": ("--recipient", "analyst"),
        "encrypted.h5": ("--recipient", "analyst", "--aggregation", "encrypted"),
        "owner.h5": ("--recipient", "owner-001", "--consent", "owner-002"),
    }.items():
        code, _, err = predict(name, *more)
        assert code == 0, err
        assert "outside epsilon" in err
        assert ("consent of owner-002" in err) == (name == "owner.h5")
        with h5py.File(tmp_path / name) as file:
            labels.append(file["label"][...])
    assert np.array_equal(labels[0], labels[1])
    assert np.array_equal(labels[0], labels[2])
    # The same labels as the model gives to somebody who holds both modalities.
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((split_run / "model.safetensors").read_bytes())
    command = ("predict", alone, "--data", tiny, "--out", tmp_path / "alone.h5", "--quiet")
    assert cli(*command)[0] == 0
    with h5py.File(tmp_path / "alone.h5") as file:
        assert np.array_equal(file["label"][...], labels[0])


def test_a_prediction_keeps_the_key_agreement_of_its_run(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adverts: list[set[str]] = []
    exchange = InProcessExchange.exchange

    def recorded(self: InProcessExchange, phase: str, *rest: Any) -> dict[str, Any]:
        replies = exchange(self, phase, *rest)
        adverts.extend(set(reply) for reply in replies.values() if phase == "advertise")
        return replies

    out = tmp_path / "r"
    options = ("--topology", "split", "--epsilon", "inf", "--key-agreement", "hybrid")
    assert cli(*small(tiny, out, *options))[0] == 0
    monkeypatch.setattr(InProcessExchange, "exchange", recorded)
    more = ("--recipient", "zoe", "--out", tmp_path / "m.h5", "--json", "--quiet")
    code, text, err = cli("predict", out, "--data", tiny, *more)
    assert code == 0, err
    assert json.loads(text)["fused"]["key_agreement"] == "hybrid"
    assert len(adverts) == 3
    assert all({"kem_mask_key", "kem_sealing_key"} <= fields for fields in adverts)


def test_a_recipient_is_for_split_runs_only(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    assert cli(*small(tiny, tmp_path / "r", "--epsilon", "inf"))[0] == 0
    more = ("--recipient", "zoe", "--out", tmp_path / "m.h5")
    code, _, err = cli("predict", tmp_path / "r", "--data", tiny, *more)
    assert (code, "topology split" in err) == (2, True)


def test_two_files_of_one_ground_with_ten_percent_missing_lidar(cli: Cli, tmp_path: Path) -> None:
    scene = tiny_scene(side=20)
    hsi = written(tmp_path / "hsi.h5", only(scene, "hsi"))
    lidar = written(
        tmp_path / "lidar.h5", only(cropped(scene, slice(2, 20), slice(0, 20)), "lidar")
    )
    out = tmp_path / "r"
    options = ("--topology", "split", "--lidar-data", lidar, "--epsilon", 8, "--json")
    code, text, err = cli(*small(hsi, out, *options))
    assert code == 0, err
    privacy = json.loads(text)["privacy"]
    assert any("common grid of 18 × 20" in line for line in privacy["assumptions"])
    more = ("--recipient", "zoe", "--lidar-data", lidar, "--json", "--quiet")
    tif = tmp_path / "map.tif"
    code, text, err = cli("predict", out, "--data", hsi, "--out", tif, *more)
    assert code == 0, err
    assert tif.is_file()
    code, text, err = cli("predict", out, "--data", hsi, "--out", tmp_path / "map.h5", *more)
    assert code == 0, err
    assert json.loads(text)["fused"]["refused_pixels"] == 2 * 20
    with h5py.File(tmp_path / "map.h5") as file:
        label = file["label"][...]
    assert label.shape == (20, 20)
    assert (label[:2] == 0).all()
    assert (label[2:] > 0).all()


def test_labels_may_be_with_the_owner_of_lidar_alone(cli: Cli, tmp_path: Path) -> None:
    """And ground without labels is predicted in every format."""
    scene = tiny_scene(side=16)
    hsi = written(tmp_path / "hsi.h5", only(scene, "hsi"))
    lidar = written(tmp_path / "lidar.h5", only(scene, "lidar"))
    with h5py.File(hsi, "r+") as file:
        del file["label"], file["region"], file.attrs["classes"]
    options = ("--topology", "split", "--lidar-data", lidar, "--epsilon", "inf")
    code, _, err = cli(*small(hsi, tmp_path / "r", *options))
    assert code == 0, err
    with h5py.File(lidar, "r+") as file:
        del file["label"], file["region"], file.attrs["classes"]
    for suffix in ("png", "tif", "h5"):
        more = ("--lidar-data", lidar, "--recipient", "zoe", "--out", tmp_path / f"m.{suffix}")
        code, _, err = cli("predict", tmp_path / "r", "--data", hsi, *more, "--quiet")
        assert code == 0, err


MISMATCHED: dict[str, tuple[dict[str, Any], str]] = {
    "elsewhere": ({"transform": (2.0, 0.0, 0.0, 0.0, -2.0, 0.0)}, "the scenes do not overlap"),
    "rotated": ({"transform": (1.7, 1.0, 5e5, 1.0, -1.7, 4e6)}, "the LiDAR grid is rotated"),
    "flipped": ({"transform": (2.0, 0.0, 5e5, 0.0, 2.0, 4e6 - 48)}, "one grid is flipped"),
    "of another CRS": ({"crs": "EPSG:4326"}, "the CRS of HSI is 'EPSG:32617'"),
    "without a georeference": ({"crs": None, "transform": None}, "one scene has a georeference"),
}


@pytest.mark.parametrize("case", MISMATCHED)
def test_grounds_that_do_not_match_are_two_lines_and_exit_3(
    cli: Cli, tmp_path: Path, split_run: Path, case: str
) -> None:
    change, word = MISMATCHED[case]
    scene = tiny_scene()
    hsi = written(tmp_path / "hsi.h5", only(scene, "hsi"))
    lidar = written(tmp_path / "lidar.h5", only(replace(scene, **change), "lidar"))
    more = ("--recipient", "zoe", "--lidar-data", lidar, "--out", tmp_path / "m.h5", "--quiet")
    for command in (
        small(hsi, tmp_path / "r", "--topology", "split", "--lidar-data", lidar),
        ["predict", split_run, "--data", hsi, *more],
    ):
        code, out, err = cli(*command)
        assert (code, out) == (3, "")
        assert err.startswith(f"error: alignment: {word}")
        assert err.count("\n") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"hsi.h5", "lidar.h5"}


def test_scenes_of_other_sizes_without_a_georeference_are_refused(cli: Cli, tmp_path: Path) -> None:
    scene = tiny_scene(transform=None)
    hsi = written(tmp_path / "hsi.h5", only(scene, "hsi"))
    smaller = cropped(scene, slice(0, 20), slice(0, 24))
    lidar = written(tmp_path / "lidar.h5", only(smaller, "lidar"))
    code, _, err = cli(*small(hsi, tmp_path / "r", "--topology", "split", "--lidar-data", lidar))
    assert code == 3
    assert err.startswith("error: alignment: HSI is of 24 × 24 and LiDAR of 20 × 24 pixels")


def test_a_raster_of_both_modalities_runs_split(cli: Cli, tmp_path: Path) -> None:
    data = written(tmp_path / "ground.h5", tiny_scene(side=16))
    more = ("--topology", "split", "--owners", 4, "--epsilon", "inf", "--json")
    code, out, err = cli(*small(data, tmp_path / "r", *more))
    assert code == 0, err
    assert (tmp_path / "r" / "map.png").is_file()
    assert json.loads(out)["owners"] == 4


@pytest.mark.parametrize(
    ("owners", "partition"),
    [(2, "iid"), (3, "dirichlet:0.5"), (5, "region"), (12, "dirichlet:2"), (100, "iid")],
)
def test_each_tile_of_split_ground_has_a_holder_of_either_modality(
    owners: int, partition: str
) -> None:
    config = RunConfig(topology="split", owners=owners, partition=partition)
    tiles = cut_tiles(tiny_table(pixels=480, bands=8, seed=0), 1)
    dealt = deal(tiles, parse_partition(partition), config)
    assert len(dealt) == owners
    for modality in ("hsi", "lidar"):
        holders = [part for part in dealt.values() if part.layout.names == (modality,)]
        held = np.concatenate([part.units.unit for part in holders])
        assert sorted(held) == sorted(tiles.units.unit)
    mixed = deal(tiles, parse_partition(partition), RunConfig(topology="mixed", owners=owners))
    assert sum(part.n_units for part in mixed.values()) == tiles.n_units
    assert {part.layout.names for part in mixed.values()} == {("hsi",), ("lidar",)}


def test_labels_reach_the_other_holder_of_the_same_ground_only() -> None:
    tiles = cut_tiles(tiny_table(pixels=240, bands=8, seed=0), 1)
    scheme = parse_partition("iid")

    def labelled(labels: str | None, **more: Any) -> dict[str, set[int]]:
        config = RunConfig(topology="split", labels=labels, **more)
        dealt = deal(tiles, scheme, config)
        return {name: set(part.labelled_units().tolist()) for name, part in dealt.items()}

    assert labelled(None) == labelled("owner-002") == labelled("owner-001,owner-002")
    # Three owners: the one of LiDAR holds all the ground, the two of HSI a half each.
    three: dict[str, Any] = {"owners": 3, "holds": "hsi,lidar,hsi"}
    every = labelled("owner-002", **three)
    assert every["owner-002"] == every["owner-001"] | every["owner-003"]
    assert labelled("owner-001,owner-003", **three) == every
    for labels, word in (("owner-001", "owner-003 would"), ("max", "'max'"), ("", "labels is")):
        with pytest.raises(UsageError) as caught:
            labelled(labels, **three)
        assert word in str(caught.value)
