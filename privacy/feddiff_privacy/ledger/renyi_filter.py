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
from dp_accounting.rdp import RdpAccountant

from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import NoisedSum

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


def rdp(events: Sequence[NoisedSum], shares: int, order: float) -> float:
    """RDP at one order of events, under add/remove of one tile; `inf` where a noise is zero.

    Full batch: α·attempts/(2z²), which holds for the discrete Gaussian as it is (Canonne, Kamath
    and Steinke 2020, theorem 4), z the noise multiplier facing `shares` shares. Poisson sampling:
    the accountant of `dp_accounting` (Mironov, Talwar and Zhang 2019, arXiv 1908.10530) at the
    whole orders beside α, where its sum is finite and exact; (α − 1)·D_α is convex in α (van Erven
    and Harremoës 2014, corollary 2), so the line between them bounds it. The library's series for
    other orders does not converge for every rate.

    Raises:
        UnsupportedEventError: an event outside the vocabulary.
    """
    for event in events:
        if type(event) is not NoisedSum:  # a Gaussian's divergence bounds no other noise
            raise UnsupportedEventError(f"the filter does not know {type(event).__name__}")
    return fsum_or_inf(
        event.attempts * _one(event.noise_multiplier(shares), event.sampling_rate, order)
        for event in events
    )


def gaussian_mu_within(budget: float, order: float) -> float:
    """μ of the largest single full-batch Gaussian release whose RDP is within `budget`."""
    return math.sqrt(max(0.0, 2 * budget / order))


def fsum_or_inf(values: Iterable[float]) -> float:
    """The exactly rounded sum, which does not depend on the order of its terms."""
    terms = list(values)
    return math.inf if math.inf in terms else math.fsum(terms)


@functools.lru_cache(maxsize=4096)
def _one(multiplier: float, sampling_rate: float, order: float) -> float:
    if multiplier == 0:
        return math.inf
    if sampling_rate == 1:
        return order / (2 * multiplier**2)
    low, high = math.floor(order), math.ceil(order)
    accountant = RdpAccountant(
        orders=[low, high] if low > 1 else [high],
        neighboring_relation=dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
    )
    accountant.compose(
        dp_accounting.PoissonSampledDpEvent(
            sampling_rate, dp_accounting.GaussianDpEvent(multiplier)
        )
    )
    found = [float(value) for value in accountant.rdp]
    if low in {high, 1}:  # at α = 1, (α − 1)·D_α is 0: the line gives D_2 itself
        return found[-1]
    share = order - low
    return ((1 - share) * (low - 1) * found[0] + share * (high - 1) * found[1]) / (order - 1)
