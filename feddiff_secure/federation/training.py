"""The coordinator's side of a whole run: agree on the plan, all its secure rounds, model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.keys import Registry
from feddiff_privacy.events import Event
from feddiff_secure.aggregation.update import UpdateRule
from feddiff_secure.errors import ResumeRefusedError
from feddiff_secure.federation.agreement import agree, follow, was_charged
from feddiff_secure.federation.local_model import released_tiles
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transcript.leaves import AttemptKey
from feddiff_secure.transport.exchange import Exchange

RoundLog = Callable[[dict[str, Any]], None]
SumObserver = Callable[[Attempt, NDArray[np.int64]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What the rounds leave.

    Attributes:
        weights: the model W, (K, D).
        tiles: the public number of tiles that was the denominator.
        events: what was released, aborted attempts included.
        rule: the update constants.
        adapter: of the HSI branch that W is to be used with, (P,); None for the branch as it was.
    """

    weights: NDArray[np.float64]
    tiles: int
    events: list[Event]
    rule: UpdateRule
    adapter: NDArray[np.float64] | None = None


def train(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    *,
    check_count: Callable[[int], None],
    log: RoundLog,
    progress: Progress,
    on_sum: SumObserver | None = None,
    transcript: Transcription | None = None,
    state: RunState | None = None,
) -> Trained:
    """Run the plan, from the beginning or from where an earlier process stopped.

    Args:
        exchange: the transport to the owners.
        registry: their pinned identities.
        plan: the plan, already calibrated.
        check_count: refuses a number of tiles (δ against it) before any training round.
        log: receives one line a release.
        progress: receives one step a round.
        on_sum: receives every training round's attempt and decoded sum: what a coordinator sees.
        transcript: the run's log; None where none is kept.
        state: how far the run has come, kept up to date; None for a new one.

    Raises:
        BudgetError: an owner's ledger has no room for the plan; nothing was released.
        ResumeRefusedError: what was interrupted leaves no attempt of a phase.
        ProtocolAbortedError: an owner refused the plan or a round could not be completed.
        UsageError: the released count of tiles does not allow the plan.
        VerificationError, DataError: what is left of the run does not fit together.
    """
    state = RunState.begun(plan) if state is None else state
    _take_up(exchange, state, transcript)
    if plan.nominal_tiles is not None:
        check_count(plan.nominal_tiles)
    progress.advance(state.course.done["train"])
    while (due := state.course.next) is not None:
        attempt = Attempt(due.phase, due.round_index, due.attempt, state.model.query_for(due.phase))
        on_total = _taking(state, due, check_count, log)
        total = secure_sum(exchange, registry, plan, attempt, transcript, on_total=on_total)
        if due.phase == "train":
            progress.advance()
            if on_sum is not None:
                on_sum(attempt, total)
    events = state.course.events()
    if transcript is not None:
        transcript.end(events)
    model = state.model
    assert model.tiles is not None  # every plan that is finished knows it
    weights = model.model(state.course.done["train"])
    return Trained(weights, model.tiles, events, model.rule, model.adapter)


def _take_up(exchange: Exchange, state: RunState, transcript: Transcription | None) -> None:
    """Agree on the plan, and take up the log; an attempt that was under way is lost if charged."""
    course = state.course
    known = (follow if course.next is None else agree)(exchange, state.plan)
    if transcript is None:
        return
    if not transcript.leaves:
        transcript.begin()
    else:
        transcript.rejoin({owner: rejoined.cosigned for owner, rejoined in known.items()})
    due = course.next
    if due is not None and was_charged(state, known):
        transcript.interrupted(due)
        course.lose()
    if course.exhausted is not None:
        raise ResumeRefusedError(
            f"the run stopped in its only attempt of {course.exhausted}, which stays charged",
            "start a new run; feddiff-secure budget says what is left",
        )


def _taking(
    state: RunState, due: AttemptKey, check_count: Callable[[int], None], log: RoundLog
) -> Callable[[NDArray[np.int64]], None]:
    """What a release that was just completed changes: the state, and a line of the log."""
    began, sent = time.perf_counter(), state.sent()

    def take(total: NDArray[np.int64]) -> None:
        if due.phase == "count":
            check_count(released_tiles(state.plan, total))
        state.model.apply(total, due.phase)
        state.course.complete()
        state.bytes_up += state.sent() - sent
        log({**_fields(due), **_seen(state, due.phase, total, time.perf_counter() - began)})

    return take


def _fields(due: AttemptKey) -> dict[str, Any]:
    """Which release a line of the log is of."""
    return {"phase": due.phase, "round": due.round_index, "attempt": due.attempt}


def _seen(state: RunState, phase: str, total: NDArray[np.int64], seconds: float) -> dict[str, Any]:
    """What a line of the log says of a sum."""
    tiles = state.model.tiles
    assert tiles is not None  # a count, or a release after it
    if phase == "count":
        return {"tiles": tiles}
    if phase in ("mean", "classes"):
        return {}
    norm = float(np.linalg.norm(total / state.plan.grid(phase).scale))
    return {"noised_gradient_norm": norm / tiles, "seconds": seconds}
