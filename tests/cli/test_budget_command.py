"""`run --ledger` and `budget`: runs share one budget, and an overspend is refused with exit 5."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=120, bands=20, seed=0))
    return path


def run(tiny: Path, out: Path, *more: object) -> list[object]:
    base = ["run", "--data", tiny, "--out", out, "--rounds", 2, "--delta", 1e-4, "--owners", 2]
    return [*base, "--nominal-tiles", 90, "--quiet", *more]


def budget(cli: Cli, path: Path) -> list[dict[str, Any]]:
    code, out, err = cli("budget", path, "--json")
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)["ledgers"]
    return found


def refused(outcome: tuple[int, str, str], expected: int) -> str:
    code, out, err = outcome
    assert code == expected, err
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert out == ""
    return err


@pytest.fixture(scope="module")
def first_run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at ε = 5 on ledgers of lifetime 8: `run` is its directory, `books` the ledgers."""
    folder = tmp_path_factory.mktemp("first")
    options = ("--holding", "plots", "--lifetime-epsilon", 8)
    made = run(tiny, folder / "run", "--epsilon", 5, "--ledger", folder / "books", *options)
    assert run_cli([str(a) for a in made]) == 0
    return folder


@pytest.fixture
def books(first_run: Path, tmp_path: Path) -> Path:
    """A copy of the ledgers after the first run."""
    return Path(shutil.copytree(first_run / "books", tmp_path / "books"))


def test_runs_on_one_ledger_add_up_until_the_next_is_refused(
    cli: Cli, tiny: Path, first_run: Path, books: Path, tmp_path: Path
) -> None:
    privacy = json.loads((first_run / "run" / "privacy.json").read_text())
    assert privacy["lifetime_epsilon"] == pytest.approx(privacy["epsilon"], rel=1e-6)
    assert not any("keeps no ledger" in text for text in privacy["not_covered"])
    first = budget(cli, books)
    assert [one["owner"] for one in first] == ["owner-001", "owner-002"]
    assert {(one["plans"], one["attempts"], one["holding"]) for one in first} == {(1, 3, "plots")}
    assert first[0]["spent"] == {"epsilon": privacy["lifetime_epsilon"], "rule": "pld"}

    options = ("--ledger", books, "--holding", "plots")
    message = refused(cli(*run(tiny, tmp_path / "b", "--epsilon", 5, *options)), 5)
    asked = int(first[0]["left"] * 1000) / 1000
    assert 0 < asked < 5
    assert f"epsilon {asked:g} of 8 is left to owner-001" in message
    assert f"at most --epsilon {asked:g}" in message
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.partial").exists()
    assert [one["spent"] for one in budget(cli, books)] == [one["spent"] for one in first]

    code, out, err = cli(*run(tiny, tmp_path / "c", "--epsilon", asked, "--json", *options))
    assert code == 0, err  # what the hint says fits does
    second = budget(cli, books)
    assert json.loads(out)["privacy"]["lifetime_epsilon"] == second[0]["spent"]["epsilon"] <= 8
    assert second[0]["spent"]["rule"] == "renyi"
    assert {(one["plans"], one["attempts"]) for one in second} == {(2, 6)}
    assert second[0]["left"] < 0.5
    assert second[0]["changed_evidence"] == []


def test_a_run_without_ledger_keeps_a_fresh_one_in_its_directory(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    code, out, err = cli(*run(tiny, tmp_path / "r", "--epsilon", 8, "--json"))
    assert code == 0, err
    privacy = json.loads(out)["privacy"]
    for path in (tmp_path / "r", tmp_path / "r" / "ledger"):
        found = budget(cli, path)
        assert {one["lifetime_epsilon"] for one in found} == {None}
        assert {one["left"] for one in found} == {None}
        assert found[0]["spent"]["epsilon"] == privacy["lifetime_epsilon"]
    one = tmp_path / "r" / "ledger" / "owner-001.default.jsonl"
    assert budget(cli, one)[0]["attempts"] == 3
    code, text, _ = cli("budget", tmp_path / "r")
    assert code == 0
    for word in ("owner-002", "default", "no limit", "one plan, PLD"):
        assert word in text


def test_a_run_without_noise_has_no_finite_lifetime(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, err = cli(*run(tiny, tmp_path / "r", "--epsilon", "inf", "--json"))
    assert code == 0, err
    assert json.loads(out)["privacy"]["lifetime_epsilon"] is None
    assert budget(cli, tmp_path / "r")[0]["spent"] == {"epsilon": None, "rule": "pld"}
    options = ("--ledger", tmp_path / "books", "--lifetime-epsilon", 8)
    refused(cli(*run(tiny, tmp_path / "s", "--epsilon", "inf", *options)), 5)


def test_a_deleted_or_older_ledger_is_refused_by_the_peers(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "books"
    options = ("--epsilon", "inf", "--ledger", folder)
    assert cli(*run(tiny, tmp_path / "a", *options))[0] == 0
    ledger = folder / "owner-001.default.jsonl"
    older = ledger.read_bytes()
    assert cli(*run(tiny, tmp_path / "b", *options))[0] == 0
    newest = ledger.read_bytes()
    for content in (None, older):
        ledger.unlink()
        if content is not None:
            ledger.write_bytes(content)
        message = refused(cli(*run(tiny, tmp_path / "c", *options)), 6)
        assert "owner-001.default" in message
        assert not (tmp_path / "c.partial").exists()
    ledger.write_bytes(newest)
    assert cli(*run(tiny, tmp_path / "c", *options))[0] == 0


def test_a_ledger_keeps_its_own_lifetime(cli: Cli, tiny: Path, books: Path, tmp_path: Path) -> None:
    options = ("--epsilon", "inf", "--ledger", books, "--holding", "plots")
    message = refused(cli(*run(tiny, tmp_path / "b", *options, "--lifetime-epsilon", 20)), 2)
    assert "lifetime epsilon is 8" in message
    refused(cli(*run(tiny, tmp_path / "b", *options)), 5)
    assert not (tmp_path / "b.partial").exists()


def test_damage_and_a_busy_ledger_are_two_lines(
    cli: Cli, tiny: Path, books: Path, tmp_path: Path
) -> None:
    options = ("--epsilon", "inf", "--ledger", books, "--holding", "plots")
    path = books / "owner-002.plots.jsonl"
    with Ledger.open(
        path,
        owner="owner-002",
        holding="plots",
        lifetime_epsilon=None,
        delta=1e-4,
        tiles=bytes(32),
    ):
        assert "in use" in refused(cli(*run(tiny, tmp_path / "b", *options)), 2)
        assert len(budget(cli, books)) == 2
    path.write_bytes(path.read_bytes().replace(b'"seq":1', b'"seq":2'))
    assert "line 2" in refused(cli("budget", books), 3)
    assert "line 2" in refused(cli(*run(tiny, tmp_path / "b", *options)), 3)
    assert not (tmp_path / "b.partial").exists()


def test_budget_says_where_to_look(cli: Cli, tmp_path: Path) -> None:
    refused(cli("budget", tmp_path / "missing"), 3)
    assert "no ledger" in refused(cli("budget", tmp_path), 3)
    (tmp_path / "config.toml").write_text("")
    assert "elsewhere" in refused(cli("budget", tmp_path), 3)
    (tmp_path / "note.jsonl").write_text("not a ledger\n")
    assert "line 1" in refused(cli("budget", tmp_path / "note.jsonl"), 3)


@pytest.mark.parametrize(
    "options",
    [
        ("--holding", "../x"),
        ("--holding", "a.b"),
        ("--holding", ""),
        ("--lifetime-epsilon", 0),
        ("--lifetime-epsilon", "nan"),
        ("--lifetime-epsilon", "inf"),
        ("--ledger", ""),
        ("--ledger", "/dev/null"),
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_wrong_ledger_options_are_exit_2(
    cli: Cli, tiny: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    refused(cli(*run(tiny, tmp_path / "r", "--epsilon", "inf", *options)), 2)
    assert not (tmp_path / "r.partial").exists()


def test_an_interrupted_run_keeps_the_ledger_of_what_it_released(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_self: object, _line: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("feddiff_secure.report.run_directory.RunDirectory.log", interrupt)
    assert cli(*run(tiny, tmp_path / "r", "--epsilon", "inf"))[0] == 130
    found = budget(cli, tmp_path / "r.partial")
    assert {(one["attempts"], one["open_plans"]) for one in found} == {(1, 1)}
