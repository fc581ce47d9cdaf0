"""What every key and signature of an attempt is bound to, from one party's own view."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.masking.context import RoundContext
from feddiff_secure.federation.plan import Plan

_EARLY = {"count": 0, "mean": 1}
WEIGHTS_DTYPE = np.dtype("<f8")


def model_hash(weights: NDArray[np.float64]) -> bytes:
    """SHA-256 of weights, or of all rows that a round is computed on, as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(weights, WEIGHTS_DTYPE).tobytes()).digest()


def attempt_context(
    plan: Plan, phase: str, round_index: int, attempt: int, model: bytes
) -> RoundContext:
    """The context of an attempt for a model of this hash.

    The count runs as round 0, the mean as round 1, training round t as round t + 2, round r of the
    adapter as round T + r + 2, and the class means, which no plan has beside an adapter, as round
    T + 2. So no two share a context.
    """
    first = len(_EARLY) + (0 if phase == "train" else plan.rounds)
    return RoundContext(
        session=plan.session,
        round_index=_EARLY.get(phase, first + round_index),
        attempt=attempt,
        model_hash=model,
        config_hash=plan.digest(),
    )


def round_context(
    plan: Plan, phase: str, index: tuple[int, int], weights: NDArray[np.float64]
) -> RoundContext:
    """The context of attempt `index` = (round, attempt) for the model `weights`."""
    return attempt_context(plan, phase, *index, model_hash(weights))
