"""ε and δ of a list of events, by privacy loss distributions.

The reported number is the PLD of `dp_accounting` (connect-the-dots discretisation: Doroshenko et
al. 2022, PoPETs; composition by FFT: Koskela et al. 2020). Two facts shorten the work without
changing the answer:

* Gaussian releases of the full batch compose exactly: k releases with noise multipliers z_i are
  as private as one with 1/z² = Σ 1/z_i² (Dong, Roth and Su 2022, arXiv 1905.02383).
* `replace_one` doubles the sensitivity of a full-batch Gaussian; for Poisson sampling the
  accountant's own `REPLACE_ONE` PLD is used.

A *group* of k tiles of which all are added, removed or replaced together has a PLD of its own;
k·ε would be both too coarse and, at a fixed δ, wrong. Of the full batch it is the Gaussian with k
times the sensitivity. Under Poisson sampling the number of members in a batch is binomial, and the
worst case is that all move the sum the same way: a mixture of Gaussians at 0, Δ, …, kΔ
(Choquette-Choo, Ganesh, Steinke and Thakurta 2023, arXiv 2310.15526, on mixtures of vectors
dominated by mixtures of their norms; Schuchardt et al. 2024, arXiv 2403.04867, on groups).

Noise here is discrete. `discrete_loss.py` charges what a continuous Gaussian leaves out, so that
the reported ε is never below that of the noise that was drawn. Skellam noise is accounted by its
own Rényi bound (`skellam_rdp.py`) and never by a Gaussian's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dp_accounting
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import binom

from feddiff_privacy.discrete_loss import continuous_gap, exact_loss, is_exact, tail_delta
from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import KINDS, Event, NoisedSum, SkellamSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.skellam_rdp import skellam_epsilon

_RELATION = {
    Adjacency.ADD_REMOVE: dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
    Adjacency.REPLACE_ONE: dp_accounting.NeighboringRelation.REPLACE_ONE,
}
_FINEST_INTERVAL = 1e-4  # nats of privacy loss
_MOST_POINTS = 1e5  # of the full-batch Gaussian's discretised loss
_MOST_EPSILON = 1e4
_STEP_POINTS = 3e4  # of one sampled Gaussian's, which is composed with itself many times
_GROUP_POINTS = 1e4  # of a sampled group's, whose points cost a root each


def check_events(events: Sequence[Event]) -> None:
    """Refuse what this accountant does not know, before anything is computed.

    Raises:
        UnsupportedEventError: an object that is not an event of the vocabulary, or events of
            both noises in one list: no one accountant here composes them.
    """
    for event in events:
        if type(event) not in KINDS.values():
            raise UnsupportedEventError(f"no accountant for {type(event).__name__}")
    if len({event.kind for event in events}) > 1:
        raise UnsupportedEventError("discrete Gaussian and Skellam sums are not accounted together")


def gaussian_mu(events: Sequence[Event], shares: int) -> float:
    """μ of the one Gaussian equivalent to all full-batch events; `inf` where a noise is zero.

    Source: Dong, Roth and Su 2022 (Gaussian Differential Privacy, arXiv 1905.02383).
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

    Source: Balle and Wang 2018 (arXiv 1805.06530), theorem 8, with logarithms of the normal
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
    events: Sequence[Event],
    *,
    shares: int,
    delta: float,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    group: int = 1,
) -> float:
    """ε at `delta` of all events together, for an observer facing `shares` noise shares.

    Args:
        events: the phases of one fixed plan, in any order (composition is order-free).
        shares: noise shares in each sum that the observer cannot subtract; 0 means none is left.
        delta: δ in (0, 1).
        adjacency: neighbouring relation, for one tile or for a group of them.
        group: number of tiles that change together, ≥ 1: ground that k owners hold, or a thing
            that lies in k tiles.

    Returns:
        An upper bound on ε; `math.inf` where some release has no noise left, or so few grid units
        of it for its dimension that nothing is proven.

    Raises:
        UnsupportedEventError: an event outside the vocabulary.
        ValueError: δ outside (0, 1), a group below 1.
    """
    check_events(events)
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
    if group < 1:
        raise ValueError(f"a group has at least 1 tile, got {group}")
    if not events:
        return 0.0
    if any(event.noise_multiplier(shares) == 0 for event in events):
        return math.inf
    gaussian = [event for event in events if isinstance(event, NoisedSum)]
    if len(gaussian) < len(events):
        skellam = [event for event in events if isinstance(event, SkellamSum)]
        return skellam_epsilon(
            skellam, shares=shares, delta=delta, adjacency=adjacency, group=group
        )
    return _gaussian_epsilon(gaussian, shares, delta, adjacency, group)


def _gaussian_epsilon(
    events: Sequence[NoisedSum], shares: int, delta: float, adjacency: Adjacency, group: int
) -> float:
    continuous = [event for event in events if not is_exact(event, shares)]
    reduced = tail_delta(continuous, shares, delta)
    if reduced <= 0:
        return math.inf
    # Two steps of a group for replacing under sampling: remove the old tiles, add the new ones.
    steps = group > 1 and adjacency is Adjacency.REPLACE_ONE and _is_sampled(continuous)
    relation = Adjacency.ADD_REMOVE if steps else adjacency
    composed = _composed(events, shares, relation, group)
    found = (
        _two_step_epsilon(composed, reduced)
        if steps
        else float(composed.get_epsilon_for_delta(reduced))
    )
    return found + continuous_gap(continuous, shares, epsilon=found, delta=delta)


def _composed(
    events: Sequence[NoisedSum], shares: int, adjacency: Adjacency, group: int
) -> pld.PrivacyLossDistribution:
    """PLD of all events: exact small sums, one merged Gaussian, sampled Gaussians."""
    moved = group * (2 if adjacency is Adjacency.REPLACE_ONE else 1)
    small = [event for event in events if is_exact(event, shares)]
    rest = [event for event in events if not is_exact(event, shares)]
    full = [event for event in rest if event.sampling_rate == 1]
    sampled = [event for event in rest if event.sampling_rate < 1]
    mu = gaussian_mu(full, shares)
    points = _STEP_POINTS if group == 1 else _GROUP_POINTS
    interval = _interval(
        [
            (mu * moved, _MOST_POINTS),
            *((moved / event.noise_multiplier(shares), points) for event in sampled),
        ]
    )
    composed = pld.identity(value_discretization_interval=interval)
    if full:
        composed = composed.compose(
            pld.from_gaussian_mechanism(
                1 / mu, sensitivity=moved, value_discretization_interval=interval
            )
        )
    for event in small:
        shift = round(event.sensitivity) * moved
        one = exact_loss(event.share_std, shares, shift, interval)
        composed = composed.compose(one.self_compose(event.attempts))
    for event in sampled:
        one = _sampled_loss(event, shares, adjacency, group, interval)
        composed = composed.compose(one.self_compose(event.attempts))
    return composed


def _sampled_loss(
    event: NoisedSum, shares: int, adjacency: Adjacency, group: int, interval: float
) -> pld.PrivacyLossDistribution:
    """PLD of one release of a Poisson sample, for a group of `group` tiles."""
    if group == 1:
        return pld.from_gaussian_mechanism(
            event.noise_multiplier(shares),
            value_discretization_interval=interval,
            sampling_prob=event.sampling_rate,
            neighboring_relation=_RELATION[adjacency],
        )
    members = range(group + 1)
    return pld.from_mixture_gaussian_mechanism(
        event.noise_multiplier(shares),
        [float(k) for k in members],
        [float(binom.pmf(k, group, event.sampling_rate)) for k in members],
        value_discretization_interval=interval,
    )


def _is_sampled(events: Sequence[NoisedSum]) -> bool:
    return any(event.sampling_rate < 1 for event in events)


def _two_step_epsilon(composed: pld.PrivacyLossDistribution, delta: float) -> float:
    """ε of going to a third data set and on to the neighbour, each step as `composed`.

    P(S) ≤ e^x·R(S) + δ(x) and R(S) ≤ e^x·Q(S) + δ(x) give P(S) ≤ e^{2x}·Q(S) + (1 + e^x)·δ(x).
    Valid, not tight; used only where no tighter bound is proven.
    """

    def excess(x: float) -> float:
        # log1p(e^x) without overflow
        return float(
            math.log(max(composed.get_delta_for_epsilon(x), 1e-300))
            + max(x, 0.0)
            + math.log1p(math.exp(-abs(x)))
            - math.log(delta)
        )

    low, high = 0.0, 1.0
    while excess(high) > 0:
        low, high = high, 2 * high
        if high > _MOST_EPSILON:
            return math.inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return 2 * high


def _interval(parts: Sequence[tuple[float, float]]) -> float:
    """A step of the discretised privacy loss that bounds the points of every Gaussian.

    Coarser steps only ever raise ε (the discretisation dominates the true mechanism); rows with
    ε in the hundreds do not need a step of 1e-4.

    Args:
        parts: (μ, most points) of each Gaussian.
    """
    interval = _FINEST_INTERVAL
    for mu, points in parts:
        spread = mu * (mu + 2 * 10)  # the loss is N(μ²/2, μ²); ±10 deviations
        interval = max(interval, spread / points)
    return interval
