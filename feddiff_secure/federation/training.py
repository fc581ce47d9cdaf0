"""The coordinator's side of a whole run: agree on the plan, count, T secure rounds, model."""

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
from feddiff_secure.errors import BudgetError, ProtocolAbortedError
from feddiff_secure.federation.local_model import LocalModel, released_tiles
from feddiff_secure.federation.phases import PHASE_TIMEOUT
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transport.exchange import REFUSED, Exchange

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
    """

    weights: NDArray[np.float64]
    tiles: int
    events: list[Event]
    rule: UpdateRule


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
) -> Trained:
    """Run the plan.

    Args:
        exchange: the transport to the owners.
        registry: their pinned identities.
        plan: the plan, already calibrated.
        check_count: refuses a number of tiles (δ against it) before any training round.
        log: receives one line a release.
        progress: receives one step a round.
        on_sum: receives every training round's attempt and decoded sum: what a coordinator sees.
        transcript: the run's log; None where none is kept.

    Raises:
        BudgetError: an owner's ledger has no room for the plan; nothing was released.
        ProtocolAbortedError: an owner refused the plan or a round could not be completed.
        UsageError: the released count of tiles does not allow the plan.
    """
    agree(exchange, plan)
    if transcript is not None:
        transcript.begin()
    model = LocalModel(plan)
    events: list[Event] = []
    if plan.nominal_tiles is None:
        attempt = Attempt("count", 0, 0, model.query)
        counted = secure_sum(exchange, registry, plan, attempt, transcript)
        events.append(plan.event("count", 1))
        tiles = released_tiles(plan, counted)
        log({"phase": "count", "round": 0, "attempt": 0, "tiles": tiles})
        check_count(tiles)
        model.apply(counted)
    else:
        tiles = plan.nominal_tiles
        check_count(tiles)

    if plan.blocks is not None:
        attempt = Attempt("mean", 0, 0, model.query)
        model.apply(secure_sum(exchange, registry, plan, attempt, transcript))
        events.append(plan.event("mean", 1))
        log({"phase": "mean", "round": 0, "attempt": 0})

    for round_index in range(plan.rounds):
        began = time.perf_counter()
        attempt = Attempt("train", round_index, 0, model.query)
        total = secure_sum(exchange, registry, plan, attempt, transcript)
        if on_sum is not None:
            on_sum(attempt, total)
        model.apply(total)
        log(
            {
                "phase": "train",
                "round": round_index,
                "attempt": 0,
                "noised_gradient_norm": float(np.linalg.norm(total / plan.scale)) / tiles,
                "seconds": time.perf_counter() - began,
            }
        )
        progress.advance()
    events.append(plan.event("train", plan.rounds))
    if transcript is not None:
        transcript.end(events)
    return Trained(model.model(), tiles, events, model.rule)


def agree(exchange: Exchange, plan: Plan) -> None:
    """Send the plan to every owner and the custodian; all must accept the same one.

    Raises:
        BudgetError: an owner's ledger has no room for the plan.
        ProtocolAbortedError: a party did not accept it.
    """
    parties = plan.owners if plan.custodian is None else (*plan.owners, plan.custodian)
    message = {"plan": plan.to_json()}
    replies = exchange.exchange("plan", dict.fromkeys(parties, message), PHASE_TIMEOUT)
    for party in parties:
        reply = replies.get(party, {REFUSED: "no_answer"})
        if reply.get(REFUSED) == "budget_refused":
            raise BudgetError(
                f"{party} did not accept the plan: its ledger has no room for it",
                "nothing was released; ask that owner what is left",
            )
        if reply.get("accepted") != plan.digest():
            raise ProtocolAbortedError(
                f"{party} did not accept the plan: {reply.get(REFUSED)!s}",
                "nothing was released; docs/protocol.md lists the codes",
            )
