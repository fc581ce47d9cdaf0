"""`run --dry-run` foresees a run without a trace; `--log-file` tells of one without its data."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.cli.console import StageProgress
from feddiff_secure.cli.log_file import log_to
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.owner import Owner
from feddiff_secure.public_log import PUBLIC_LOG, log_release
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


def small(tiny: Path, *more: object) -> list[object]:
    return ["run", "--data", tiny, "--rounds", 4, "--delta", 1e-4, "--owners", 3, *more]


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_dry_run_foresees_what_the_run_then_does(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    code, out, _ = cli(*small(tiny, "--dry-run", "--json"))
    assert code == 0
    seen = json.loads(out)
    code, out, _ = cli(*small(tiny, "--out", tmp_path / "r", "--json", "--quiet"))
    assert code == 0
    done = json.loads(out)
    rows = {row["name"]: row["epsilon"] for row in done["privacy"]["adversaries"]}
    assert {row["name"]: row["epsilon"] for row in seen["adversaries"]} == pytest.approx(rows)
    assert seen["noise_multiplier"] == pytest.approx(done["privacy"]["noise_multiplier"])
    assert seen["releases"] == 6
    assert len(seen["owners"]) == done["owners"] == 3
    assert sum(seen["tiles_by_owner"]) + seen["test_tiles"] == 240
    sent = done["bytes_up_per_owner_per_round"] * seen["releases"]
    assert seen["vector_bytes_per_owner"] < sent < seen["vector_bytes_per_owner"] + 6 * 4000
    assert seen["estimated_seconds"]["features"] > 0


def test_a_dry_run_leaves_no_trace_and_charges_nothing(
    cli: Cli, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    books = tmp_path / "ledger"
    limited = small(tiny, "--ledger", books, "--epsilon", "inf", "--quiet")
    assert cli(*limited, "--dry-run")[0] == 0
    assert list(tmp_path.iterdir()) == []  # no folder either
    books.mkdir(mode=0o700)
    for name, lifetime in (("owner-001", 10.0), ("owner-003", None)):
        path = books / f"{name}.default.jsonl"
        known = {"owner": name, "holding": "default", "delta": 1e-4, "tiles": bytes(32)}
        with Ledger.open(path, lifetime_epsilon=lifetime, **known):
            pass
    before = everything_in(tmp_path)
    code, out, _ = cli(*limited, "--dry-run", "--json")
    assert code == 0
    assert everything_in(tmp_path) == before
    left = json.loads(out)["ledger_epsilon_left"]
    assert left == {"owner-001": pytest.approx(10, rel=0.01), "owner-003": None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--epsilon", "inf"), "no privacy guarantee"),
        (("--aggregation", "encrypted", "--custodian", "--noise", "local"), "noise local"),
        (("--profile", "paper", "--owners", 2, "--delta", 1e-5), "no privacy guarantee"),
    ],
)
def test_a_dry_run_is_readable_in_every_mode(
    cli: Cli, tiny: Path, options: tuple[object, ...], words: str
) -> None:
    code, out, err = cli(
        "run", "--data", tiny, "--rounds", 4, "--delta", 1e-4, *options, "--dry-run"
    )
    assert code == 0, err
    assert out.startswith("plan of a run: nothing was released, charged or written\n")
    assert words in out


def test_a_dry_run_refuses_what_a_run_refuses(cli: Cli, tiny: Path) -> None:
    code, out, err = cli(*small(tiny, "--dropouts", 3, "--dry-run"))
    assert (code, out) == (2, "")
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint"]


LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:"
    r"INFO feddiff-secure \S+: run begins|INFO config digest [0-9a-f]{64}|"
    r"INFO (?:features|secure rounds) (?:begins|ends)|INFO run ends, exit code 0|"
    r"DEBUG release phase=count round=0 attempt=0 tiles=\d+|"
    r"DEBUG release phase=mean round=0 attempt=0|"
    r"DEBUG release phase=train round=\d attempt=0 noised_gradient_norm=[\d.e-]+)"
)


def test_the_log_of_a_run_has_public_events_and_nothing_else(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    options = ("--log-file", log, "--log-level", "debug", "--quiet", "--epsilon", "inf")
    assert cli(*small(tiny, "--out", tmp_path / "r", *options))[0] == 0
    lines = log.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert LINE.fullmatch(line), line
    assert sum("release" in line for line in lines) == 6
    assert cli(*small(tiny, "--out", tmp_path / "r", "--log-file", log, "--quiet"))[0] == 2
    grown = log.read_text(encoding="utf-8").splitlines()
    assert grown[: len(lines)] == lines  # appended, and no DEBUG at the default level
    assert grown[-1].endswith("ERROR run ends, exit code 2 (UsageError)")
    assert not any(" DEBUG " in line for line in grown[len(lines) :])
    assert not PUBLIC_LOG.handlers


def test_an_owners_saturated_fraction_never_reaches_the_log_file(tmp_path: Path) -> None:
    owner = object.__new__(Owner)
    owner.name = "owner-001"
    path = tmp_path / "run.log"
    with log_to(path, "debug", "run"):
        owner._note_saturation(0.125, "train", 3)
        logging.getLogger("feddiff_secure").error("anything of another logger")
        log_release({"phase": "train", "round": 3, "seconds": 0.5, "private": 0.125})
    text = path.read_text(encoding="utf-8")
    assert "0.125" not in text
    assert "another logger" not in text
    assert "release phase=train round=3\n" in text


def test_the_message_of_an_error_stays_out_of_the_log_file(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with pytest.raises(DataError), log_to(path, "info", "run"):
        raise DataError("label 17 of pixel 4", "hint")
    assert "17" not in path.read_text(encoding="utf-8").partition("exit code 3")[2]
    assert path.read_text(encoding="utf-8").endswith("exit code 3 (DataError)\n")


def test_a_log_that_cannot_be_written_is_refused_before_the_run(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    for options in (
        ("--log-file", tmp_path),
        ("--log-file", tmp_path / "r.log", "--log-level", "all"),
    ):
        code, _, err = cli(*small(tiny, "--out", tmp_path / "r", *options))
        assert code == 2
        assert err.startswith("error: log-")
        assert not (tmp_path / "r.partial").exists()


def shown(capsys: pytest.CaptureFixture[str], total: int, *, quiet: bool) -> list[str]:
    with StageProgress(quiet=quiet) as progress:
        progress.stage("features", total)
        for _ in range(total):
            progress.advance()
    return capsys.readouterr().err.splitlines()


def test_progress_is_a_line_a_tenth_and_nothing_when_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, 1000, quiet=False)
    assert lines[0] == "features: 1000 steps"
    assert lines[1:3] == ["features: 100 of 1000 steps", "features: 200 of 1000 steps"]
    assert len(lines) == 11
    assert len(shown(capsys, 3, quiet=False)) == 4
    assert shown(capsys, 1000, quiet=True) == []


def test_no_progress_is_no_division_by_zero(capsys: pytest.CaptureFixture[str]) -> None:
    with StageProgress(quiet=False) as progress:
        progress.stage("nothing", 0)
        progress.advance(0)
    assert capsys.readouterr().err == "nothing: 0 steps\n"


def test_a_gpu_is_refused_clearly_in_both_profiles(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    for profile in ("private", "paper"):
        options: list[Any] = ["--profile", profile, "--device", "cuda", "--out", tmp_path / "r"]
        code, _, err = cli("run", "--data", tiny, *options)
        assert code == 2
        assert err.splitlines()[0].startswith("error: device cuda")
    with pytest.raises(UsageError, match="log-level"), log_to(None, "loud", "run"):
        pass
