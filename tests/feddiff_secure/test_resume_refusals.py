"""What an interrupted run does not go on from: closed plans, other data, old copies, damage."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import (
    DataError,
    ResumeRefusedError,
    UsageError,
    VerificationError,
)
from feddiff_secure.federation.resume_folder import RunLock
from feddiff_secure.federation.secure_rounds import all_tiles
from scripts.make_tiny_table import tiny_table
from tests.support import transcripts
from tests.support.interrupted import (
    SmallRun,
    StoppedError,
    stop_at,
    stopping,
    verified,
    watching,
)
from tests.support.memoised import memoise_accounting

QUIET: dict[str, Any] = {"epsilon": math.inf}
NOISY: dict[str, Any] = {"epsilon": 8.0, "nominal_tiles": 90}


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=60, bands=8, seed=0))
    return path


def test_a_plan_that_another_run_closed_is_refused(data: Path, tmp_path: Path) -> None:
    books = {"ledger": str(tmp_path / "books")}
    run = SmallRun.of(tmp_path / "run", data, **NOISY, **books)
    stop_at(run, "witness", 0)
    other = SmallRun.of(tmp_path / "other", data, **QUIET, nominal_tiles=90, **books)
    plan = transcripts.plan_for(other.config, 3)
    other.plan = replace(plan, session="1" * 32)
    other.finish()
    with pytest.raises(ResumeRefusedError, match="has closed it"):
        run.rounds()


def test_other_tiles_are_refused_and_the_run_stays_open(data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "witness", 0)
    with pytest.raises(DataError, match="its tiles are not those"):
        run.with_other_tiles().rounds()
    changed = all_tiles(run.with_other_tiles().prepared)
    with pytest.raises(DataError, match="the data is not what"):
        run.folder.check_data(changed)
    run.finish()
    verified(run.directory)


def test_an_older_copy_of_the_directory_is_noticed(data: Path, tmp_path: Path) -> None:
    books = {"ledger": str(tmp_path / "books")}
    run = SmallRun.of(tmp_path / "run", data, **NOISY, **books)
    stop_at(run, "witness", 0)
    shutil.copytree(run.directory, tmp_path / "copy")
    with watching(stopping(12)), pytest.raises(StoppedError):
        run.rounds()
    shutil.rmtree(run.directory)
    shutil.move(tmp_path / "copy", run.directory)
    with pytest.raises(VerificationError, match="older copy"):
        run.rounds()


def test_a_restored_ledger_is_noticed(data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "witness", 0)
    book = run.ledgers / "owner-001.default.jsonl"
    book.write_bytes(b"".join(book.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(VerificationError, match="ledger is an older copy"):
        run.rounds()


@pytest.mark.parametrize("where", [0, 40, 200, 3000, -1])
def test_a_checkpoint_with_a_changed_byte_is_refused(
    where: int, data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "witness", 0)
    path = run.folder.checkpoint.path
    changed = bytearray(path.read_bytes())
    changed[min(where, len(changed) - 1)] ^= 1
    path.write_bytes(bytes(changed))
    with pytest.raises(DataError, match="damaged"):
        run.folder.checkpoint.read()
    path.write_bytes(bytes(changed)[:100])
    with pytest.raises(DataError, match="cut off"):
        run.folder.checkpoint.read()


@pytest.mark.parametrize("name", ["leaves.jsonl", "checkpoints", "rosters.jsonl"])
def test_a_changed_transcript_is_refused(name: str, data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "witness", 1)
    path = run.directory / "transcript" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(DataError, match=name):
        run.rounds()
    path.write_bytes(whole[:40])
    with pytest.raises(DataError, match="there were"):
        run.rounds()


def test_keys_that_others_can_read_are_refused(data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "witness", 1)
    keys = sorted((run.folder.path / "identities").iterdir())
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600] * 4
    keys[0].chmod(0o644)
    with pytest.raises(DataError, match="grants"):
        run.rounds()


def test_two_processes_do_not_take_up_one_run(tmp_path: Path) -> None:
    first = RunLock(tmp_path)
    with pytest.raises(UsageError, match="another process"):
        RunLock(tmp_path)
    first.release()
    RunLock(tmp_path).release()
