"""A lower bound from one training run against the trade-off curve of a Gaussian mechanism.

Source: Mahloujifar, Melis and Chaudhuri 2024, "Auditing f-Differential Privacy in One Run" (arXiv
2410.22235), theorem for a binary game with abstentions and its recursion. Let p_k be the
probability that exactly k of the r guesses on m canaries are right. Take a canary at random and
flip its coin. The event "it is guessed right and at least k + 1 are right" becomes, when the
coin is other than the guess, "it is guessed wrong and at least k are right"; f-DP bounds
the first by the second, averaged over canaries (f̄(x) = 1 − f(x) is concave):

    R_{k+1} ≤ f̄(H_k),    R_k = Σ_{j ≥ k} (j/m) p_j,    H_k = Σ_{j ≥ k} ((r − j)/m) p_j.

With the Gaussian curve f̄(x) = Φ(Φ⁻¹(x) + μ). Suppose P[right ≥ v] = τ. All of that mass at v makes
R_v and H_v least; going down, H_k ≥ Φ(Φ⁻¹(R_{k+1}) − μ), and each step of H brings mass with it,
R_k = R_{k+1} + (k/(r − k)) (H_k − H_{k+1}). All mass together is R_0 + H_0 = r/m. A τ for which
the recursion needs more than that is impossible.

It refutes "this mechanism's trade-off curve is that of a Gaussian with μ" for every μ below the
bound, and the bound is written as the ε(δ) of that Gaussian. Where the claimed guarantee *is* a
Gaussian (the full batch) that refutes the claim; where tiles are sampled it does not.
"""

from __future__ import annotations

import math

from scipy.special import ndtr, ndtri

from feddiff_privacy.accountant import analytic_epsilon
from feddiff_privacy.attacks.guesses import CONFIDENCE, Guesses, LowerBound
from feddiff_privacy.errors import AuditError

METHOD = "one-run Gaussian f-DP"
_STEPS = 60  # of bisection
_MOST_MU = 64.0  # Φ of half of it is 1 in float64


def refutes(guesses: Guesses, mu: float, level: float) -> bool:
    """Whether P[so many right guesses] > `level` is impossible for the Gaussian with μ.

    Args:
        guesses: m, r and v.
        mu: μ ≥ 0, sensitivity over noise.
        level: τ in (0, 1).

    Raises:
        AuditError: μ or τ outside its range.
    """
    if not (mu >= 0 and 0 < level < 1):
        raise AuditError(f"need mu >= 0 and a level in (0, 1), got {mu}, {level}")
    v, r, m = guesses.correct, guesses.made, guesses.canaries
    right = level * v / m
    wrong = level * (r - v) / m
    for k in range(v - 1, -1, -1):
        least = max(wrong, float(ndtr(ndtri(right) - mu)))
        if least <= wrong:
            break  # no constraint below binds either
        right += k / (r - k) * (least - wrong)
        wrong = least
        if right + wrong > r / m:
            return True
    return right + wrong > r / m


def gaussian_mu_bound(guesses: Guesses, confidence: float = CONFIDENCE) -> float:
    """The largest μ found by bisection that the guesses refute; 0 if they refute none."""
    level = 1 - confidence
    if not refutes(guesses, 0.0, level):
        return 0.0
    low, high = 0.0, _MOST_MU
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if refutes(guesses, middle, level):
            low = middle
        else:
            high = middle
    return low


def gaussian_one_run_bound(
    guesses: Guesses, delta: float, confidence: float = CONFIDENCE
) -> LowerBound:
    """The bound as ε(δ) of the Gaussian, with its ceiling.

    Args:
        guesses: m, r and v; r was fixed before the scores were seen.
        delta: δ in (0, 1) at which μ is written as ε.
        confidence: probability with which the bound holds.
    """

    def written(found: Guesses) -> float:
        mu = gaussian_mu_bound(found, confidence)
        return math.inf if mu >= _MOST_MU * (1 - 1e-9) else analytic_epsilon(mu, delta)

    return LowerBound(
        method=METHOD,
        epsilon=written(guesses),
        ceiling=written(guesses.perfect),
        guesses=guesses,
        confidence=confidence,
    )
