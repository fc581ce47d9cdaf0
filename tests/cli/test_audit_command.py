"""`audit attack`: what it writes, what it refuses, and when it exits with 6."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few rounds."""
    folder = tmp_path_factory.mktemp("audited")
    write_scene(folder / "tiny.h5", tiny_table(pixels=120, bands=20, seed=0))
    options = ["--rounds", "3", "--owners", "3", "--delta", "1e-4", "--epsilon", "8", "--quiet"]
    out = ["--out", str(folder / "run")]
    assert run_cli(["run", "--data", str(folder / "tiny.h5"), *options, *out]) == 0
    return folder / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_an_audit_writes_json_and_a_picture_and_leaves_the_run_alone(
    cli: Cli, audited: Path, tmp_path: Path
) -> None:
    before = contents(audited)
    out = tmp_path / "audit.json"
    code, text, words = cli(
        "audit", "attack", audited, "--out", out, "--canaries", 400, "--shadows", 4
    )
    assert code == 0
    assert contents(audited) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "audit.png"]
    assert (tmp_path / "audit.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads(out.read_text())
    assert 7.9 < report["claimed"]["epsilon"] <= 8
    assert report["claim_refuted"] is False
    assert report["observer"]["noise_shares"] == 2
    assert max(bound["ceiling"] for bound in report["lower_bounds"]) > 8  # it could have refuted
    for bound in report["lower_bounds"]:
        assert 0 <= bound["epsilon"] <= bound["ceiling"]
    assert "not a bound" in report["estimate"]["method"]
    assert 0.6 < report["canaries"]["noise_ratio"] < 1.4
    assert 0 <= report["membership_inference"]["auc"] <= 1
    for wanted in ("ceiling", "not a bound", "LiRA", "claimed"):
        assert wanted in text
    assert "results on private data stay with the owner" in words
    assert "results on private data stay with the owner" in report["note"]


def test_a_bound_above_the_claim_is_exit_code_6_wherever_the_data_lies_now(
    cli: Cli, audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(value: Any, grid: Any, *, share_std: float, **kwargs: Any) -> Any:
        return contribution(value, grid, share_std=max(share_std / 6, 1.0), **kwargs)

    monkeypatch.setattr("feddiff_secure.federation.owner.contribution", faulty)
    out, moved = tmp_path / "audit.json", tmp_path / "moved.h5"
    (audited.parent / "tiny.h5").rename(moved)
    options = ["--canaries", 500, "--shadows", 0, "--data", moved, "--json", "--quiet"]
    code, text, words = cli("audit", "attack", audited, "--out", out, *options)
    moved.rename(audited.parent / "tiny.h5")
    assert code == 6
    assert json.loads(text)["claim_refuted"] is True
    assert json.loads(out.read_text())["claim_refuted"] is True
    assert words.startswith("error: ")
    assert "is claimed" in words


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("run/audit.json", "inside the run directory"),
        ("run/../run/deep.json", "inside the run directory"),
        ("audit.txt", "not a .json path"),
        ("absent/audit.json", "not a directory"),
        ("taken.json", "exists"),
    ],
)
def test_output_in_the_wrong_place_is_refused_at_once(
    cli: Cli, audited: Path, where: str, wanted: str
) -> None:
    (audited.parent / "taken.json").touch()
    before = contents(audited)
    code, _, words = cli("audit", "attack", audited, "--out", audited.parent / where)
    assert (code, len(words.splitlines())) == (2, 2)
    assert wanted in words
    assert contents(audited) == before


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("not json", "not JSON"),
        ("[]", "not a JSON object"),
        ({"epsilon": "8"}, "epsilon is"),
        ({"epsilon": None}, "epsilon is"),
        ({"delta": 2}, "delta is"),
        ({"noise_multiplier": 1.0}, "gives"),
    ],
)
def test_a_statement_that_is_not_the_runs_is_refused(
    cli: Cli,
    audited: Path,
    tmp_path: Path,
    change: str | dict[str, Any],
    wanted: str,
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(audited, copy)
    statement = json.loads((copy / "privacy.json").read_text())
    text = change if isinstance(change, str) else json.dumps({**statement, **change})
    (copy / "privacy.json").write_text(text)
    code, _, words = cli("audit", "attack", copy, "--out", tmp_path / "a.json", "--quiet")
    assert code == 3
    assert wanted in words
    assert not (tmp_path / "a.json").exists()


def test_an_edited_configuration_and_a_missing_run_are_refused(
    cli: Cli, audited: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(audited, copy)
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("rounds = 3", "rounds = 2"))
    assert cli("audit", "attack", copy, "--out", tmp_path / "a.json")[0] == 2
    code, _, words = cli("audit", "attack", tmp_path / "none", "--out", tmp_path / "a.json")
    assert code == 2
    assert "not a directory" in words


def test_canaries_in_a_run_of_single_sensors_are_refused_and_inversion_is_not(
    cli: Cli, tmp_path: Path
) -> None:
    write_scene(tmp_path / "tiny.h5", tiny_table(pixels=240, bands=20, seed=0))
    run = tmp_path / "split"
    options = ["--topology", "split", "--owners", 4, "--rounds", 2, "--delta", 1e-4, "--quiet"]
    assert cli("run", "--data", tmp_path / "tiny.h5", "--out", run, *options)[0] == 0
    out = tmp_path / "audit.json"
    code, _, words = cli("audit", "attack", run, "--out", out, "--canaries", 100, "--shadows", 0)
    assert code == 2
    assert "canaries span both sensors" in words
    assert not out.exists()
    inversion = ["--kind", "inversion", "--attempts", 20, "--json", "--quiet"]
    code, text, _ = cli("audit", "attack", run, "--out", out, *inversion)
    assert code == 0
    update, _noised, masked = json.loads(text)["attacks"]
    assert update["observed"] == "one plain update"
    assert masked["candidates"] == update["candidates"] >= 2
