"""Interrupted runs with noise: each attempt is charged once, a redone one again, all are stated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_privacy.ledger.chain_file import read_file
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.errors import (
    ProtocolAbortedError,
    ResumeRefusedError,
)
from feddiff_secure.federation.owner import Owner
from feddiff_secure.transport.exchange import Message
from scripts.make_tiny_table import tiny_table
from tests.support.interrupted import (
    SmallRun,
    StoppedError,
    attempts,
    charged,
    killed,
    killing,
    lost,
    stop_at,
    stopping,
    verified,
    watching,
)
from tests.support.memoised import memoise_accounting

NOISY: dict[str, Any] = {"epsilon": 8.0, "nominal_tiles": 90}


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=60, bands=8, seed=0))
    return path


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
    with watching(stopping(6)), pytest.raises(StoppedError):  # the vectors of round 0 are out
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


def test_ledgers_that_outlive_the_run_keep_what_it_goes_on_with(data: Path, tmp_path: Path) -> None:
    books = {"ledger": str(tmp_path / "books")}
    run = SmallRun.of(tmp_path / "run", data, **NOISY, **books)
    stop_at(run, "witness", 1, before=True)
    run.finish()
    assert lost(verified(run.directory)) == 0
    assert charged(run) == [{"train": 3}] * 3


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
