"""From canary scores to guesses: which canaries were in the training data, and how many are right.

An auditor weighs, for each of m canaries that is in with probability 1/2, the evidence that it is
in (positive) or out (negative). It guesses where the evidence is strongest and abstains on the
rest. The number of guesses r is fixed *before* the scores are seen, as the bounds require:
choosing the r with the best outcome afterwards would test many hypotheses and report the luckiest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from feddiff_privacy.errors import AuditError

CONFIDENCE = 0.95
"""Each lower bound holds with at least this probability over coins and noise."""
_CANDIDATES = 24  # numbers of guesses that are compared in advance


@dataclass(frozen=True, slots=True)
class Guesses:
    """The outcome of one round of guessing.

    Attributes:
        canaries: m ≥ 1, each included independently with probability 1/2.
        made: r in 1..m, the guesses that are not abstentions; fixed before the scores were seen.
        correct: v in 0..r.

    Raises:
        AuditError: numbers outside these ranges.
    """

    canaries: int
    made: int
    correct: int

    def __post_init__(self) -> None:
        if not (1 <= self.made <= self.canaries and 0 <= self.correct <= self.made):
            raise AuditError(
                f"{self.correct} right of {self.made} guesses on {self.canaries} canaries: need "
                "0 <= right <= guesses <= canaries and at least one guess"
            )

    @property
    def perfect(self) -> Guesses:
        """The same guesses, all of them right: where a bound has its ceiling."""
        return Guesses(self.canaries, self.made, self.made)


@dataclass(frozen=True, slots=True)
class LowerBound:
    """A lower bound on ε, valid with probability `confidence` whatever the mechanism.

    Attributes:
        method: which theorem.
        epsilon: the bound; 0 where nothing was shown.
        ceiling: the bound that the same number of right guesses only could have given. A claim
            above the ceiling cannot be refuted by this audit, however bad the mechanism is.
        guesses: what it rests on.
        confidence: of the bound.
    """

    method: str
    epsilon: float
    ceiling: float
    guesses: Guesses
    confidence: float


def guess(evidence: NDArray[np.float64], included: NDArray[np.bool_], made: int) -> Guesses:
    """Guess the r canaries with the strongest evidence by its sign, and count.

    Args:
        evidence: (m,), such as the log-likelihood ratio of in against out; 0 is taken for out.
        included: (m,), the coins.
        made: r in 1..m.

    Raises:
        AuditError: arrays that do not fit, evidence that is not finite, r outside 1..m.
    """
    if evidence.shape != included.shape or evidence.ndim != 1 or not np.isfinite(evidence).all():
        raise AuditError(f"need as many finite scores as coins, got {evidence.shape} scores")
    if not 1 <= made <= len(evidence):
        raise AuditError(f"the guesses must number 1 to {len(evidence)}, got {made}")
    strongest = np.argsort(-np.abs(evidence), kind="stable")[:made]
    right = int(((evidence > 0) == included)[strongest].sum())
    return Guesses(len(evidence), made, right)


def planned_guesses(canaries: int, mu: float, bound: Callable[[Guesses], float]) -> int:
    """The number of guesses with the best bound to be expected of a Gaussian with this μ.

    Scores are then N(0, 1) for canaries that are out and N(μ, 1) for those that are in. Only
    public numbers enter, so the choice is free.

    Args:
        canaries: m ≥ 1.
        mu: distance of the two distributions under the claimed guarantee; `inf` without one.
        bound: ε that some guesses show.
    """
    if math.isinf(mu):
        return canaries
    steps = range(1, _CANDIDATES + 1)
    numbers = sorted({max(1, round(canaries * step / _CANDIDATES)) for step in steps})
    return max(numbers, key=lambda made: bound(_expected(canaries, made, mu)))


def _expected(canaries: int, made: int, mu: float) -> Guesses:
    """The guesses that scores of distance μ give on average, rounded down."""
    tail = made / canaries / 2  # guessed "in"; as many are guessed "out", by symmetry

    def excess(threshold: float) -> float:
        return float(ndtr(-threshold) + ndtr(mu - threshold)) / 2 - tail

    threshold = brentq(excess, mu / 2 - 1e-9, mu + 40)
    accuracy = float(ndtr(mu - threshold)) / (2 * tail)
    return Guesses(canaries, made, min(made, math.floor(made * accuracy)))
