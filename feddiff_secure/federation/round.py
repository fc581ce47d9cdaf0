"""One secure round, from the model that owners are shown to the sum that leaves the masks.

The whole story of a round is `secure_sum`: seven exchanges over the transport seam. The coordinator
sees adverts, sealed shares, masked vectors, signatures and revealed shares; never a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.messages import (
    Advertise,
    ConsistencySignature,
    MaskedInput,
    SealedShares,
    UnmaskReply,
)
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.context import model_hash, round_context
from feddiff_secure.federation.gathering import present
from feddiff_secure.federation.phases import TRAIN_TIMEOUT, aborted, ask, to_messages
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.transcription import Transcription, recorded
from feddiff_secure.transcript.record import AttemptRecord
from feddiff_secure.transport.exchange import Exchange, Message


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which release is asked for.

    Attributes:
        phase: `count`, `mean` or `train`.
        round_index: from 0 within the phase.
        attempt: from 0; a retry is a new release with new keys and noise.
        weights: what owners are shown: weights (K, D), and two more rows once the mean of ψ is
            released (`LocalModel.query`).
    """

    phase: str
    round_index: int
    attempt: int
    weights: NDArray[np.float64]


def secure_sum(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    attempt: Attempt,
    transcript: Transcription | None = None,
    *,
    on_total: Callable[[NDArray[np.int64]], None] | None = None,
) -> NDArray[np.int64]:
    """Run one attempt and return the decoded sum of the owners' noised integer vectors.

    Args:
        exchange: the transport.
        registry: pinned identities of the owners.
        plan: the agreed plan.
        attempt: which release.
        transcript: the run's log; None where none is kept.
        on_total: receives the sum before the log has its leaf: what it changes is what a process
            after this one has to know if the leaf is there.

    Returns:
        Grid units, shape (dimension,).

    Raises:
        ProtocolAbortedError: an owner refused, or fewer than τ answered a phase.
    """
    # Ready: who is there. Too few, and the attempt does not begin: it is not in the log either.
    there = present(exchange, plan.policy.threshold)
    index = (attempt.phase, attempt.round_index, attempt.attempt)
    with recorded(transcript, index, model_hash(attempt.weights)) as record, aborted(*index):
        ring = plan.grid(attempt.phase).ring
        total = ring.from_ring(_play(exchange, registry, plan, attempt, there, record=record))
        if on_total is not None:
            on_total(total)
    return total


def _play(
    exchange: Exchange,
    registry: Registry,
    plan: Plan,
    attempt: Attempt,
    there: Iterable[str],
    *,
    record: AttemptRecord | None,
) -> RingArray:
    grid = plan.grid(attempt.phase)
    index = (attempt.round_index, attempt.attempt)
    # 0. train: owners compute, round and noise their vectors on the model they are shown.
    shown = dict.fromkeys(there, _train_message(attempt))
    ready = ask(exchange, "train", shown, _ready, timeout=TRAIN_TIMEOUT)
    if plan.aggregation == "plain":
        vectors = ask(exchange, "plain", {key: {} for key in ready}, _plain_vector)
        total = _plain_total(plan, attempt.phase, vectors)
        if record is not None:
            record.on_plain(vectors, total)
        return total

    start = CoordinatorStart(
        registry=registry,
        policy=plan.policy,
        context=round_context(plan, attempt.phase, index, attempt.weights),
        dimension=grid.dimension,
        ring_bits=grid.ring_bits,
        agreement=plan.agreement,
    )
    return masked_total(exchange, start, ready, record)


def masked_total(
    exchange: Exchange,
    start: CoordinatorStart,
    ready: Iterable[str],
    record: AttemptRecord | None = None,
) -> RingArray:
    """The protocol itself, whatever is summed: from adverts to the sum without its masks.

    Args:
        exchange: the transport.
        start: the coordinator's first state.
        ready: the parties that hold a vector for this attempt.
        record: takes down what a verifier needs; None where no log is kept.

    Raises:
        ProtocolAbortedError: a party refused.
        CryptoError: fewer than τ answered, or a message broke the protocol.
    """
    # 1. advertise: fresh keys, signed by pinned identities → the roster of this attempt.
    adverts = ask(exchange, "advertise", {key: {} for key in ready}, Advertise.from_message)
    delivering, rosters = start.roster(adverts)
    # 2. share: each owner's mask key and self-mask secret, split and sealed for its peers.
    sealed = ask(exchange, "share", to_messages(rosters), SealedShares.from_message)
    masking, delivered = delivering.deliver(sealed)
    # 3. mask: the noised vector under pairwise and self masks. Owners are charged here.
    masked = ask(exchange, "mask", to_messages(delivered), MaskedInput.from_message)
    if record is not None:
        record.on_masked(masked)
    consistent, survivor_sets = masking.collect(masked)
    # 4. consistency: owners sign the one survivor set they will unmask for.
    signed = ask(
        exchange, "consistency", to_messages(survivor_sets), ConsistencySignature.from_message
    )
    unmasking, requests = consistent.request(signed)
    # 5. unmask: one kind of share for each peer, once; then the masks come off the sum.
    replies = ask(exchange, "unmask", to_messages(requests), UnmaskReply.from_message)
    done = unmasking.finish(replies)
    if record is not None:
        record.on_sum(done)
    return done.total


def _ready(message: Mapping[str, Value]) -> None:
    if message != {"ready": True}:
        raise ProtocolAbortedError("a reply to train is not ready", "ask that owner")


def _train_message(attempt: Attempt) -> Message:
    return {
        "phase": attempt.phase,
        "round": attempt.round_index,
        "attempt": attempt.attempt,
        "weights": attempt.weights,
    }


def _plain_vector(message: Mapping[str, Value]) -> RingArray:
    vector = message.get("vector")
    if set(message) != {"vector"} or not isinstance(vector, np.ndarray):
        raise ProtocolAbortedError("a plain reply is not one vector", "ask that owner")
    return vector


def _plain_total(plan: Plan, phase: str, vectors: Mapping[str, RingArray]) -> RingArray:
    """The modular sum of plain vectors: the reference that masking reproduces bit for bit."""
    grid = plan.grid(phase)
    total = grid.ring.to_ring(np.zeros(grid.dimension, dtype=np.int64))
    for party, vector in vectors.items():
        if vector.dtype != total.dtype or vector.shape != total.shape:
            raise ProtocolAbortedError(
                f"{party} sent {vector.dtype} {vector.shape}, not {total.dtype} {total.shape}",
                "ask that owner",
            )
        np.add(total, vector, out=total)  # unsigned: modulo 2ᵏ
    return total
