"""`run --engine flare` when one of its processes, or all of them, are killed: nothing is lost."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

from feddiff_privacy.ledger.chain import parse_chain
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.transcript.leaves import AbortLeaf
from tests.support.forgery import history_of
from tests.support.one_machine import (
    COMMAND,
    WAIT,
    charged,
    command,
    finished,
    lines,
    site,
    started,
    still_running,
    tree,
    wait_for,
)


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
