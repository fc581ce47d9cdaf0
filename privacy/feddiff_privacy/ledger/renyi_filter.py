"""The Rényi filter: how much of a lifetime (ε, δ) events use up at one fixed order.

Rényi divergences of one order α add up even when each mechanism, and whether there is a next
one, is chosen after seeing all earlier outputs: as long as the sum of their bounds stays below B
on *every* path, the whole is (α, B)-RDP (Feldman and Zrnic 2021, arXiv 2008.11193; interleaved
interactive mechanisms too: Haney et al. 2023, arXiv 2309.05901). The order has to be fixed before
the first output; minimising over orders afterwards, as an accountant of one fixed plan may, is
not covered by that theorem. So α is a public function of (ε, δ) and is written into the header.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

import dp_accounting
import numpy as np
from dp_accounting.rdp import RdpAccountant

from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import Event, NoisedSum, SkellamSum
from feddiff_privacy.skellam_rdp import sampled_renyi, skellam_renyi

UNLIMITED_REFERENCE = 8.0
"""ε for which the order of a ledger without limit is chosen; it only serves to report."""

# Sixteenths up to 11, then integers, then quarter octaves: coarse enough that no two machines
# disagree about the best one by rounding.
ORDERS: tuple[float, ...] = (
    *(1 + k / 16 for k in range(1, 161)),
    *(float(k) for k in range(12, 65)),
    *(float(int(64 * 2 ** (k / 4))) for k in range(1, 25)),
)


def rdp_budget(epsilon: float, delta: float, order: float) -> float:
    """The largest B such that (α, B)-RDP implies (ε, δ)-DP; may be negative: then there is none.

    Source: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), proposition 12.
    """
    return epsilon - _price(delta, order)


def converted_epsilon(rdp: float, delta: float, order: float) -> float:
    """ε at δ of what is (α, rdp)-RDP, by the same proposition."""
    return max(0.0, rdp + _price(delta, order))


def _price(delta: float, order: float) -> float:
    """What the conversion from RDP adds."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def filter_order(lifetime_epsilon: float | None, delta: float) -> float:
    """The order at which the most full-batch Gaussian μ² fits into (ε, δ): B(α) / (α/2)."""
    epsilon = UNLIMITED_REFERENCE if lifetime_epsilon is None else lifetime_epsilon
    return max(ORDERS, key=lambda order: rdp_budget(epsilon, delta, order) / order)


def rdp(events: Sequence[Event], shares: int, order: float) -> float:
    """RDP at one order of events, under add/remove of one tile; `inf` where a noise is zero.

    Full batch of Gaussian sums: α·attempts/(2z²), which holds for the discrete Gaussian as it is
    (Canonne, Kamath and Steinke 2020), z the noise multiplier facing `shares` shares.
    Everything else is bounded at whole orders: Poisson sampling by the accountant of
    `dp_accounting` (Mironov, Talwar and Zhang 2019, arXiv 1908.10530), whose series for other
    orders does not converge for every rate; Skellam sums by `skellam_rdp`. (α − 1)·D_α is convex
    in α (van Erven and Harremoës 2014), so the line between the whole orders beside α
    bounds it.

    Raises:
        UnsupportedEventError: an event outside the vocabulary.
    """
    parts = []
    for event in events:
        if type(event) is NoisedSum:
            one = _gaussian(event.noise_multiplier(shares), event.sampling_rate, order)
        elif type(event) is SkellamSum:
            one = _skellam(
                event.share_std**2 * shares,
                event.sensitivity,
                event.sensitivity_l1,
                event.sampling_rate,
                order,
            )
        else:  # no divergence bounds another noise
            raise UnsupportedEventError(f"the filter does not know {type(event).__name__}")
        parts.append(event.attempts * one)
    return fsum_or_inf(parts)


def gaussian_mu_within(budget: float, order: float) -> float:
    """μ of the largest single full-batch Gaussian release whose RDP is within `budget`."""
    return math.sqrt(max(0.0, 2 * budget / order))


def fsum_or_inf(values: Iterable[float]) -> float:
    """The exactly rounded sum, which does not depend on the order of its terms."""
    terms = list(values)
    return math.inf if math.inf in terms else math.fsum(terms)


@functools.lru_cache(maxsize=4096)
def _gaussian(multiplier: float, sampling_rate: float, order: float) -> float:
    if multiplier == 0:
        return math.inf
    if sampling_rate == 1:
        return order / (2 * multiplier**2)
    whole = _whole_orders(order)
    accountant = RdpAccountant(
        orders=whole,
        neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
    )
    accountant.compose(
        dp_accounting.PoissonSampledDpEvent(
            sampling_rate, dp_accounting.GaussianDpEvent(multiplier)
        )
    )
    return _between(order, whole, [float(value) for value in accountant.rdp])


@functools.lru_cache(maxsize=4096)
def _skellam(variance: float, l2: float, l1: float, sampling_rate: float, order: float) -> float:
    if variance == 0:
        return math.inf
    whole = _whole_orders(order)
    if sampling_rate == 1:
        found = skellam_renyi(np.array(whole), variance, l2, l1)
        return _between(order, whole, found.tolist())
    up_to = np.arange(2, whole[-1] + 1)  # the sum of a sampled order needs all orders below
    found = sampled_renyi(skellam_renyi(up_to, variance, l2, l1), sampling_rate)
    return _between(order, whole, [float(found[k - 2]) for k in whole])


def _whole_orders(order: float) -> list[int]:
    """The whole orders beside α, from 2 on."""
    low, high = math.floor(order), math.ceil(order)
    return [low, high] if 1 < low < high else [max(2, high)]


def _between(order: float, whole: list[int], found: Sequence[float]) -> float:
    """A bound of D_α from those at whole orders; at α = 1, (α − 1)·D_α is 0."""
    if len(whole) == 1:
        return found[0]
    low, high = whole
    share = order - low
    return ((1 - share) * (low - 1) * found[0] + share * (high - 1) * found[1]) / (order - 1)
