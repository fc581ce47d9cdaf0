"""An estimate of ε from the distance of two clouds of scores, if both are normal. Not a bound.

Where scores are N(a, s²) for canaries that are out and N(a + μ s, s²) for those that are in, the
mechanism separates its two worlds by μ, and ε follows from μ and δ as for any Gaussian mechanism
(Balle and Wang 2018, theorem 8). The model is exact for sums of full-batch Gaussian releases
scored against orthogonal directions. Reading ε off fitted distributions instead of counted errors
follows Andrew et al. 2024 (arXiv 2302.03098). It has no ceiling, so it sees noise that is too
small where the bounds cannot; in return it proves nothing where scores are not normal.

Sampling error: with n₁ scores in, n₀ out and q = √(n₁ n₀ / (n₁ + n₀)), q·μ̂ has the noncentral t
distribution with n₁ + n₀ − 2 degrees of freedom and noncentrality q·μ, so the one-sided
confidence limit is exact under the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import nct

from feddiff_privacy.accountant import analytic_epsilon
from feddiff_privacy.attacks.guesses import CONFIDENCE
from feddiff_privacy.errors import AuditError

_LARGE = 150.0  # noncentrality above which the normal approximation is used


@dataclass(frozen=True, slots=True)
class GaussianEstimate:
    """What a normal model of the scores says.

    Attributes:
        mu: μ̂, difference of means over pooled deviation; `inf` where no score varies.
        mu_lower: one-sided lower confidence limit of μ, at least 0.
        standard_error: of μ̂, large-sample.
        epsilon: ε(δ) at μ̂, at least 0.
        epsilon_lower: ε(δ) at the limit.
        inside: number of scores in. outside: number of scores out.
        confidence: of the limit, if the model is right.
    """

    mu: float
    mu_lower: float
    standard_error: float
    epsilon: float
    epsilon_lower: float
    inside: int
    outside: int
    confidence: float


def gaussian_estimate(
    scores: NDArray[np.float64],
    included: NDArray[np.bool_],
    delta: float,
    confidence: float = CONFIDENCE,
) -> GaussianEstimate:
    """Fit the two means and the common deviation of the scores.

    Args:
        scores: (m,), finite.
        included: (m,), the coins; at least two scores on either side.
        delta: δ in (0, 1).
        confidence: of the one-sided limit.

    Raises:
        AuditError: scores that are not finite, or fewer than two on a side.
    """
    inside, outside = scores[included], scores[~included]
    n1, n0 = len(inside), len(outside)
    if min(n1, n0) < 2 or not np.isfinite(scores).all():
        raise AuditError(f"need at least 2 finite scores in and out, got {n1} and {n0}")
    gap = float(inside.mean() - outside.mean())
    squares = float(((inside - inside.mean()) ** 2).sum() + ((outside - outside.mean()) ** 2).sum())
    spread = math.sqrt(squares / (n1 + n0 - 2))
    mu = gap / spread if spread > 0 else gap * math.inf if gap else 0.0
    root = math.sqrt(n1 * n0 / (n1 + n0))
    error = math.sqrt(1 / root**2 + mu**2 / (2 * (n1 + n0 - 2))) if math.isfinite(mu) else 0.0
    lower = max(0.0, _lower_limit(mu, root, n1 + n0 - 2, error, confidence))
    return GaussianEstimate(
        mu=mu,
        mu_lower=lower,
        standard_error=error,
        epsilon=analytic_epsilon(max(0.0, mu), delta),
        epsilon_lower=analytic_epsilon(lower, delta),
        inside=n1,
        outside=n0,
        confidence=confidence,
    )


def _lower_limit(mu: float, root: float, freedom: int, error: float, confidence: float) -> float:
    """μ at which an estimate of μ̂ or more has probability 1 − confidence."""
    if not math.isfinite(mu) or mu * root > _LARGE:
        return mu - float(ndtri(confidence)) * error
    if mu <= 0:
        return 0.0

    def excess(candidate: float) -> float:
        return float(nct.sf(mu * root, freedom, candidate * root)) - (1 - confidence)

    return float(brentq(excess, 0.0, mu)) if excess(0.0) < 0 else 0.0
