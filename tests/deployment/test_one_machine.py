"""`run --engine flare`: processes of this machine, the same model, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from feddiff_privacy.ledger.chain import parse_chain
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.transcript.leaves import AbortLeaf, RoundLeaf
from scripts.make_tiny_table import tiny_table
from tests.support.forgery import history_of

REPOSITORY = Path(__file__).parents[2]
WAIT = 240.0  # seconds: sites compute features on a shared machine
# A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from feddiff_secure.cli.main import main; main()"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


def command(tiny: Path, out: Path, *more: object) -> list[str]:
    base = ["run", "--data", tiny, "--out", out, "--delta", 1e-4, "--json", *more]
    return [sys.executable, "-c", COMMAND, *map(str, base)]


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A run under way; it is killed, should the test fail before it ends."""
    roots = [REPOSITORY, REPOSITORY / "crypto", REPOSITORY / "privacy"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(arguments: list[str]) -> tuple[int, str, str]:
    with started(arguments) as process:
        out, err = process.communicate(timeout=WAIT)
        return process.returncode, out.decode(), err.decode()


def wait_for(what: Callable[[], Any], seconds: float = WAIT) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.1)
    return found


def lines(out: Path) -> int:
    path = out.with_name(out.name + ".partial") / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def site(process: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    """The process of a site, or of the server, and its job process."""
    mark = "fed_server.json" if name == "server" else f"uid={name}"
    top = next(one for one in tree(process) if mark in one.cmdline())
    return [top, *top.children(recursive=True)]


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=15)[1]


@pytest.mark.slow
def test_the_model_is_that_of_one_process_bit_for_bit_and_its_transcript_verifies(
    tiny: Path, tmp_path: Path
) -> None:
    options = ("--epsilon", "inf", "--rounds", 3, "--owners", 3)
    code, _, err = finished(command(tiny, tmp_path / "here", *options))
    assert code == 0, err
    code, out, err = finished(command(tiny, tmp_path / "flare", *options, "--engine", "flare"))
    assert code == 0, err
    metrics = json.loads(out)
    assert metrics["deployment"] == "flare, one machine"
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("here", "flare")]
    assert models[0] == models[1]
    here = json.loads((tmp_path / "here" / "metrics.json").read_text())
    assert {k: here[k] for k in ("oa", "aa", "kappa", "tiles", "n_test")} == {
        k: metrics[k] for k in ("oa", "aa", "kappa", "tiles", "n_test")
    }
    verdict = verify_run(tmp_path / "flare")
    assert verdict.verified, verdict.to_lines()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flare", "here"]
    files = [{p.name for p in (tmp_path / run).iterdir()} for run in ("here", "flare")]
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_frozen_owner_costs_at_most_its_round_and_a_killed_one_is_a_dropout(
    tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r"
    options = ("--epsilon", 8, "--rounds", 30, "--owners", 4, "--dropouts", 1, "--engine", "flare")
    with started(command(tiny, out, *options)) as process:
        wait_for(lambda: lines(out) >= 5)
        frozen = site(process, "owner-002")
        for one in frozen:
            one.suspend()
        time.sleep(20)
        before = lines(out)
        for one in frozen:
            one.resume()
        wait_for(lambda: lines(out) >= before + 5)
        site(process, "owner-003")[0].kill()
        _, err = process.communicate(timeout=WAIT)
        assert process.returncode == 0, err.decode()
    rounds = [leaf for leaf in history_of(out).rounds if isinstance(leaf, RoundLeaf)]
    missed = {name: [name not in leaf.inputs for leaf in rounds] for name in rounds[0].inputs}
    assert len(rounds) == 32
    assert sum(missed["owner-002"]) <= 1
    gone = missed["owner-003"].index(True)
    assert all(missed["owner-003"][gone:])  # FLARE does not take a killed site back into a job
    assert not any(missed["owner-001"] + missed["owner-004"])
    verdict = verify_run(out)
    assert verdict.verified, verdict.to_lines()
    for name, absent in missed.items():
        spent = charged(out / "ledger" / f"{name}.default.jsonl")
        vectors = len(absent) - sum(absent)
        # One more where the attempt was booked and its vector came too late; never one less.
        assert vectors <= spent <= vectors + 1, name


def check_goes_on(out: Path, rounds: int) -> None:
    """A finished run whose process was killed once: at most one attempt is lost, none is twice."""
    verdict = verify_run(out)
    assert verdict.verified, verdict.to_lines()
    history = history_of(out)
    lost = [leaf for leaf in history.attempts if isinstance(leaf, AbortLeaf)]
    assert len(lost) <= 1
    releases = [leaf for leaf in history.rounds if leaf.key.phase == "train"]
    assert len(releases) + len(lost) == rounds
    for path in (out / "ledger").glob("*.jsonl"):
        made = len(history.rounds)
        assert made <= charged(path) <= made + len(lost), path.name
        reserved = parse_chain(path.read_bytes(), path).balance.reservations
        assert len(reserved) == 1, path.name
    assert not (out / "resume").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "which"),
    [("owner-003", "site"), ("owner-003", "job"), ("server", "site")],
)
def test_a_killed_process_costs_at_most_its_round_and_the_run_goes_on_by_itself(
    tiny: Path, tmp_path: Path, name: str, which: str
) -> None:
    """A job's process is a child of its site's: that one goes on, whatever happens to the job."""
    out = tmp_path / "r"
    options = ("--epsilon", 8, "--rounds", 12, "--owners", 3, "--engine", "flare")
    with started(command(tiny, out, *options)) as process:
        wait_for(lambda: lines(out) >= 4)
        own, job = site(process, name)
        (own if which == "site" else job).kill()
        if which == "job":
            assert own.is_running()
            assert own.status() != psutil.STATUS_ZOMBIE
        _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 0, err.decode()
    check_goes_on(out, 12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_and_can_be_resumed(
    tiny: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "r"
    options = ("--epsilon", 8, "--rounds", 40, "--owners", 2, "--engine", "flare")
    with started(command(tiny, out, *options)) as process:
        wait_for(lambda: lines(out) >= 3)
        everything = tree(process)
        assert len(everything) == 6  # server and two sites, each with its job
        process.send_signal(how)
        _, err = process.communicate(timeout=200)
        assert not still_running(everything)
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert not (tmp_path / "r.flare").exists()
        assert f"go on with: feddiff-secure resume {tmp_path / 'r.partial'}" in err.decode()
    resume = [sys.executable, "-c", COMMAND, "resume", str(tmp_path / "r.partial"), "--json"]
    code, _, err_text = finished(resume)
    assert code == 0, err_text
    check_goes_on(out, 40)


def test_without_flare_installed_the_engine_is_refused_in_two_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from feddiff_secure.cli.main import run_cli  # noqa: PLC0415  # after the modules are hidden

    for name in [m for m in sys.modules if m.startswith(("nvflare", "feddiff_secure.deployment"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "nvflare", None)
    for name in [m for m in sys.modules if m.startswith("feddiff_secure.transport.flare")]:
        monkeypatch.delitem(sys.modules, name)
    assert run_cli(["run", "--engine", "flare", "--out", str(tmp_path / "r")]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: engine flare: NVIDIA FLARE is not installed"
    assert hint.startswith("hint: install it with: pip install 'feddiff-secure[flare]'")
    assert not list(tmp_path.iterdir())


def charged(path: Path) -> int:
    """Attempts spent in a ledger."""
    balance = parse_chain(path.read_bytes(), path).balance
    return sum(sum(one.spent.values()) for one in balance.reservations.values())


def test_a_run_that_cannot_be_is_refused_before_a_process_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from feddiff_secure.cli.main import run_cli  # noqa: PLC0415
    from feddiff_secure.transport.flare.processes import FlareProcesses  # noqa: PLC0415

    def never(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(FlareProcesses, "start_server", never)
    missing = tmp_path / "none.h5"
    arguments = ["run", "--engine", "flare", "--data", str(missing), "--out", str(tmp_path / "r")]
    assert run_cli(arguments) == 3
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert not list(tmp_path.iterdir())
