"""`--profile paper`: its files, what it refuses, that it says what it is, and its inversion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.load import load_config
from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.paper.paper_model_file import load_paper_model, paper_model_bytes
from feddiff_secure.paper.schedule import PaperSchedule
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli

SMALL = PaperSchedule(
    widths=(8, 16), branch_rounds=3, branch_steps=10, batch=1, timesteps=(5, 50), head_width=8
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("paper") / "tiny.h5"
    write_scene(path, tiny_table(pixels=400, bands=20, seed=0))
    return path


@pytest.fixture(scope="module")
def finished(tiny: Path) -> Path:
    """A run of the profile with four owners and a small schedule."""
    out = tiny.parent / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feddiff_secure.paper.paper_run.REDUCED", SMALL)
        options = ["--profile", "paper", "--owners", "4", "--rounds", "8", "--quiet"]
        assert run_cli(["run", "--data", str(tiny), "--out", str(out), *options]) == 0
    return out


def test_a_run_leaves_its_files_and_each_says_that_nothing_is_promised(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "config.toml", "exchange.safetensors", "map.png", "metrics.json", "metrics.jsonl",
        "model.safetensors", "privacy.json", "privacy.md", "report.html",
    ]  # fmt: skip
    metrics = json.loads((finished / "metrics.json").read_text())
    privacy = json.loads((finished / "privacy.json").read_text())
    assert metrics["epsilon_target"] is None
    assert metrics["deployment"] is None
    assert privacy["epsilon"] is None
    assert privacy["epsilon_target"] is None
    assert set(privacy["levels"].values()) == {None}
    assert metrics["guarantee"] == privacy["guarantee"] == "no privacy guarantee"
    assert "no privacy guarantee" in (finished / "privacy.md").read_text().lower()
    for name, key in (("model", "paper_model"), ("exchange", "exchange")):
        with safe_open(finished / f"{name}.safetensors", framework="numpy") as file:
            assert "no privacy guarantee" in file.metadata()[key]
    assert 'profile = "paper"' in (finished / "config.toml").read_text()
    assert len((finished / "metrics.jsonl").read_text().splitlines()) == 8


def test_the_traffic_is_that_of_the_files_and_the_networks(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    sent = metrics["bytes_up_per_owner"]
    with safe_open(finished / "exchange.safetensors", framework="numpy") as file:
        stored = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    assert sent["features"] == pytest.approx(stored / 4, abs=1)
    assert sent["features_uncompressed"] / sent["features"] == pytest.approx(
        metrics["compression"], rel=1e-3
    )
    assert metrics["compression"] > 1.5
    model = load_paper_model(finished)
    head = sum(p.numel() for p in model.head.parameters())
    assert sent["head"] == 4 * head * 8
    total = sum(sent[name] for name in ("features", "branch", "head", "ranges"))
    assert metrics["bytes_up_per_owner_per_round"] == pytest.approx(total / 8, abs=2)


def test_the_statement_lists_what_left_the_owners(finished: Path) -> None:
    privacy = json.loads((finished / "privacy.json").read_text())
    words = " ".join(row["what"] for row in privacy["discloses"])
    for left in ("features", "branch", "head", "minimum and maximum", "labelled pixels"):
        assert left in words
    assert all(row["bytes"] > 0 for row in privacy["discloses"])


def test_the_terminal_says_so_even_when_quiet(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feddiff_secure.paper.paper_run.REDUCED", SMALL)
    options = ["--owners", 2, "--partition", "iid", "--rounds", 1, "--quiet", "--json"]
    code, text, words = cli(
        "run", "--profile", "paper", "--data", tiny, "--out", tmp_path / "r", *options
    )
    assert code == 0
    assert words.startswith("no privacy guarantee")
    assert json.loads(text)["privacy"]["guarantee"] == "no privacy guarantee"


@pytest.mark.parametrize(
    "given",
    [
        ["--epsilon", "8"],
        ["--noise", "local"],
        ["--aggregation", "masked"],
        ["--topology", "paired"],
        ["--holds", "hsi,lidar"],
        ["--colluders", "1"],
        ["--nominal-tiles", "100"],
        ["--ledger", "books"],
        ["--key-agreement", "hybrid"],
        ["--delta", "1e-6"],
        ["--owners", "5"],
    ],
)
def test_options_that_would_promise_something_are_refused(
    cli: Cli, tiny: Path, tmp_path: Path, given: list[str]
) -> None:
    out = tmp_path / "refused"
    code, _, words = cli("run", "--profile", "paper", "--data", tiny, "--out", out, *given)
    assert code == 2
    assert [line.split(":")[0] for line in words.splitlines()] == ["error", "hint"]
    assert list(tmp_path.iterdir()) == []


def test_the_defaults_are_those_of_the_paper_and_the_file_reads_back(finished: Path) -> None:
    config = RunConfig(**with_profile_defaults({"profile": "paper"}))
    assert (config.owners, config.topology, config.epsilon) == (8, "split", float("inf"))
    assert config.partition.startswith("dirichlet")
    assert load_config(finished / "config.toml", {}).profile == "paper"
    assert RunConfig().epsilon == 8  # the private profile's defaults stay
    with pytest.raises(UsageError, match="epsilon 8 with profile paper"):
        RunConfig(profile="paper")


def test_data_of_one_sensor_is_refused(cli: Cli, tmp_path: Path) -> None:
    table = tiny_table(pixels=60, bands=20, seed=0).table
    assert table is not None
    only = replace(table, modalities={"hsi": table.modalities["hsi"]})
    write_scene(tmp_path / "hsi.h5", Dataset(table=only))
    out = tmp_path / "run"
    code, _, words = cli("run", "--profile", "paper", "--data", tmp_path / "hsi.h5", "--out", out)
    assert code == 3
    assert "hsi only" in words
    assert not out.exists()
    assert not out.with_name("run.partial").exists()


def test_predict_reads_the_model_and_says_what_it_is(
    cli: Cli, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    code, text, words = cli(
        "predict", finished, "--data", tiny, "--out", tmp_path / "map.png", "--json"
    )
    assert code == 0
    summary = json.loads(text)
    assert summary["guarantee"] == "no privacy guarantee"
    assert summary["accuracy"]["oa"] > 0.3
    code, _, words = cli("predict", finished, "--data", tiny, "--out", tmp_path / "b.png")
    assert "no privacy guarantee" in words
    options = ["--recipient", "analyst"]
    code, _, words = cli("predict", finished, "--data", tiny, "--out", tmp_path / "c.png", *options)
    assert code == 2
    assert "recipient" in words


def test_a_model_reads_back_bit_for_bit_and_a_damaged_one_is_refused(
    finished: Path, tmp_path: Path
) -> None:
    whole = (finished / "model.safetensors").read_bytes()
    assert paper_model_bytes(load_paper_model(finished)) == whole
    with safe_open(finished / "model.safetensors", framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["paper_model"])
    path = tmp_path / "model.safetensors"

    def refused(message: str, parts: dict[str, Any], fields: dict[str, Any]) -> None:
        path.write_bytes(save(parts, {"paper_model": json.dumps(fields)}))
        with pytest.raises(DataError, match=message):
            load_paper_model(tmp_path)

    some = next(iter(tensors))
    refused("missing or unexpected", {n: v for n, v in tensors.items() if n != some}, described)
    refused("not finite", {**tensors, some: np.full_like(tensors[some], np.inf)}, described)
    refused("format", tensors, {**described, "format": "feddiff-secure model 1"})
    refused("guarantee", tensors, {**described, "guarantee": "epsilon 1"})
    refused("width", tensors, {**described, "widths": [7]})
    refused("timestep", tensors, {**described, "timesteps": [True]})
    refused("tile", tensors, {**described, "tile": 0})
    refused("classes", tensors, {**described, "classes": ["a", "a"]})
    refused("head_width", tensors, {**described, "head_width": 10**6})


def test_the_exchanged_features_give_tiles_away_and_the_run_is_left_alone(
    cli: Cli, finished: Path, tmp_path: Path
) -> None:
    before = {p.name: p.read_bytes() for p in finished.iterdir()}
    out = tmp_path / "inversion.json"
    code, text, words = cli("audit", "attack", finished, "--out", out, "--attempts", 60)
    assert code == 0
    assert {p.name: p.read_bytes() for p in finished.iterdir()} == before
    assert (tmp_path / "inversion.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads(out.read_text())
    assert report["kind"] == "inversion"
    assert report["claimed"]["epsilon"] is None
    spectra, public, heights = report["attacks"]
    assert spectra["observed"] == "exchanged HSI features"
    assert public["attacker_knows"] == "the shared branch"
    assert heights["observed"] == "exchanged LiDAR features"
    assert spectra["interval"][0] > 2 * spectra["chance"]
    assert spectra["identified"] <= spectra["interval"][1]
    assert "above chance" in text
    assert "not a proof" in text
    assert "stay with the owner" in words


@pytest.mark.parametrize(
    "given",
    [
        ["--kind", "canary"],
        ["--kind", "guess"],
        ["--canaries", "100"],
        ["--attempts", "3"],
    ],
)
def test_attacks_that_do_not_fit_the_run_are_refused(
    cli: Cli, finished: Path, tmp_path: Path, given: list[str]
) -> None:
    code, _, words = cli("audit", "attack", finished, "--out", tmp_path / "a.json", *given)
    assert code == 2
    assert words.startswith("error:")
    assert list(tmp_path.iterdir()) == []


def test_a_payload_of_other_data_is_refused(cli: Cli, finished: Path, tmp_path: Path) -> None:
    write_scene(tmp_path / "other.h5", tiny_table(pixels=300, bands=20, seed=1))
    options = ["--data", tmp_path / "other.h5", "--out", tmp_path / "a.json"]
    code, _, words = cli("audit", "attack", finished, *options)
    assert code == 3
    assert "rows" in words
