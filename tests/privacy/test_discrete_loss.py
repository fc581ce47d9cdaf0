"""Discrete noise is charged for what it is: never below its exact ε, within 1 % of a Gaussian's.

The oracles here add up probabilities of the integers themselves and share no code with the
accountant: no privacy-loss library, no bound.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from feddiff_privacy.accountant import analytic_epsilon, epsilon, gaussian_mu
from feddiff_privacy.discrete_loss import (
    MOST_EXACT_STD,
    continuous_gap,
    exact_loss,
    is_exact,
    rounding_nats,
    share_probabilities,
    tail_delta,
)
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_secure.config.schema import RunConfig
from tests.support.federations import plan_for

DELTA = 1e-5
Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def probabilities(std: float, shares: int, reach: int) -> Array:
    """P[k], |k| ≤ reach, of a sum of shares: by the discrete Fourier transform of one share."""
    k = np.arange(-reach, reach + 1)
    one = np.exp(-0.5 * np.square(k / std))
    one /= one.sum()
    if shares == 1:
        return one
    spectrum = np.fft.rfft(np.fft.ifftshift(one))
    total = np.fft.fftshift(np.fft.irfft(spectrum**shares, len(k)))
    return np.maximum(total, 0.0)


def oracle_epsilon(parts: list[tuple[Array, int]], delta: float) -> float:
    """ε by summing max(0, p − e^ε·q) over all outcomes of one or two shifted integers."""
    pairs = []
    for p, shift in parts:
        q = np.zeros_like(p)
        q[shift:] = p[:-shift]
        inside = (p > 1e-300) & (q > 1e-300)
        pairs.append((p[inside], q[inside]))
    (p, q) = pairs[0]
    outer = pairs[1] if len(pairs) == 2 else (np.ones(1), np.ones(1))
    order = np.argsort(np.log(p / q))
    loss = np.log(p / q)[order]
    tail_p = np.append(np.cumsum(p[order][::-1])[::-1], 0.0)
    tail_q = np.append(np.cumsum(q[order][::-1])[::-1], 0.0)

    def excess(e: float) -> float:
        first = np.searchsorted(loss, e - np.log(outer[0] / outer[1]))
        return float((outer[0] * tail_p[first] - math.exp(e) * outer[1] * tail_q[first]).sum())

    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > delta else (low, middle)
    return low


def count(std: float, attempts: int = 1) -> NoisedSum:
    return NoisedSum("count", attempts, 1.0, "full_batch", 1.0, std, 1)


@pytest.mark.parametrize("shares", [1, 3, 7])
@pytest.mark.parametrize("total", [1.0, 1.7, 3.0, 6.2, 12.0, 40.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_a_count_is_charged_its_exact_epsilon(total: float, shares: int, delta: float) -> None:
    std = max(1.0, total / math.sqrt(shares))
    exact = oracle_epsilon([(probabilities(std, shares, 1024), 1)], delta)
    reported = epsilon([count(std)], shares=shares, delta=delta)
    assert exact - 1e-9 <= reported <= exact + 3e-4


def test_a_coarse_count_taken_for_a_continuous_gaussian_would_be_charged_too_little() -> None:
    """Why the exact loss is there: at σ = 1 the whole number costs 1.2 % more."""
    exact = oracle_epsilon([(probabilities(1.0, 1, 100), 1)], DELTA)
    assert exact > 1.01 * analytic_epsilon(1.0, DELTA)
    assert epsilon([count(1.0)], shares=1, delta=DELTA) >= exact


@given(st.floats(1.0, 20.0), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_the_largest_shift_is_the_worst(std: float, shares: int, shift: int) -> None:
    if std * math.sqrt(shares) > MOST_EXACT_STD:
        return
    one = exact_loss(std, shares, shift, 1e-4)
    more = exact_loss(std, shares, shift + 1, 1e-4)
    assert more.get_epsilon_for_delta(DELTA) >= one.get_epsilon_for_delta(DELTA) - 1e-4


@pytest.mark.parametrize("target", [0.1, 1.0, 8.0, 30.0])
@pytest.mark.parametrize("owners", [2, 16])
def test_a_runs_epsilon_is_within_one_percent_of_continuous_and_never_below_exact(
    target: float, owners: int
) -> None:
    """Count and training together, on the grid that runs use, by the exact probabilities.

    The tile moves one coordinate by as much as all are allowed together. Of few rounds the sum of
    the noise (one discrete Gaussian to within e^-1000) fits in memory.
    """
    plan = plan_for(RunConfig(epsilon=target, rounds=2), owners)
    shares = plan.calibrated_shares
    events = plan.events()
    reported = epsilon(events, shares=shares, delta=DELTA)
    continuous = analytic_epsilon(gaussian_mu(events, shares), DELTA)
    assert continuous <= reported <= 1.01 * continuous
    small, train = events
    std = train.share_std * math.sqrt(shares * train.attempts)
    shift = math.floor(train.sensitivity) * train.attempts
    trained = probabilities(std, 1, math.ceil(14 * std) + shift)
    counted = probabilities(
        small.share_std, shares, math.ceil(16 * small.share_std * math.sqrt(shares))
    )
    assert reported >= oracle_epsilon([(trained, shift), (counted, 1)], DELTA)


@pytest.mark.parametrize("adjacency", list(Adjacency))
@pytest.mark.parametrize(
    ("std", "dimension", "attempts"), [(8.0, 3, 1), (20.0, 5, 4), (70.0, 2, 9)]
)
def test_a_vector_that_moves_in_every_coordinate_is_never_charged_below_exact(
    std: float, dimension: int, attempts: int, adjacency: Adjacency
) -> None:
    """The privacy loss of a shift (1, …, 1) is a function of the sum of all coordinates."""
    moved = 2 if adjacency is Adjacency.REPLACE_ONE else 1
    event = NoisedSum("train", attempts, 1.0, "full_batch", math.sqrt(dimension), std, dimension)
    # The loss is moved·Σk/σ² less a constant; a sum of n of them is one integer with n shares.
    draws = dimension * attempts
    p = probabilities(std, draws, 6000)
    k = np.arange(-6000, 6001)
    loss = (2 * moved * k + draws * moved**2) / (2 * std**2)

    def delta_at(e: float) -> float:
        return float((p * np.maximum(0.0, -np.expm1(e - loss))).sum())

    reported = epsilon([event], shares=1, delta=DELTA, adjacency=adjacency)
    assert delta_at(reported) <= DELTA


@pytest.mark.parametrize("std", [1.0, 1.3, 3.0, 20.0, 150.0])
def test_the_rounded_gaussian_is_as_close_to_the_discrete_one_as_the_bound_says(std: float) -> None:
    with mpmath.workdps(40):
        sigma = mpmath.mpf(std)
        half = mpmath.fsum(
            mpmath.exp(-(j**2) / (2 * sigma**2)) for j in range(1, math.ceil(14 * std))
        )
        norm = 1 + 2 * half
        theta = mpmath.log1p(mpmath.mpf(2.1) * mpmath.exp(-2 * mpmath.pi**2 * sigma**2))
        for k in sorted({0, 1, 2, round(std), round(3 * std), round(12 * std)}):
            discrete = mpmath.exp(-(mpmath.mpf(k) ** 2) / (2 * sigma**2)) / norm
            rounded = (
                mpmath.erfc((k - mpmath.mpf("0.5")) / (sigma * mpmath.sqrt(2)))
                - mpmath.erfc((k + mpmath.mpf("0.5")) / (sigma * mpmath.sqrt(2)))
            ) / 2
            ratio = mpmath.log(discrete / rounded)
            slack = mpmath.mpf(10) ** -30
            assert ratio <= 1 / (24 * sigma**2) + slack
            assert ratio >= -theta - mpmath.mpf(k) ** 2 / (24 * sigma**4) - slack


@pytest.mark.parametrize("draws", [1, 10, 10_000])
@pytest.mark.parametrize("tail", [5.0, 40.0])
def test_the_reach_of_the_noise_is_that_of_chi_square(draws: int, tail: float) -> None:
    reach = math.sqrt(draws) + math.sqrt(2 * tail)
    assert stats.chi2.logsf(reach**2, draws) <= -tail


def test_probabilities_of_a_sum_of_shares_are_those_of_convolution() -> None:
    for std, shares in ((1.0, 4), (5.5, 3), (30.0, 2)):
        found = share_probabilities(std, shares)
        middle = len(found) // 2
        reach = min(middle, 400)
        expected = probabilities(std, shares, 2000)[2000 - reach : 2001 + reach]
        np.testing.assert_allclose(found[middle - reach : middle + reach + 1], expected, atol=1e-15)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)


def test_the_gap_is_small_on_a_runs_grid_and_grows_on_a_coarse_one() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    train = plan.event("train", plan.rounds)
    assert 0 < continuous_gap([train], 3, epsilon=8.0, delta=DELTA) < 1e-4
    coarse = NoisedSum("train", 60, 1.0, "full_batch", 10.0, 40.0, 10_000)
    assert continuous_gap([coarse], 1, epsilon=8.0, delta=DELTA) > 10
    hopeless = NoisedSum("train", 60, 1.0, "full_batch", 1.0, 4.0, 10_000)
    assert epsilon([hopeless], shares=1, delta=DELTA) == math.inf
    assert 0 < tail_delta([train], 3, DELTA) < DELTA
    assert rounding_nats([train], 3) < 1e-4
    assert not is_exact(train, 3)
