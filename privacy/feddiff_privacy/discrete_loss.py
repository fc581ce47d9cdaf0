"""The discrete Gaussian against the continuous one: what the accountant adds for the difference.

A share is a discrete Gaussian on the integers; the accountant's PLD is that of a continuous
Gaussian of the same variance. Two ways bridge the two, and neither ever reports too little.

**Exactly** (`exact_loss`): the release of one whole number whose noise is a few grid units wide,
such as the count of tiles. The probabilities of the sum of h shares are convolved and the PLD is
made from them. The sum of independent log-concave variables is log-concave, so among the integer
shifts that the sensitivity allows the largest one is the worst: the likelihood ratio is monotone,
hence the best tests are thresholds, and those gain with the shift (cf. Dong, Roth and Su 2022,
arXiv 1905.02383).

**By a bound** (`continuous_gap`): everything else. Let Y = round(X), X ~ N(0, σ²). For integer
values v, v + Y is a post-processing of v + X, so it is at least as private as the continuous
Gaussian. The probabilities of Y and of a discrete Gaussian K differ by

    −τ − k²/24σ⁴  ≤  log P[K = k] / P[Y = k]  ≤  1/24σ²,    τ = log Σ_j exp(−2π²σ²j²)

because P[Y = k] is the mean over u uniform in ±½ of φ_σ(k + u) = φ_σ(k)·exp(−ku/σ² − u²/2σ²):
at least φ_σ(k)·exp(−1/24σ²) (Jensen), and at most φ_σ(k)·exp(k²/24σ⁴) (sinh(x/2)/(x/2) ≤
exp(x²/24)); and Σ_k φ_σ(k) = e^τ (Poisson summation). Over N coordinates of all attempts the sum
of squares of the noise exceeds (σ(√N + √2t) + √N/2)² with probability e^{−t} at most (Laurent and
Massart 2000, lemma 1). The noise is independent of the batches and of all earlier outputs, so the
inequality holds for the joint law of a whole adaptive run, sampled batches included. Hence, if
the continuous run is (ε, δ₀)-private, then the discrete one is (ε + η₁ + η₂, δ)-private with

    η₁ = N/24σ²,   η₂ = N·τ + (σ(√N + √2t) + √N/2)²/24σ⁴,   δ = e^{η₁}(δ₀ + e^{ε−t}).

A sum of h shares is not one discrete Gaussian; `share_sum_gap` (Kairouz, Liu and Steinke 2021,
arXiv 2102.06387) bounds the difference a coordinate, in both directions, and is added too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from numpy.typing import NDArray

from feddiff_privacy.events import NoisedSum
from feddiff_privacy.noise import RANGE_STDS, share_sum_gap

MOST_EXACT_STD = 64.0
"""Largest noise of a whole sum, grid units, whose PLD is computed exactly."""
_TAIL_NATS = 30.0  # e^-30 of δ pays for the noise that is further out than assumed


def is_exact(event: NoisedSum, shares: int) -> bool:
    """Whether the event is small enough to be accounted by its own probabilities."""
    return (
        event.dimension == 1
        and event.sampling_rate == 1
        and event.share_std > 0
        and event.sensitivity == round(event.sensitivity)
        and event.share_std * math.sqrt(shares) <= MOST_EXACT_STD
    )


def share_probabilities(share_std: float, shares: int) -> NDArray[np.float64]:
    """P[k] of the sum of `shares` shares on the integers, centred; as the sampler draws them.

    Products and sums of positive numbers only, so every entry has a relative error of a few
    times 1e-16 × its number of terms, in the tails too.
    """
    reach = math.ceil(RANGE_STDS * share_std)
    k = np.arange(-reach, reach + 1, dtype=np.float64)
    one = np.exp(-0.5 * np.square(k / share_std))
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
        middle = len(total) // 2
        keep = min(middle, math.ceil(RANGE_STDS * MOST_EXACT_STD * 1.5))
        total = total[middle - keep : middle + keep + 1]
    return total


@functools.lru_cache(maxsize=32)
def exact_loss(
    share_std: float, shares: int, shift: int, interval: float
) -> pld.PrivacyLossDistribution:
    """PLD of a whole number moved by `shift` under the sum of `shares` discrete Gaussian shares.

    Args:
        share_std: of one share, grid units.
        shares: shares that the observer faces.
        shift: the sensitivity, grid units.
        interval: step of the discretised privacy loss; values are rounded up.
    """
    probabilities = share_probabilities(share_std, shares)
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities).tolist()
    lower = {k: value for k, value in enumerate(logs) if value > -math.inf}
    upper = {k + shift: value for k, value in lower.items()}
    return pld.from_two_probability_mass_functions(
        lower, upper, value_discretization_interval=interval
    )


def rounding_nats(events: Sequence[NoisedSum], shares: int) -> float:
    """η₁ of the module: nats that a discrete probability may exceed the rounded Gaussian's by."""
    return math.fsum(_draws(e) / (24 * _variance(e, shares)) for e in events)


def tail_delta(events: Sequence[NoisedSum], shares: int, delta: float) -> float:
    """δ₀ of the module: what remains for the continuous Gaussian."""
    return delta * (math.exp(-rounding_nats(events, shares)) - math.exp(-_TAIL_NATS))


def continuous_gap(
    events: Sequence[NoisedSum], shares: int, *, epsilon: float, delta: float
) -> float:
    """Nats to add to ε of the continuous Gaussian at `tail_delta`: η₁ + η₂ and the share sum.

    Args:
        events: those that were accounted as continuous Gaussians.
        shares: noise shares that the observer faces.
        epsilon: ε of all phases together, at `tail_delta`.
        delta: δ of the claim.
    """
    if not events:
        return 0.0
    tail = epsilon - math.log(delta) + _TAIL_NATS + math.log(len(events))
    total = rounding_nats(events, shares)
    for event in events:
        draws, variance = _draws(event), _variance(event, shares)
        std, root = math.sqrt(variance), math.sqrt(_draws(event))
        reach = std * (root + math.sqrt(2 * tail)) + root / 2
        theta = math.log1p(2.1 * math.exp(-2 * math.pi**2 * variance))
        total += draws * theta + reach**2 / (24 * variance**2)
        total += 2 * draws * share_sum_gap(event.share_std, shares)
    return total


def _draws(event: NoisedSum) -> float:
    return float(event.attempts) * event.dimension


def _variance(event: NoisedSum, shares: int) -> float:
    return event.share_std**2 * shares
