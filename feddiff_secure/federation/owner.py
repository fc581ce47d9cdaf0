"""One owner: holds labelled tiles, answers the phases of a run, lets nothing private out.

The rules of the machine:

* A plan is accepted once, and only after `check_plan`: the owner recomputes ε from the plan's own
  events and refuses noise that is sized for more honest shares than remain.
* An attempt names (phase, round, attempt). The owner answers each at most once, in order.
* The vector that is masked is rounded, bounded and noised first; the attempt is charged before
  the masked vector leaves, whatever happens afterwards.
* What leaves: adverts, sealed shares, one masked vector, one signature and one kind of share a
  peer. Refusals are fixed codes. Nothing else: no counts, no loss, no accuracy, no error text.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import DeliveredShares, Roster, SurvivorSet, UnmaskRequest
from feddiff_crypto.masking.owner import (
    OwnerAdvertised,
    OwnerConsistent,
    OwnerMasked,
    OwnerShared,
    OwnerStart,
)
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples, clipped_sum
from feddiff_privacy.errors import PrivacyError
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.transport.exchange import REFUSED, Message

T = TypeVar("T")
WEIGHTS_DTYPE = np.dtype("<f8")


class _RefusalError(Exception):
    """An owner's refusal; its argument is the fixed code that leaves the owner."""


@dataclass(slots=True)
class _Attempt:
    """The owner's memory of the attempt under way; replaced by the next, never written to disk."""

    phase: str
    index: tuple[int, int]
    vector: RingArray
    context: RoundContext
    state: OwnerAdvertised | OwnerShared | OwnerMasked | OwnerConsistent | None = None


class Owner:
    """One organisation's node, as the coordinator's messages see it.

    Args:
        name: its name in the registry.
        examples: its labelled tiles.
        identity: its signing key.
        registry: the pinned identities of all owners.
        random: secure randomness for keys, noise and sampling.
    """

    def __init__(
        self,
        name: str,
        examples: TileExamples,
        identity: IdentityKey,
        registry: Registry,
        random: SecureRandom,
    ) -> None:
        self.name = name
        self.charged: Counter[str] = Counter()
        """Attempts charged so far, by phase."""
        self.saturated = 0.0
        """Fraction of coordinates of the last vector that hit the public bound. Private."""
        self._examples = examples
        self._identity = identity
        self._registry = registry
        self._random = random
        self._plan: Plan | None = None
        self._attempt: _Attempt | None = None
        self._done: set[tuple[str, int, int]] = set()
        self._steps: dict[str, Callable[[Message], Message]] = {
            "plan": self._accept_plan,
            "train": self._train,
            "advertise": self._advertise,
            "share": self._share,
            "mask": self._mask,
            "consistency": self._sign,
            "unmask": self._unmask,
            "plain": self._plain,
        }

    def handle(self, phase: str, message: Message) -> Message:
        """Answer one message of the run.

        Whatever another party can cause by what it sends comes back as a fixed code.
        """
        step = self._steps.get(phase)
        if step is None:
            return {REFUSED: "unknown_phase"}
        try:
            return step(message)
        except _RefusalError as refusal:
            return {REFUSED: str(refusal.args[0])}
        except CryptoError as error:
            self._attempt = None
            return {REFUSED: type(error).__name__}

    def _accept_plan(self, message: Message) -> Message:
        if self._plan is not None:
            raise _RefusalError("plan_already_accepted")
        try:
            plan = Plan.from_json(_take(message, "plan", bytes))
            check_plan(plan)
        except (ValueError, PrivacyError, ArithmeticError, RecursionError) as error:
            raise _RefusalError("plan_refused") from error
        if plan.owners != self._registry.parties:
            raise _RefusalError("roster_refused")
        if plan.features != self._examples.features.shape[1]:
            raise _RefusalError("features_refused")
        self._plan = plan
        return {"accepted": plan.digest()}

    def _train(self, message: Message) -> Message:
        """Compute, round and noise this attempt's vector; it stays here until it is masked."""
        plan = self._agreed()
        phase = _take(message, "phase", str)
        index = (_take(message, "round", int), _take(message, "attempt", int))
        if (phase, *index) in self._done or not plan.allows(phase, *index):
            raise _RefusalError("attempt_refused")
        if self.charged[phase] >= plan.most_attempts(phase):
            raise _RefusalError("budget_refused")
        weights = _weights(message, plan)
        self._done.add((phase, *index))
        made = contribution(
            self._value(plan, phase, weights),
            plan.grid(phase),
            coordinate_bound=plan.coordinate_bound(phase),
            share_std=plan.share(phase),
            mechanism=plan.mechanism,
            source=self._random,
        )
        self.saturated = made.saturated
        self._attempt = _Attempt(
            phase, index, made.vector, round_context(plan, phase, index, weights)
        )
        return {"ready": True}

    def _value(self, plan: Plan, phase: str, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The private value of a phase: its tiles' clipped gradients, or their number."""
        if phase == "count":
            return np.array([float(self._examples.tiles)])
        sampled = plan.sampler(phase).draw(self._examples.tiles, self._random)
        return clipped_sum(self._examples, weights, plan.clip, sampled).ravel()

    def _advertise(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        attempt, _ = self._current(type(None))
        start = OwnerStart(
            party=self.name,
            identity=self._identity,
            registry=self._registry,
            policy=self._agreed().policy,
            context=attempt.context,
            random=self._random,
        )
        attempt.state, advert = start.advertise()
        return advert.to_message()

    def _share(self, message: Message) -> Message:
        attempt, state = self._current(OwnerAdvertised)
        attempt.state, sealed = state.share(Roster.from_message(message))
        return sealed.to_message()

    def _mask(self, message: Message) -> Message:
        attempt, state = self._current(OwnerShared)
        delivered = DeliveredShares.from_message(message)
        attempt.state, masked = state.mask(delivered, attempt.vector)
        self.charged[attempt.phase] += 1
        return masked.to_message()

    def _sign(self, message: Message) -> Message:
        attempt, state = self._current(OwnerMasked)
        attempt.state, signature = state.sign(SurvivorSet.from_message(message))
        return signature.to_message()

    def _unmask(self, message: Message) -> Message:
        _, state = self._current(OwnerConsistent)
        request = UnmaskRequest.from_message(message)
        # Round secrets live in memory only, so an owner that restarts cannot answer again; the
        # fact of the answer needs no disk of its own.
        self._attempt = None
        _, reply = state.reveal(request, lambda _digest: None)
        return reply.to_message()

    def _plain(self, message: Message) -> Message:  # noqa: ARG002  # every step takes one
        """Baseline without secure aggregation: the noised vector as it is."""
        attempt, _ = self._current(type(None))
        if self._agreed().aggregation != "plain" or self._agreed().noise == "distributed":
            raise _RefusalError("plain_refused")
        self._attempt = None
        self.charged[attempt.phase] += 1
        return {"vector": attempt.vector}

    def _agreed(self) -> Plan:
        if self._plan is None:
            raise _RefusalError("no_plan")
        return self._plan

    def _current(self, expected: type[T]) -> tuple[_Attempt, T]:
        """The attempt under way and its state, if that is the expected one."""
        attempt = self._attempt
        if attempt is None or not isinstance(attempt.state, expected):
            raise _RefusalError("out_of_order")
        return attempt, attempt.state


def round_context(
    plan: Plan, phase: str, index: tuple[int, int], weights: NDArray[np.float64]
) -> RoundContext:
    """What every key and signature of an attempt is bound to, from this party's own view.

    The count runs as round 0 and training round t as round t + 1, so no two share a context.
    """
    return RoundContext(
        session=plan.session,
        round_index=0 if phase == "count" else index[0] + 1,
        attempt=index[1],
        model_hash=hashlib.sha256(np.ascontiguousarray(weights, WEIGHTS_DTYPE).tobytes()).digest(),
        config_hash=plan.digest(),
    )


def _weights(message: Message, plan: Plan) -> NDArray[np.float64]:
    weights = message.get("weights")
    shape = (plan.classes, plan.features)
    if not isinstance(weights, np.ndarray) or weights.dtype != WEIGHTS_DTYPE:
        raise _RefusalError("weights_refused")
    if weights.shape != shape or not np.isfinite(weights).all():
        raise _RefusalError("weights_refused")
    return weights


def _take(message: Mapping[str, Value], key: str, expected: type[T]) -> T:
    value = message.get(key)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise _RefusalError("message_refused")
    return value
