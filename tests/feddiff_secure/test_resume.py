"""Interrupted runs go on: bit for bit without noise, and with every attempt charged with it."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feddiff_privacy.ledger.chain_file import read_file
from feddiff_secure.aggregation.update import Iterates, UpdateRule
from feddiff_secure.audit.history import History
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import (
    DataError,
    ProtocolAbortedError,
    ResumeRefusedError,
    UsageError,
    VerificationError,
)
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.resume_folder import RunLock
from feddiff_secure.federation.secure_rounds import all_tiles
from feddiff_secure.transcript.leaves import AbortLeaf
from feddiff_secure.transport.exchange import Message
from scripts.make_tiny_table import tiny_table
from tests.support import transcripts
from tests.support.forgery import history_of
from tests.support.interrupted import (
    SmallRun,
    StoppedError,
    killed,
    killing,
    stopping,
    watching,
    watching_disk,
)
from tests.support.memoised import memoise_accounting

FEW = settings(
    max_examples=7, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
QUIET: dict[str, Any] = {"epsilon": math.inf}
WHOLE: dict[str, Any] = {**QUIET, "centring": True}
NOISY: dict[str, Any] = {"epsilon": 8.0, "nominal_tiles": 90}
EXCHANGES = 1 + 2 + 7 * 5 + 2  # plan, first leaves, five releases, last words, last leaf
PHASES = ("train", "advertise", "share", "mask", "consistency", "unmask", "witness")


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=60, bands=8, seed=0))
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, set[str]]:
    """Model and files of a run that nothing interrupts."""
    run = SmallRun.of(tmp_path_factory.mktemp("whole") / "run", data, **WHOLE)
    return run.finish(), files(run.directory)


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def verified(directory: Path) -> History:
    verdict = verify_run(directory)
    assert verdict.verified, verdict.to_lines()
    return history_of(directory)


def charged(run: SmallRun) -> list[dict[str, int]]:
    """Attempts spent, by owner; each ledger has reserved the plan once, or not yet."""
    held = []
    for path in sorted(run.ledgers.glob("*.jsonl")):
        reservations = list(read_file(path).balance.reservations.values())
        assert len(reservations) <= 1
        held.append(dict(reservations[0].spent) if reservations else {})
    return held


def attempts(history: History) -> dict[str, int]:
    return dict(Counter(leaf.key.phase for leaf in history.attempts))


def lost(history: History) -> int:
    return sum(isinstance(leaf, AbortLeaf) for leaf in history.attempts)


def stop_at(run: SmallRun, phase: str, release: int, *, before: bool = False) -> None:
    """Interrupt a run at a phase of its release, both counted from 0, as Ctrl-C does."""
    at = 3 + 7 * release + PHASES.index(phase) + 1
    with watching(stopping(at), before=before), pytest.raises(StoppedError):
        run.rounds()


@settings(
    max_examples=14, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(kills=st.tuples(st.integers(1, EXCHANGES), st.integers(1, EXCHANGES)), before=st.booleans())
def test_a_run_killed_at_any_exchange_gives_the_same_model_and_files(
    kills: tuple[int, int],
    before: bool,
    data: Path,
    whole: tuple[bytes, set[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("killed") / "run", data, **WHOLE)

    def work() -> None:
        with watching(killing(kills[0]), before=before):
            run.finish()

    def once_more() -> None:
        with watching(killing(kills[1]), before=not before):
            run.finish()

    assert killed(work)
    if killed(once_more):
        assert run.finish() == whole[0]
    assert (run.directory / "model.safetensors").read_bytes() == whole[0]
    assert files(run.directory) == whole[1]
    history = verified(run.directory)
    assert lost(history) <= 2
    for spent in charged(run):
        assert all(spent[phase] >= 1 for phase in ("count", "mean"))


@settings(
    max_examples=14, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(30, 330))
def test_a_run_killed_before_any_write_is_on_disk_gives_the_same_model(
    at: int, data: Path, whole: tuple[bytes, set[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("killed") / "run", data, **WHOLE)

    def work() -> None:
        with watching_disk(killing(at)):
            run.finish()

    if killed(work):
        assert run.finish() == whole[0]
    assert files(run.directory) == whole[1]
    verified(run.directory)


@pytest.mark.parametrize(
    ("phase", "before"),
    [("share", False), ("mask", False), ("unmask", False), ("witness", True), ("witness", False)],
    ids=["after share", "after mask", "after unmask", "before witness", "after witness"],
)
def test_with_noise_every_attempt_is_charged_once_to_everybody(
    phase: str, before: bool, data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY, spare_attempts=2)
    stop_at(run, phase, 1, before=before)
    run.finish()
    history = verified(run.directory)
    # Vectors were out and the sum was not yet in the log.
    redone = phase in {"mask", "unmask"}
    assert lost(history) == redone
    assert len(history.rounds) == 3  # the spare attempt saved the round
    assert charged(run) == [attempts(history)] * 3
    assert attempts(history) == {"train": 3 + redone}
    assert [e["attempts"] for e in history.privacy.events] == [3 + redone]


def test_an_attempt_charged_to_some_owners_only_is_lost_and_charged_to_no_one_twice(
    data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY, spare_attempts=2)
    seen: Counter[str] = Counter()

    def step(phase: str) -> None:
        seen[phase] += 1

    mask = Owner._mask

    def second_owner_is_slow(self: Owner, message: Any) -> Any:
        if seen["share"] == 2 and self.name == "owner-002":
            raise StoppedError
        return mask(self, message)

    Owner._mask = second_owner_is_slow  # type: ignore[method-assign]  # put back below
    try:
        with watching(step), pytest.raises(StoppedError):
            run.rounds()
    finally:
        Owner._mask = mask  # type: ignore[method-assign]  # as above
    assert charged(run) == [{"train": 2}, {"train": 1}, {"train": 1}]
    run.finish()
    history = verified(run.directory)
    assert charged(run) == [{"train": 4}, {"train": 3}, {"train": 3}]
    assert attempts(history) == {"train": 4}
    assert lost(history) == 1


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(1, 200))
def test_ctrl_c_in_the_middle_of_a_write_leaves_ledgers_that_can_be_read(
    at: int, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("stopped") / "run", data, **QUIET, nominal_tiles=90)
    with suppress(StoppedError), watching_disk(stopping(at)):
        run.rounds()
    began = run.folder.checkpoint.path.exists()
    assert began or not any(map(any, charged(run)))
    if began:
        run.finish()
        verified(run.directory)


def test_the_averaging_window_survives_an_interruption(data: Path, tmp_path: Path) -> None:
    ten: dict[str, Any] = {**QUIET, "nominal_tiles": 90, "rounds": 10}
    whole = SmallRun.of(tmp_path / "whole", data, **ten).finish()
    run = SmallRun.of(tmp_path / "run", data, **ten)
    stop_at(run, "mask", 9)  # nine rounds are done, of which the last is averaged
    assert run.finish() == whole


def test_a_run_that_ends_short_averages_what_is_in_the_window() -> None:
    rule = UpdateRule(step_size=1.0, momentum=0.0, denominator=1.0, scale=1.0, rounds=10)
    state = Iterates(rule, np.zeros((1, 1)))
    found = []
    for round_index in range(10):
        state.apply(np.array([-1], dtype=np.int64))  # W_t = t
        found.append(float(state.model(round_index + 1)[0, 0]))
    assert found == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9.5]  # of 10 rounds, 9 and 10 are averaged
    with pytest.raises(RuntimeError, match="10 of 9"):
        state.model(9)


def test_a_redone_attempt_has_fresh_noise_in_plain_mode_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {**NOISY, "spare_attempts": 2, "noise": "local"}
    run = SmallRun.of(tmp_path / "run", data, **options, aggregation="plain")
    sent: list[bytes] = []
    plain = Owner._plain

    def remembered(self: Owner, message: Message) -> Message:
        reply = plain(self, message)
        sent.append(np.asarray(reply["vector"]).tobytes())
        return reply

    monkeypatch.setattr(Owner, "_plain", remembered)
    with watching(stopping(5)), pytest.raises(StoppedError):  # the vectors of round 0 are out
        run.rounds()
    run.finish()
    assert len(set(sent)) == len(sent) == 3 * 4  # of one model and the same tiles, in round 0 twice
    assert charged(run) == [{"train": 4}] * 3
    assert lost(verified(run.directory)) == 1


def test_without_a_spare_attempt_the_run_ends_one_round_short(data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "consistency", 1)
    run.finish()
    history = verified(run.directory)
    assert [leaf.key.round_index for leaf in history.rounds] == [0, 1]
    assert [leaf.key.attempt for leaf in history.rounds] == [0, 1]
    assert charged(run) == [{"train": 3}] * 3


def test_an_interrupted_mean_that_was_charged_cannot_be_made_up_for(
    data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY, centring=True)
    stop_at(run, "mask", 0)
    with pytest.raises(ResumeRefusedError, match="only attempt of mean, which stays charged"):
        run.rounds()
    assert charged(run) == [{"mean": 1}] * 3
    for path in run.ledgers.glob("*.jsonl"):  # no budget is held for what cannot be made
        assert not read_file(path).balance.open_reservations
    with pytest.raises(ResumeRefusedError, match="only attempt of mean"):
        run.rounds()


def test_an_interrupted_mean_that_was_not_charged_goes_on(data: Path, tmp_path: Path) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY, centring=True)

    def work() -> None:
        with watching(killing(3 + 3)):  # after share
            run.rounds()

    assert killed(work)
    run.finish()
    assert charged(run) == [{"mean": 1, "train": 3}] * 3
    assert lost(verified(run.directory)) == 0


def test_nothing_is_left_to_go_on_with_where_nothing_was_charged(
    data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY)
    stop_at(run, "share", 0)
    assert not run.folder.checkpoint.path.exists()
    assert charged(run) == [{}] * 3


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


def test_ledgers_that_outlive_the_run_keep_what_it_goes_on_with(data: Path, tmp_path: Path) -> None:
    books = {"ledger": str(tmp_path / "books")}
    run = SmallRun.of(tmp_path / "run", data, **NOISY, **books)
    stop_at(run, "witness", 1, before=True)
    run.finish()
    assert lost(verified(run.directory)) == 0
    assert charged(run) == [{"train": 3}] * 3


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


def test_a_round_that_lost_too_many_owners_is_redone_by_a_later_process(
    data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **NOISY, spare_attempts=2)
    sign = Owner._sign

    def refuse(self: Owner, message: Any) -> Any:
        if self.charged["train"] == 2:
            return {"refused": "unwell"}
        return sign(self, message)

    Owner._sign = refuse  # type: ignore[method-assign]  # put back below
    try:
        with pytest.raises(ProtocolAbortedError, match="unwell"):
            run.rounds()
    finally:
        Owner._sign = sign  # type: ignore[method-assign]  # as above
    run.finish()
    history = verified(run.directory)
    assert lost(history) == 1
    assert len(history.rounds) == 3
    assert charged(run) == [{"train": 4}] * 3


def test_a_finished_directory_has_nothing_of_what_it_could_go_on_from(
    whole: tuple[bytes, set[str]], data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **WHOLE)
    run.finish()
    assert not run.folder.path.exists()
    assert not any(name.startswith("resume") for name in whole[1])
    (run.directory / "resume").mkdir()
    (run.directory / "resume" / "x.key").write_text("left behind")
    failed = verify_run(run.directory).failed
    assert failed is not None
    assert failed.number == 7
