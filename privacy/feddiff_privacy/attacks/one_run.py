"""A lower bound on ε from one training run: the p-value of v right guesses under (ε, δ)-DP.

Source: Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run" (arXiv
2305.08846), main theorem, in the form of the code of its appendix D. If a mechanism is (ε, δ)-DP
under add/remove of one canary, each of m canaries is in with probability 1/2, and r guesses are
made, then

    P[right ≥ v] ≤ β + 2 m δ α,    β = P[B ≥ v],    α = max_{1 ≤ i ≤ v} P[v > B ≥ v − i] / i,

with B ~ Binomial(r, e^ε / (1 + e^ε)): randomised response is the worst pure mechanism, and δ
buys right guesses at a price. It holds for every mechanism and every way of guessing, but it
treats the noise of a Gaussian as if it were randomised response, so it stays far below the ε of
a Gaussian: see the ceiling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, expit

from feddiff_privacy.attacks.guesses import CONFIDENCE, Guesses, LowerBound
from feddiff_privacy.errors import AuditError

METHOD = "one-run (epsilon, delta)"
_STEPS = 40  # of bisection


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """An upper bound on the probability of so many right guesses under (ε, δ)-DP.

    Args:
        guesses: m, r and v.
        epsilon: ε ≥ 0.
        delta: δ in [0, 1].

    Raises:
        AuditError: ε or δ outside its range.
    """
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise AuditError(f"need epsilon >= 0 and delta in [0, 1], got {epsilon}, {delta}")
    v, r = guesses.correct, guesses.made
    accuracy = float(expit(epsilon))
    beta = _tail(np.array([v]), r, accuracy)[0]
    if delta == 0:
        return float(beta)
    i = np.arange(1, v + 1)
    alpha = np.max((_tail(v - i, r, accuracy) - beta) / i, initial=0.0)
    return float(min(1.0, beta + 2 * guesses.canaries * delta * alpha))


def one_run_epsilon(guesses: Guesses, delta: float, confidence: float = CONFIDENCE) -> float:
    """The largest ε found by bisection whose p-value is below 1 − confidence; 0 if there is none.

    Refuting ε refutes every smaller one, because a smaller ε implies the larger, so the result
    is a valid lower bound even where the p-value is not monotone in ε.
    """
    level = 1 - confidence
    if p_value(guesses, 0.0, delta) >= level:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(guesses, high, delta) < level:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if p_value(guesses, middle, delta) < level:
            low = middle
        else:
            high = middle
    return low


def one_run_bound(guesses: Guesses, delta: float, confidence: float = CONFIDENCE) -> LowerBound:
    """The bound with its ceiling.

    Args:
        guesses: m, r and v; r was fixed before the scores were seen.
        delta: δ in [0, 1], the δ of the claim.
        confidence: probability with which the bound holds.
    """
    return LowerBound(
        method=METHOD,
        epsilon=one_run_epsilon(guesses, delta, confidence),
        ceiling=one_run_epsilon(guesses.perfect, delta, confidence),
        guesses=guesses,
        confidence=confidence,
    )


def _tail(at_least: NDArray[np.int64], trials: int, chance: float) -> NDArray[np.float64]:
    """P[Binomial(trials, chance) ≥ k] for every k."""
    found = bdtrc(np.maximum(at_least - 1, 0), trials, chance)  # P[B > k − 1]
    return np.asarray(np.where(at_least <= 0, 1.0, found), dtype=np.float64)
