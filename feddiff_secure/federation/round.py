"""One secure round, from the model that owners are shown to the sum that leaves the masks.

The whole story of a round is `secure_sum`: six exchanges over the transport seam. The coordinator
sees adverts, sealed shares, masked vectors, signatures and revealed shares; never a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError
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
from feddiff_secure.federation.owner import round_context
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transport.exchange import REFUSED, Exchange, Message

TRAIN_TIMEOUT = 600.0  # seconds: owners compute their gradients
PHASE_TIMEOUT = 60.0  # seconds: owners answer from memory

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which release is asked for.

    Attributes:
        phase: `count` or `train`.
        round_index: from 0 within the phase.
        attempt: from 0; a retry is a new release with new keys and noise.
        weights: the model shown to owners, (K, D).
    """

    phase: str
    round_index: int
    attempt: int
    weights: NDArray[np.float64]


def secure_sum(
    exchange: Exchange, registry: Registry, plan: Plan, attempt: Attempt
) -> NDArray[np.int64]:
    """Run one attempt and return the decoded sum of the owners' noised integer vectors.

    Args:
        exchange: the transport.
        registry: pinned identities of the owners.
        plan: the agreed plan.
        attempt: which release.

    Returns:
        Grid units, shape (dimension,).

    Raises:
        ProtocolAbortedError: an owner refused, or fewer than τ answered a phase.
    """
    grid = plan.grid(attempt.phase)
    index = (attempt.round_index, attempt.attempt)
    try:
        ready = _everyone(exchange, "train", _train_message(attempt), TRAIN_TIMEOUT)
        if plan.aggregation == "plain":
            vectors = _ask(exchange, "plain", {key: {} for key in ready}, _plain_vector)
            total = _plain_total(plan, attempt.phase, vectors)
            return grid.ring.from_ring(total)

        sharing = CoordinatorStart(
            registry=registry,
            policy=plan.policy,
            context=round_context(plan, attempt.phase, index, attempt.weights),
            dimension=grid.dimension,
            ring_bits=grid.ring_bits,
        )
        # 1. advertise: fresh keys, signed by pinned identities → the roster of this attempt.
        adverts = _ask(exchange, "advertise", {key: {} for key in ready}, Advertise.from_message)
        delivering, rosters = sharing.roster(adverts)
        # 2. share: each owner's mask key and self-mask secret, split and sealed for its peers.
        sealed = _ask(exchange, "share", _messages(rosters), SealedShares.from_message)
        masking, delivered = delivering.deliver(sealed)
        # 3. mask: the noised vector under pairwise and self masks. Owners are charged here.
        masked = _ask(exchange, "mask", _messages(delivered), MaskedInput.from_message)
        consistent, survivor_sets = masking.collect(masked)
        # 4. consistency: owners sign the one survivor set they will unmask for.
        signed = _ask(
            exchange, "consistency", _messages(survivor_sets), ConsistencySignature.from_message
        )
        unmasking, requests = consistent.request(signed)
        # 5. unmask: one kind of share for each peer, once; then the masks come off the sum.
        replies = _ask(exchange, "unmask", _messages(requests), UnmaskReply.from_message)
        return grid.ring.from_ring(unmasking.finish(replies).total)
    except CryptoError as error:
        raise ProtocolAbortedError(
            f"round {attempt.round_index}, attempt {attempt.attempt} ({attempt.phase}): "
            f"{type(error).__name__}: {error}",
            "nothing was revealed beyond what the attempt is charged for; start the run again",
        ) from error


def _train_message(attempt: Attempt) -> Message:
    return {
        "phase": attempt.phase,
        "round": attempt.round_index,
        "attempt": attempt.attempt,
        "weights": attempt.weights,
    }


def _messages(objects: Mapping[str, object]) -> dict[str, Message]:
    return {party: item.to_message() for party, item in objects.items()}  # type: ignore[attr-defined]  # every message class has it


def _everyone(exchange: Exchange, phase: str, message: Message, timeout: float) -> tuple[str, ...]:
    """Send one message to all parties; those that answered, in roster order."""
    replies = exchange.exchange(phase, dict.fromkeys(exchange.parties(), message), timeout)
    _raise_refusals(phase, replies)
    return tuple(party for party in exchange.parties() if party in replies)


def _ask(
    exchange: Exchange,
    phase: str,
    messages: Mapping[str, Message],
    parse: Callable[[Mapping[str, Value]], M],
) -> dict[str, M]:
    """Exchange one phase and parse the replies strictly; a missing party is a dropout."""
    replies = exchange.exchange(phase, messages, PHASE_TIMEOUT)
    _raise_refusals(phase, replies)
    return {party: parse(reply) for party, reply in replies.items()}


def _raise_refusals(phase: str, replies: Mapping[str, Message]) -> None:
    for party, reply in replies.items():
        if REFUSED in reply:
            raise ProtocolAbortedError(
                f"{party} refused the phase {phase}: {reply[REFUSED]!s}",
                "ask that owner; docs/protocol.md lists the codes",
            )


def _plain_vector(message: Mapping[str, Value]) -> NDArray[np.uint32]:
    vector = message.get("vector")
    if set(message) != {"vector"} or not isinstance(vector, np.ndarray):
        raise ProtocolAbortedError("a plain reply is not one vector", "ask that owner")
    return vector


def _plain_total(
    plan: Plan, phase: str, vectors: Mapping[str, NDArray[np.uint32]]
) -> NDArray[np.uint32]:
    """The modular sum of plain vectors: the reference that masking reproduces bit for bit."""
    total = np.zeros(plan.grid(phase).dimension, dtype=np.uint32)
    for party, vector in vectors.items():
        if vector.dtype != total.dtype or vector.shape != total.shape:
            raise ProtocolAbortedError(
                f"{party} sent {vector.dtype} {vector.shape}, not uint32 {total.shape}",
                "ask that owner",
            )
        total += vector
    return total
