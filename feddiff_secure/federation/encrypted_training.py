"""The coordinator's side of a whole encrypted run: it drives the rounds and sees no sum.

The model is with the owners, who all hold the same weights. Whoever is to receive the model gets it
from them; `delivered_model` takes it where owners agree.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from feddiff_crypto.keys import Registry
from feddiff_privacy.events import Event
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.agreement import agree
from feddiff_secure.federation.context import model_hash
from feddiff_secure.federation.encrypted_round import EncryptedAttempt, encrypted_sum
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.step_size import update_rule
from feddiff_secure.federation.training import RoundLog, Trained
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transport.exchange import Exchange


def train_encrypted(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    *,
    log: RoundLog,
    progress: Progress,
    transcript: Transcription | None = None,
) -> list[Event]:
    """Run the plan; afterwards the owners hold the model.

    Args:
        exchange: the transport to the owners and the custodian.
        registry: the owners' pinned identities.
        plan: the plan, already calibrated, of aggregation `encrypted`.
        log: receives one line a release: no number but the digest of the sum and the time.
        progress: receives one step a round.
        transcript: the run's log; None where none is kept.

    Returns:
        What was released.

    Raises:
        ProtocolAbortedError: a party refused the plan or a round could not be completed; also where
            the released number of tiles does not allow the plan (`count_refused`).
    """
    agree(exchange, plan)
    if transcript is not None:
        transcript.begin()

    def release(phase: str, round_index: int) -> None:
        began = time.perf_counter()
        attempt = EncryptedAttempt(phase, round_index, 0)
        done = encrypted_sum(exchange, registry, plan, attempt, transcript)
        log(
            {
                "phase": phase,
                "round": round_index,
                "attempt": 0,
                "sum_digest": done.digest.hex(),
                "seconds": time.perf_counter() - began,
            }
        )

    events: list[Event] = []
    for phase, rounds in plan.phases.items():
        for round_index in range(rounds):
            release(phase, round_index)
            if phase == "train":
                progress.advance()
        events.append(plan.event(phase, rounds))
    if transcript is not None:
        transcript.end(events)
    return events


def delivered_model(owners: Sequence[Owner], plan: Plan, events: Sequence[Event]) -> Trained:
    """The model as its recipient gets it: from owners, at least τ of whom hold the same.

    Args:
        owners: all of them; those that fell out of step hold no model.
        plan: the plan.
        events: what was released.

    Raises:
        ProtocolAbortedError: fewer than τ owners hold one same model.
    """
    models = []
    for owner in owners:
        try:
            models.append((owner.model(), owner.tiles))
        except RuntimeError:  # out of step since some round
            continue
    hashes = {model_hash(weights) for weights, _ in models}
    if len(models) < plan.policy.threshold or len(hashes) != 1:
        raise ProtocolAbortedError(
            f"{len(models)} owners hold a model, {len(hashes)} different ones; "
            f"{plan.policy.threshold} must agree",
            "start the run again",
        )
    weights, tiles = models[0]
    assert tiles is not None  # a finished model has a denominator
    return Trained(weights, tiles, list(events), update_rule(plan, tiles))
