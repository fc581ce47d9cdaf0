"""`--prior dp` from the command line: run, verify, predict, resume, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.model.adapter import adapted_prior
from feddiff_secure.model.features import hsi_features
from feddiff_secure.model.model_file import load_model, model_bytes
from feddiff_secure.model.prior import load_prior
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli
from tests.support.interrupted import watching

ROUNDS = "prior_rounds = 3\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training file in which a third is unlabelled, a test file, a configuration and a run."""
    folder = tmp_path_factory.mktemp("adapted")
    for name, seed in (("train.h5", 0), ("test.h5", 1)):
        write_scene(folder / name, tiny_table(pixels=90, bands=8, seed=seed))
    with h5py.File(folder / "train.h5", "r+") as file:
        file["label"][:30] = 0
    (folder / "options.toml").write_text(ROUNDS)
    arguments = command(folder, folder / "run", "--epsilon", 8, "--test", folder / "test.h5")
    assert run_cli(arguments) == 0
    return folder


def command(folder: Path, out: Path, *more: object) -> list[str]:
    base = ["run", "--data", folder / "train.h5", "--config", folder / "options.toml"]
    given = [*base, "--out", out, "--prior", "dp", "--rounds", 2, "--delta", 1e-4, "--quiet"]
    return [str(a) for a in (*given, *more)]


def test_a_run_says_what_was_adapted_and_within_which_epsilon(cli: Cli, folder: Path) -> None:
    run = folder / "run"
    privacy = json.loads((run / "privacy.json").read_text())
    assert 0.99 * 8 <= privacy["epsilon"] <= 8
    assert privacy["cross_check"]["agrees"] is True
    phases = {event["phase"]: event for event in privacy["phases"]}
    assert list(phases) == ["count", "prior", "mean", "train"]
    assert phases["prior"]["attempts"] == 3
    assert phases["prior"]["dimension"] == 832
    accesses = {row["how"]: row for row in privacy["data_accesses"]}
    assert accesses["phase prior"]["covered"] is True
    assert "labelled or not" in accesses["phase prior"]["what"]
    assert "adapted in this run (phase prior)" in (run / "privacy.md").read_text()
    assert "Frozen features saw no owner's data" not in (run / "privacy.md").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["count", *["prior"] * 3, "mean", *["train"] * 2]
    adapter = load_file(run / "model.safetensors")["adapter.hsi"]
    assert 0 < np.linalg.norm(adapter) < 1
    ledgers = json.loads(cli("budget", run, "--json")[1])["ledgers"]
    assert {ledger["attempts"] for ledger in ledgers} == {1 + 3 + 1 + 2}


def test_it_verifies_and_a_touched_adapter_does_not(cli: Cli, folder: Path, tmp_path: Path) -> None:
    verdict = json.loads(cli("audit", "verify", folder / "run", "--json")[1])
    assert {step["status"] for step in verdict["steps"]} == {"ok"}
    spoilt = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    path = spoilt / "model.safetensors"
    adapter = load_file(path)["adapter.hsi"].tobytes()
    data = path.read_bytes()
    at = data.index(adapter)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    code, out, _ = cli("audit", "verify", spoilt, "--json")
    assert code == 6
    found = json.loads(out)
    assert found["failed_step"] == 4  # the sums give another one, whatever the manifest says
    assert "the sums give" in found["steps"][3]["detail"]


def test_predict_gives_the_runs_own_test_predictions(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    given = ("predict", folder / "run", "--data", folder / "test.h5", "--json")
    code, out, err = cli(*given, "--out", tmp_path / "map.png")
    assert code == 0, err
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    found = json.loads(out)["accuracy"]
    assert {name: metrics[name] for name in ("oa", "aa", "kappa", "n_test")} == found


def test_a_model_file_brings_its_adapted_branch_along(folder: Path) -> None:
    model, adapter = load_model(folder / "run"), load_file(folder / "run" / "model.safetensors")
    values = adapter["adapter.hsi"]
    spectra = np.random.default_rng(0).uniform(0.1, 0.5, (4, 8)).astype(np.float32)
    found = hsi_features(model.features.priors["hsi"], spectra, model.features.resampling)
    shipped = load_prior("hsi")
    wanted = hsi_features(adapted_prior(shipped, values), spectra, model.features.resampling)
    assert np.array_equal(found, wanted)
    assert not np.array_equal(found, hsi_features(shipped, spectra, model.features.resampling))
    assert model_bytes(model) == (folder / "run" / "model.safetensors").read_bytes()


def test_an_owners_report_lists_the_messages_of_the_phase(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    given = ("audit", "report", folder / "run", "--owner", "owner-001", "--out", tmp_path / "r")
    code, _, err = cli(*given)
    assert code == 0, err
    messages = json.loads((tmp_path / "r" / "report.json").read_text())["messages"]
    assert messages["vectors"]["messages"] == messages["vectors"]["in_sums"] == 7
    shown = [row for row in messages["list"] if (row["release"] or {}).get("phase") == "prior"]
    sent = [row for row in shown if row["phase"] == "mask" and row["direction"] == "sent"]
    assert [row["release"]["round"] for row in sent] == [0, 1, 2]
    assert all(row["bytes"] > 4 * 832 for row in sent)


def test_a_run_stopped_in_the_phase_goes_on_to_the_same_bits(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    def stop(phase: str) -> None:
        nonlocal seen
        seen += phase == "unmask"
        if seen == 3:  # the count, and two rounds of the adapter
            raise KeyboardInterrupt

    models = []
    for name in ("whole", "stopped"):
        arguments, seen = command(folder, tmp_path / name, "--epsilon", "inf"), 0
        if name == "stopped":
            with watching(stop):
                assert run_cli(arguments) == 130
            assert run_cli(["resume", str(tmp_path / "stopped.partial"), "--quiet"]) == 0
        else:
            assert run_cli(arguments) == 0
        models.append((tmp_path / name / "model.safetensors").read_bytes())
    assert models[0] == models[1]
    assert cli("audit", "verify", tmp_path / "stopped")[0] == 0


def test_owners_without_hsi_take_part_in_mixed(cli: Cli, folder: Path, tmp_path: Path) -> None:
    more = ("--topology", "mixed", "--holds", "hsi,lidar,both", "--epsilon", 8, "--owners", 3)
    assert cli(*command(folder, tmp_path / "r", *more))[0] == 0
    assert cli("audit", "verify", tmp_path / "r")[0] == 0


def test_plain_sums_with_local_noise_are_a_baseline_of_it_too(
    cli: Cli, folder: Path, tmp_path: Path
) -> None:
    more = ("--aggregation", "plain", "--noise", "local", "--epsilon", 8)
    assert cli(*command(folder, tmp_path / "r", *more))[0] == 0
    assert cli("audit", "verify", tmp_path / "r")[0] == 0


def test_a_dry_run_names_the_phase(cli: Cli, folder: Path, tmp_path: Path) -> None:
    arguments = command(folder, tmp_path / "r", "--dry-run")
    code, out, err = cli(*arguments)
    assert code == 0, err
    assert "1 count, 3 prior, 1 mean, 2 train" in out + err
    assert not (tmp_path / "r").exists()


def refused(found: tuple[int, str, str], code: int, words: str) -> None:
    assert found[0] == code, found
    error, hint = [line for line in found[2].splitlines() if not line.endswith("steps")]
    assert words in error
    assert hint.startswith("hint: ")


def test_attacks_and_data_without_hsi_are_refused(cli: Cli, folder: Path, tmp_path: Path) -> None:
    for kind in ("canary", "inversion"):
        found = cli("audit", "attack", folder / "run", "--kind", kind, "--out", tmp_path / "a.json")
        refused(found, 2, "prior dp")
    lidar = tmp_path / "lidar.h5"
    shutil.copy(folder / "train.h5", lidar)
    with h5py.File(lidar, "r+") as file:
        del file["hsi"]
    arguments: Any = command(folder, tmp_path / "r")
    arguments[2] = str(lidar)
    refused(cli(*arguments), 3, "the data holds no HSI")
    assert not list(tmp_path.glob("r*"))
