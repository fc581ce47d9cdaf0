"""`run --engine flare`: processes of this machine, the same model, and nothing left behind."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from feddiff_secure.audit.verify import verify_run
from feddiff_secure.transcript.leaves import RoundLeaf
from tests.support.forgery import history_of
from tests.support.one_machine import (
    WAIT,
    charged,
    command,
    finished,
    lines,
    site,
    started,
    wait_for,
)


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
