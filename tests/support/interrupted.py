"""Small runs that are killed and gone on with: the real rounds, ledgers and files; no torch."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_privacy.ledger.chain_file import read_file
from feddiff_secure.audit.history import History
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prepare import Prepared, prepare
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.secure_rounds import Rounds, RoundsJob, secure_rounds
from feddiff_secure.model.weights_file import file_bytes, split_weights
from feddiff_secure.transcript.leaves import AbortLeaf
from feddiff_secure.transport.exchange import Message
from feddiff_secure.transport.inprocess import InProcessExchange
from tests.support import transcripts
from tests.support.federations import BLOCKS, FEATURES, examples
from tests.support.forgery import history_of

PHASES = ("ready", "train", "advertise", "share", "mask", "consistency", "unmask", "witness")
Step = Callable[[str], None]


class StoppedError(BaseException):
    """Stops a run in this process, as Ctrl-C does."""


@dataclass
class SmallRun:
    """One run directory, by whichever process.

    Attributes:
        directory: the run directory. config: of the run. prepared: its data.
        lines: of the log of this process.
    """

    directory: Path
    config: RunConfig
    prepared: Prepared
    plan: Plan | None = None

    def __post_init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    @classmethod
    def of(cls, directory: Path, data: Path, **options: Any) -> SmallRun:
        """Three owners, three rounds; the tiles of `data` are what ledgers are opened for."""
        directory.mkdir(parents=True)
        config = transcripts.small_config(data=str(data), **options)
        (directory / "config.toml").write_text(dump_config(config))
        return cls(directory, config, prepare(config))

    @property
    def folder(self) -> ResumeFolder:
        """What it goes on from."""
        return ResumeFolder(self.directory)

    def rounds(self) -> Rounds:
        """The secure rounds, from the beginning or from where the last process stopped."""
        saved = self.folder.checkpoint.read() if self.folder.checkpoint.path.exists() else None
        blocks = BLOCKS if self.config.centring else None
        plan = self.plan or transcripts.plan_for(self.config, self.config.owners, blocks)
        job = RoundsJob(
            config=self.config,
            plan=plan if saved is None else saved.plan,
            prepared=self.prepared,
            public=transcripts.PUBLIC,
            examples=[examples(index) for index in range(len(plan.owners))],
            ledgers=self.ledgers,
            directory=self.directory,
            saved=saved,
        )
        return secure_rounds(job, log=self.lines.append, progress=Silent())

    @property
    def ledgers(self) -> Path:
        """Folder of the owners' ledgers."""
        return self.directory / "ledger" if self.config.ledger is None else Path(self.config.ledger)

    def finish(self) -> bytes:
        """Run or go on to the end; the bytes of the model file."""
        rounds = self.rounds()
        assert rounds.transcript is not None
        weights = split_weights(np.asarray(rounds.trained.weights), {"hsi": FEATURES})
        model = file_bytes(weights, transcripts.DESCRIPTION)
        if not rounds.transcript.is_complete:
            (self.directory / "model.safetensors").write_bytes(model)
            statement = transcripts.privacy_statement(
                self.config,
                self.folder.checkpoint.read().plan,
                rounds.trained.events,
                tile=1,
                support=transcripts.PUBLIC.support,
                priors=transcripts.PUBLIC.networks,
                lifetime_epsilon=rounds.lifetime_epsilon,
                second_opinion=lambda *_: None,
            )
            text = json.dumps(statement.to_json(), indent=2) + "\n"
            (self.directory / "privacy.json").write_text(text)
        rounds.transcript.finish()
        return model

    def with_other_tiles(self) -> SmallRun:
        """The same run over data in which two owners have changed places."""
        first, second, *rest = self.prepared.owners
        changed: list[TileSet] = [second, first, *rest]
        return replace(self, prepared=replace(self.prepared, owners=changed))


@contextmanager
def watching(step: Step, *, before: bool = False) -> Iterator[None]:
    """Call `step` with the name of the phase around every exchange."""
    whole = InProcessExchange.exchange

    def exchange(
        self: InProcessExchange, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        if before:
            step(phase)
        replies = whole(self, phase, messages, timeout)
        if not before:
            step(phase)
        return replies

    InProcessExchange.exchange = exchange  # type: ignore[method-assign]  # put back below
    try:
        yield
    finally:
        InProcessExchange.exchange = whole  # type: ignore[method-assign]  # as above


@contextmanager
def watching_disk(step: Step) -> Iterator[None]:
    """Call `step` before every sync of a file or folder."""
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        step("fsync")
        whole(descriptor)

    os.fsync = fsync  # type: ignore[assignment]  # put back below
    try:
        yield
    finally:
        os.fsync = whole


def stopping(at: int) -> Step:
    """A step that raises the `at`-th time, from 1."""
    return _counting(at, _stop)


def killing(at: int) -> Step:
    """A step that kills the process the `at`-th time, from 1."""
    return _counting(at, lambda: os.kill(os.getpid(), signal.SIGKILL))


def killed(work: Callable[[], object]) -> bool:
    """Do something in a process of its own; whether that was killed, and did not end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the run failed in its own process"
    return False


def verified(directory: Path) -> History:
    """The log of a run directory, which verifies."""
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
    """Attempts in the log, by phase."""
    return dict(Counter(leaf.key.phase for leaf in history.attempts))


def lost(history: History) -> int:
    """Attempts in the log that gave no sum."""
    return sum(isinstance(leaf, AbortLeaf) for leaf in history.attempts)


def stop_at(run: SmallRun, phase: str, release: int, *, before: bool = False) -> None:
    """Interrupt a run at a phase of its release, both counted from 0, as Ctrl-C does."""
    at = 3 + len(PHASES) * release + PHASES.index(phase) + 1
    with watching(stopping(at), before=before), pytest.raises(StoppedError):
        run.rounds()


def _stop() -> None:
    raise StoppedError


def _counting(at: int, act: Callable[[], None]) -> Step:
    count = 0

    def step(_what: str) -> None:
        nonlocal count
        count += 1
        if count == at:
            act()

    return step
