"""ε and δ of a list of events, by privacy loss distributions.

The reported number is the PLD of `dp_accounting` (connect-the-dots discretisation: Doroshenko et
al. 2022, PoPETs; composition by FFT: Koskela et al. 2020). Two facts shorten the work without
changing the answer:

* Gaussian releases of the full batch compose exactly: k releases with noise multipliers z_i are
  as private as one with 1/z² = Σ 1/z_i² (Dong, Roth and Su 2022, corollary 3.3).
* `replace_one` doubles the sensitivity of a full-batch Gaussian; for Poisson sampling the
  accountant's own `REPLACE_ONE` PLD is used.

A discrete Gaussian over the integers is accounted as the continuous Gaussian of the same
variance. `noise.py` and docs/privacy.md bound what that leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.optimize import brentq
from scipy.special import log_ndtr

from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.guarantee import Adjacency

_RELATION = {
    Adjacency.ADD_REMOVE: dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
    Adjacency.REPLACE_ONE: dp_accounting.NeighboringRelation.REPLACE_ONE,
}
_FINEST_INTERVAL = 1e-4  # nats of privacy loss
_MOST_POINTS = 1e5  # of the full-batch Gaussian's discretised loss
_STEP_POINTS = 3e4  # of one sampled Gaussian's, which is composed with itself many times


def check_events(events: Sequence[NoisedSum]) -> None:
    """Refuse what this accountant does not know, before anything is computed.

    Raises:
        UnsupportedEventError: an object that is not an event of the vocabulary.
    """
    for event in events:
        if type(event) is not NoisedSum:
            raise UnsupportedEventError(f"no accountant for {type(event).__name__}")


def gaussian_mu(events: Sequence[NoisedSum], shares: int) -> float:
    """μ of the one Gaussian equivalent to all full-batch events; `inf` where a noise is zero.

    Source: Dong, Roth and Su 2022 (Gaussian Differential Privacy), corollary 3.3.
    """
    total = 0.0
    for event in events:
        multiplier = event.noise_multiplier(shares)
        if multiplier == 0:
            return math.inf
        total += event.attempts / multiplier**2
    return math.sqrt(total)


def analytic_delta(mu: float, epsilon: float) -> float:
    """δ(ε) of the Gaussian mechanism with sensitivity over noise μ.

    Source: Balle and Wang 2018 (ICML), theorem 8. Computed with logarithms of the normal
    distribution, so that neither tail underflows.
    """
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(second - first) if second < first else 0.0


def analytic_epsilon(mu: float, delta: float) -> float:
    """ε(δ) of the Gaussian mechanism: the oracle for full-batch events, and a starting point."""
    if mu == 0 or analytic_delta(mu, 0.0) <= delta:
        return 0.0
    if math.isinf(mu):
        return math.inf
    upper = mu * mu / 2 + mu * math.sqrt(2 * math.log(1 / delta)) + 1
    return float(brentq(lambda e: analytic_delta(mu, e) - delta, 0.0, upper, xtol=1e-12))


def epsilon(
    events: Sequence[NoisedSum],
    *,
    shares: int,
    delta: float,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
) -> float:
    """ε at `delta` of all events together, for an observer facing `shares` noise shares.

    Args:
        events: the phases of one fixed plan, in any order (composition is order-free).
        shares: noise shares in each sum that the observer cannot subtract; 0 means none is left.
        delta: δ in (0, 1).
        adjacency: neighbouring relation, for one tile.

    Returns:
        An upper bound on ε; `math.inf` where some release has no noise left.

    Raises:
        UnsupportedEventError: an event outside the vocabulary.
        ValueError: δ outside (0, 1).
    """
    check_events(events)
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    if not events:
        return 0.0
    if any(event.noise_multiplier(shares) == 0 for event in events):
        return math.inf
    full = [event for event in events if event.sampling_rate == 1]
    sampled = [event for event in events if event.sampling_rate < 1]
    mu = gaussian_mu(full, shares)
    steps = [1 / event.noise_multiplier(shares) for event in sampled]
    interval = _interval([(mu, _MOST_POINTS), *((step, _STEP_POINTS) for step in steps)], adjacency)
    relation = _RELATION[adjacency]
    composed = pld.identity(value_discretization_interval=interval)
    if full:
        composed = composed.compose(
            pld.from_gaussian_mechanism(
                1 / mu, value_discretization_interval=interval, neighboring_relation=relation
            )
        )
    for event in sampled:
        one = pld.from_gaussian_mechanism(
            event.noise_multiplier(shares),
            value_discretization_interval=interval,
            sampling_prob=event.sampling_rate,
            neighboring_relation=relation,
        )
        composed = composed.compose(one.self_compose(event.attempts))
    return float(composed.get_epsilon_for_delta(delta))


def _interval(parts: Sequence[tuple[float, float]], adjacency: Adjacency) -> float:
    """A step of the discretised privacy loss that bounds the points of every Gaussian.

    Coarser steps only ever raise ε (the discretisation dominates the true mechanism); rows with
    ε in the hundreds do not need a step of 1e-4.

    Args:
        parts: (μ, most points) of each Gaussian.
        adjacency: replace-one doubles every μ.
    """
    interval = _FINEST_INTERVAL
    for mu, points in parts:
        scale = mu * (2 if adjacency is Adjacency.REPLACE_ONE else 1)
        spread = scale * (scale + 2 * 10)  # the loss is N(scale²/2, scale²); ±10 deviations
        interval = max(interval, spread / points)
    return interval
