"""ε of Skellam sums, by their own Rényi bound.

Skellam noise Sk(0, v) has variance v. For an integer query with sensitivities Δ₁ (L1) and Δ₂ (L2)
and every integer order α > 1 (Agarwal, Kairouz and Liu 2021, arXiv 2110.04995, their bound for
the multi-dimensional Skellam mechanism):

    ε(α) ≤ α·Δ₂²/2v + min( ((2α − 1)·Δ₂² + 6·Δ₁) / 4v²,  3·Δ₁ / 2v )

The first term is the Gaussian's. Poisson sampling: for a mechanism with ε(k) under add/remove of
one unit in both directions, orders α ≥ 2 (Steinke 2022, arXiv 2210.00597, on Poisson sampling;
Zhu and Wang 2019):

    (α−1)·ε'(α) = log( (1−q)^{α−1}·(1 + (α−1)q)
                       + Σ_{k=2}^{α} C(α,k)·(1−q)^{α−k}·q^k·e^{(k−1)ε(k)} )

From Rényi to (ε, δ): Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), proposition 12:

    ε = ε(α) + log(1 − 1/α) − (log δ + log α) / (α − 1),  the least over α.

Sums of Skellam shares are Skellam: the noise of h shares of variance v is exactly Sk(0, h·v), so
no gap of the share sum arises. The sampler's probabilities are right to a factor within
1 ± 2^ERROR_LOG2; that factor of every draw, in both directions, is added to ε.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from feddiff_privacy.events import SkellamSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.skellam import ERROR_LOG2

FULL_ORDERS = np.unique(
    np.round(np.concatenate([np.arange(2, 65), np.geomspace(65, 1e6, 400)])).astype(np.int64)
)
"""Integer orders tried for the full batch."""
SAMPLED_ORDERS = np.arange(2, 257, dtype=np.int64)
"""Integer orders tried where a batch is sampled; the sum above needs all orders below too."""


def skellam_renyi(
    orders: NDArray[np.int64], variance: float, l2: float, l1: float
) -> NDArray[np.float64]:
    """ε(α) of one release at integer orders, shape as `orders`.

    Args:
        orders: α ≥ 2.
        variance: v, of the noise that the observer faces, in squared grid units; > 0.
        l2: Δ₂ in grid units.
        l1: Δ₁ in grid units.
    """
    alpha = orders.astype(np.float64)
    near = ((2 * alpha - 1) * l2**2 + 6 * l1) / (4 * variance**2)
    far = np.full_like(alpha, 3 * l1 / (2 * variance))
    return np.asarray(alpha * l2**2 / (2 * variance) + np.minimum(near, far))


def sampled_renyi(renyi: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Rényi ε of the Poisson-sampled mechanism, at the orders 2, 3, …, len(renyi) + 1.

    Args:
        renyi: ε(k) of the mechanism at k = 2, 3, ….
        rate: q in (0, 1).
    """
    log_q, log_rest = math.log(rate), math.log1p(-rate)
    out = np.empty_like(renyi)
    for row in range(len(renyi)):
        alpha = row + 2
        k = np.arange(2, alpha + 1)
        choose = gammaln(alpha + 1) - gammaln(k + 1) - gammaln(alpha - k + 1)
        terms = choose + (alpha - k) * log_rest + k * log_q + (k - 1) * renyi[: alpha - 1]
        first = (alpha - 1) * log_rest + math.log1p((alpha - 1) * rate)
        out[row] = float(logsumexp(np.append(terms, first))) / (alpha - 1)
    return np.asarray(np.maximum(out, 0.0))


def renyi_to_epsilon(
    orders: NDArray[np.int64], renyi: NDArray[np.float64], delta: float
) -> tuple[float, int]:
    """The least ε over the orders, and the order that gives it."""
    alpha = orders.astype(np.float64)
    found = renyi + np.log1p(-1 / alpha) - (math.log(delta) + np.log(alpha)) / (alpha - 1)
    best = int(np.argmin(found))
    return max(0.0, float(found[best])), int(orders[best])


def skellam_epsilon(
    events: Sequence[SkellamSum],
    *,
    shares: int,
    delta: float,
    adjacency: Adjacency,
    group: int = 1,
) -> float:
    """ε at `delta` of Skellam sums, for an observer facing `shares` noise shares.

    Args:
        events: Skellam sums only, each with some noise.
        shares: ≥ 1.
        delta: δ in (0, 1).
        adjacency: replacing doubles both sensitivities of a full batch.
        group: tiles that change together; multiplies both sensitivities of a full batch.

    Returns:
        An upper bound; `math.inf` for a sampled batch with a group or replace-one, because the
        bound for sampling above is proven for one unit added or removed.
    """
    moved = group * (2 if adjacency is Adjacency.REPLACE_ONE else 1)
    sampled = any(event.sampling_rate < 1 for event in events)
    if sampled and moved > 1:
        return math.inf
    orders = SAMPLED_ORDERS if sampled else FULL_ORDERS
    total = np.zeros(len(orders))
    for event in events:
        one = skellam_renyi(
            orders,
            event.share_std**2 * shares,
            event.sensitivity * moved,
            event.sensitivity_l1 * moved,
        )
        if event.sampling_rate < 1:
            one = sampled_renyi(one, event.sampling_rate)
        total += event.attempts * one
    draws = sum(float(event.attempts) * event.dimension * shares for event in events)
    return renyi_to_epsilon(orders, total, delta)[0] + 2 * draws * 2.0**ERROR_LOG2
