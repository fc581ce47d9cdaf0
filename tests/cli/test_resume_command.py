"""`resume` on the command line: what Ctrl-C and SIGKILL leave goes on; the rest is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.federation.resume_folder import RunLock
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli
from tests.support.interrupted import watching


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


def small(tiny: Path, out: Path, *more: object) -> list[str]:
    base = ["run", "--data", tiny, "--out", out, "--delta", 1e-4, "--owners", 3, "--quiet"]
    return [str(a) for a in (*base, *more)]


def interrupt(arguments: list[str], at: int) -> int:
    """Cli a command and press Ctrl-C after the exchange with number `at`; its exit code."""
    count = 0

    def step(_phase: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt

    with watching(step):
        return run_cli(arguments)


@pytest.fixture(scope="module")
def stopped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`DIR.partial` of a private run that was stopped in its second training round."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    options = ["--epsilon", 8, "--rounds", 4, "--nominal-tiles", 150, "--spare-attempts", 1]
    assert interrupt(small(tiny, out, *options), 3 + 2 * 8 + 5) == 130
    return out.with_name("run.partial")


@pytest.fixture
def partial(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(stopped, tmp_path / "run.partial"))


def refused(found: tuple[int, str, str], code: int) -> str:
    assert found[0] == code, found
    error, hint = found[2].splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error


def without_seconds(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    assert metrics.pop("seconds")
    return metrics


def test_a_killed_process_is_gone_on_with_bit_for_bit(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    quiet = ["--epsilon", "inf", "--rounds", 30]
    assert run_cli(small(tiny, tmp_path / "whole", *quiet)) == 0
    command = [sys.executable, "-m", "feddiff_secure", *small(tiny, tmp_path / "run", *quiet)]
    log = tmp_path / "run.partial" / "metrics.jsonl"
    with subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 5):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert cli("resume", tmp_path / "run.partial", "--quiet")[0] == 0
    assert not (tmp_path / "run.partial").exists()
    models = [(tmp_path / d / "model.safetensors").read_bytes() for d in ("run", "whole")]
    assert models[0] == models[1]
    assert without_seconds(tmp_path / "run") == without_seconds(tmp_path / "whole")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [0, 0, *range(30)]
    assert cli("audit", "verify", tmp_path / "run")[0] == 0


def test_ctrl_c_says_how_to_go_on_and_resume_does(
    cli: Cli, partial: Path, tiny: Path, tmp_path: Path
) -> None:
    code, out, _ = cli("resume", partial, "--json", "--quiet")
    assert code == 0
    record = json.loads(out)
    assert record["out"] == str(tmp_path / "run")
    assert [e["attempts"] for e in record["privacy"]["phases"]] == [1, 5]
    assert not partial.exists()
    assert cli("audit", "verify", tmp_path / "run")[0] == 0
    found = json.loads(cli("budget", tmp_path / "run", "--json")[1])
    assert {one["attempts"] for one in found["ledgers"]} == {6}
    assert run_cli(small(tiny, tmp_path / "again", "--epsilon", "inf", "--rounds", 2)) == 0
    names = [{p.name for p in (tmp_path / d).rglob("*")} for d in ("run", "again")]
    assert names[0] == names[1]


def test_the_message_of_ctrl_c_names_the_round_and_the_command(
    cli: Cli, tiny: Path, tmp_path: Path
) -> None:
    arguments = small(tiny, tmp_path / "run", "--epsilon", "inf", "--rounds", 4)
    count = 0

    def step(phase: str) -> None:
        nonlocal count
        count += phase == "unmask"
        if count == 4:  # count, mean, and two training rounds
            raise KeyboardInterrupt

    with watching(step):
        code, _, err = cli(*arguments)
    assert code == 130
    partial = tmp_path / "run.partial"
    assert err.splitlines() == [
        "error: stopped after round 1 of 4",
        f"hint: go on with: feddiff-secure resume {partial}",
    ]
    for command in (["audit", "verify", partial], ["predict", partial, "--data", tiny]):
        more = ["--out", tmp_path / "map.png"] if command[0] == "predict" else []
        assert "unfinished" in refused(cli(*command, *more), 2)


def test_an_interrupted_run_without_a_release_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    arguments = small(tiny, tmp_path / "run", "--epsilon", "inf", "--rounds", 2)
    assert interrupt(arguments, 5) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_refused_while_one_is_at_the_run(cli: Cli, partial: Path) -> None:
    lock = RunLock(partial)
    try:
        assert "another process" in refused(cli("resume", partial), 2)
    finally:
        lock.release()


@pytest.mark.parametrize("cut", [0, 40, 1000, None])
def test_a_damaged_checkpoint_is_refused(cli: Cli, partial: Path, cut: int | None) -> None:
    path = partial / "resume" / "checkpoint"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut] if cut is not None else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "checkpoint" in refused(cli("resume", partial), 3)


def test_changed_data_is_refused(
    cli: Cli, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data.h5"
    write_scene(data, tiny_table(pixels=240, bands=20, seed=0))
    arguments = small(data, tmp_path / "run", "--epsilon", "inf", "--rounds", 2)
    assert interrupt(arguments, 20) == 130
    capsys.readouterr()
    data.unlink()
    write_scene(data, tiny_table(pixels=240, bands=20, seed=1))
    message = refused(cli("resume", tmp_path / "run.partial", "--quiet"), 3)
    assert "the data is not what the run began with" in message
    data.unlink()
    write_scene(data, tiny_table(pixels=240, bands=20, seed=0))
    assert cli("resume", tmp_path / "run.partial", "--quiet")[0] == 0


def test_another_configuration_is_refused(cli: Cli, partial: Path) -> None:
    path = partial / "config.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1"))
    assert "config_digest" in refused(cli("resume", partial), 2)
    path.write_text(dump_config(RunConfig(seed=1)))
    assert "not the configuration" in refused(cli("resume", partial), 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profile": "paper", "epsilon": float("inf"), "aggregation": "plain"}, "profile paper"),
        ({"aggregation": "encrypted"}, "the owners hold the model"),
        ({}, "before anything could be released"),
    ],
    ids=["paper", "encrypted", "too early"],
)
def test_runs_that_keep_nothing_to_go_on_from_are_refused(
    cli: Cli, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    paper = {"owners": 8, "partition": "dirichlet:0.5", "topology": "split"}
    config = RunConfig(**options, **(paper if "profile" in options else {}))
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "config.toml").write_text(dump_config(config))
    assert said in refused(cli("resume", tmp_path / "run.partial"), 2)


def test_only_an_unfinished_directory_is_gone_on_with(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert "not the directory of an interrupted run" in refused(cli("resume", tmp_path / "run"), 2)
    assert "not a directory" in refused(cli("resume", tmp_path / "gone.partial"), 2)
    (tmp_path / "run.partial").mkdir()
    assert "exists" in refused(cli("resume", tmp_path / "run.partial"), 2)
    (tmp_path / "run").rmdir()
    assert "config.toml" in refused(cli("resume", tmp_path / "run.partial"), 2)


def test_a_run_killed_before_it_got_its_name_gets_it(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    assert run_cli(small(tiny, tmp_path / "run", "--epsilon", "inf", "--rounds", 2)) == 0
    (tmp_path / "run").rename(tmp_path / "run.partial")
    (tmp_path / "run.partial" / "resume").mkdir()
    (tmp_path / "run.partial" / "resume" / "lock").touch()
    assert cli("resume", tmp_path / "run.partial", "--quiet")[0] == 0
    assert cli("audit", "verify", tmp_path / "run")[0] == 0
