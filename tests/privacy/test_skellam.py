"""Skellam noise has the law that is accounted, and is accounted by its own bound alone."""

from __future__ import annotations

import math
import os

import mpmath
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ive

from feddiff_privacy.accountant import analytic_epsilon, epsilon, gaussian_mu
from feddiff_privacy.crosscheck import cross_check, prv_epsilon
from feddiff_privacy.errors import MechanismError, UnsupportedEventError
from feddiff_privacy.events import NoisedSum, SkellamSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.skellam import ERROR_LOG2, Skellam, least_range
from feddiff_privacy.skellam_rdp import renyi_to_epsilon, sampled_renyi, skellam_renyi
from feddiff_secure.aggregation.grid import count_grid, gradient_grid
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.adversaries import CALIBRATED, adversaries
from feddiff_secure.federation.plan_check import check_plan
from tests.support.federations import plan_for, with_shares_for

DELTA = 1e-5


class OsBytes:
    """The operating system's randomness, straight."""

    def random_bytes(self, n: int, /) -> bytes:
        return os.urandom(n)


def exact_log_ratio(std: float, k: int) -> float:
    """log P[k]/P[0] in 50 digits: the inverse Fourier transform of exp(−v(1 − cos θ))."""
    with mpmath.workdps(50):
        v = mpmath.mpf(std) ** 2
        points = 128 * math.ceil(std)  # aliases lie at multiples of this, 128σ away
        total = [mpmath.mpf("0.5"), mpmath.mpf("0.5")]
        for j in range(1, points // 2):
            theta = 2 * mpmath.pi * j / points
            weight = mpmath.exp(-2 * v * mpmath.sin(theta / 2) ** 2)
            if weight < mpmath.mpf(10) ** -95:
                break
            total = [total[0] + weight, total[1] + weight * mpmath.cos(k * theta)]
        return float(mpmath.log(total[1] / total[0]))


@pytest.mark.parametrize("std", [12.0, 63.0, 64.0, 700.0, 40_000.0, 2.0**29])
def test_every_probability_is_right_to_the_stated_factor(std: float) -> None:
    sampler = Skellam(std)
    for k in (1, round(std), round(3.3 * std), round(9 * std)):
        found = float(sampler.log_mass(np.array([float(k)]))[0])
        assert abs(found - exact_log_ratio(std, k)) < 2.0 ** (ERROR_LOG2 - 2)


@pytest.mark.parametrize("std", [1.0, 2.6, 30.0])
def test_frequencies_match_the_difference_of_two_poissons(std: float) -> None:
    draws, reach = 300_000, math.ceil(5 * std)
    sample = Skellam(std).sample(draws, OsBytes())
    expected = stats.skellam.pmf(np.arange(-reach, reach + 1), std**2 / 2, std**2 / 2) * draws
    observed = np.bincount(sample[np.abs(sample) <= reach] + reach, minlength=2 * reach + 1)
    keep = expected > 8
    chi = float((np.square(observed - expected) / expected)[keep].sum())
    assert stats.chi2.sf(chi, keep.sum() - 1) > 1e-6


@pytest.mark.parametrize("std", [1.0, 3.0, 640.5, 4.2e4])
def test_variance_kurtosis_and_tails_are_skellams(std: float) -> None:
    """Kurtosis 3 + 1/v: a Gaussian's would be 3, which at σ = 1 is 100 standard errors away."""
    count = 400_000
    sample = Skellam(std).sample(count, OsBytes())
    assert sample.dtype == np.int64
    scaled = sample / std
    kurtosis = 3 + 1 / std**2
    assert abs(scaled.mean()) < 6 / math.sqrt(count)
    assert abs(scaled.var() - 1) < 6 * math.sqrt((kurtosis - 1) / count)
    assert abs((scaled**4).mean() - kurtosis) < 6 * math.sqrt((96 + 1200 / std**2) / count)
    beyond = 4 * stats.skellam.sf(4 * std - 1e-9, std**2 / 2, std**2 / 2) * count
    assert abs(2 * (np.abs(scaled) > 4 - 1e-12).sum() - beyond) < 12 * math.sqrt(beyond)


@given(st.floats(1.0, 40.0), st.floats(1.0, 40.0))
@settings(max_examples=20)
def test_a_sum_of_skellams_is_skellam(one: float, other: float) -> None:
    """The exact law of the sum of shares is the one that is accounted, at no gap."""
    reach = 700

    def law(std: float) -> np.ndarray:
        sampler = Skellam(std)
        k = np.arange(-reach, reach + 1, dtype=np.float64)
        inside = np.abs(k) <= least_range(std**2)
        mass = np.where(inside, np.exp(sampler.log_mass(np.where(inside, k, 0.0))), 0.0)
        return np.asarray(mass / mass.sum())

    total = np.convolve(law(one), law(other), mode="same")
    np.testing.assert_allclose(total, law(math.hypot(one, other)), atol=1e-13)


def test_the_range_leaves_out_less_than_is_said() -> None:
    for std in (1.0, 4.0, 100.0):
        v = std**2
        with mpmath.workdps(30):
            k = least_range(v)
            tail = mpmath.fsum(mpmath.exp(-v) * mpmath.besseli(k + j, v) for j in range(60))
            assert 2 * tail < mpmath.mpf(2) ** -180


@pytest.mark.parametrize("std", [0.5, 0.0, -1.0, math.nan, math.inf, 2.0**30])
def test_a_skellam_size_outside_the_range_is_refused(std: float) -> None:
    with pytest.raises(MechanismError):
        Skellam(std)


def exact_renyi(alpha: int, variance: float, shift: int) -> float:
    """D_α(Sk + shift ‖ Sk) by summation."""
    k = np.arange(-600, 601)
    log_mass = np.log(np.maximum(ive(np.abs(k), variance), 1e-300))
    log_mass -= np.log(np.exp(log_mass).sum())
    p, q = log_mass[: len(k) - shift], log_mass[shift:]
    inside = np.minimum(p, q) > -600
    return float(np.log(np.exp((alpha * p + (1 - alpha) * q)[inside]).sum()) / (alpha - 1))


@pytest.mark.parametrize("variance", [4.0, 30.0, 400.0])
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_the_renyi_bound_is_above_the_exact_divergence_and_close(
    variance: float, shift: int
) -> None:
    orders = np.array([2, 3, 4, 6] + [12, 40] * (variance >= 400), dtype=np.int64)
    bound = skellam_renyi(orders, variance, shift, shift)
    exact = np.array([exact_renyi(int(a), variance, shift) for a in orders])
    assert (bound >= exact).all()
    if variance >= 400:
        assert (bound <= 1.1 * exact).all()


def test_the_renyi_bound_is_the_papers_number_by_number() -> None:
    """2·4/20 + min((3·4 + 6·3)/400, 9/20) and, far out, 100/2 + min(205/4, 3/2)."""
    near = skellam_renyi(np.array([2], dtype=np.int64), 10.0, 2.0, 3.0)
    far = skellam_renyi(np.array([100], dtype=np.int64), 1.0, 1.0, 1.0)
    assert near[0] == pytest.approx(0.4 + 0.075)
    assert far[0] == pytest.approx(50 + 1.5)


def test_amplification_of_a_gaussian_is_the_known_one() -> None:
    """At integer orders the bound for any mechanism is exact for the Gaussian (Mironov 2019)."""
    orders = np.arange(2, 40)
    amplified = sampled_renyi(orders / (2 * 1.7**2), 0.2)
    reference = RdpAccountant(orders.tolist())
    reference.compose(PoissonSampledDpEvent(0.2, GaussianDpEvent(1.7)))
    np.testing.assert_allclose(amplified, reference._rdp, rtol=1e-9)


def test_the_conversion_is_the_librarys_and_above_the_exact_epsilon() -> None:
    orders = np.arange(2, 200)
    found, order = renyi_to_epsilon(orders, orders / (2 * 3.0**2), DELTA)
    reference = RdpAccountant(orders.tolist())
    reference.compose(GaussianDpEvent(3.0))
    assert found == pytest.approx(reference.get_epsilon(DELTA), rel=1e-9)
    assert found > analytic_epsilon(1 / 3.0, DELTA)
    assert 2 < order < 199


@pytest.mark.parametrize("shares", [1, 3])
@pytest.mark.parametrize("std", [2.0, 6.0, 20.0])
def test_the_reported_epsilon_is_above_that_of_the_probabilities(std: float, shares: int) -> None:
    event = SkellamSum("count", 1, 1.0, "full_batch", 1.0, std, 1, 1.0)
    reported = epsilon([event], shares=shares, delta=DELTA)
    k = np.arange(-900, 901)
    p = ive(np.abs(k), std**2 * shares)
    p /= p.sum()
    q = np.roll(p, 1)
    assert float(np.maximum(0, p - math.exp(reported) * q)[5:-5].sum()) <= DELTA


def test_skellam_is_never_accounted_as_a_gaussian() -> None:
    """On a coarse grid the difference is plain; the Gaussian's accountants refuse the event."""
    coarse = SkellamSum("train", 1, 1.0, "full_batch", 4.0, 8.0, 16, 16.0)
    gaussian = analytic_epsilon(gaussian_mu([coarse], 1), DELTA)
    assert epsilon([coarse], shares=1, delta=DELTA) > 1.05 * gaussian
    with pytest.raises(UnsupportedEventError):
        prv_epsilon([coarse], shares=1, delta=DELTA)
    assert cross_check([coarse], shares=1, delta=DELTA, reported=1.0) is None


def test_groups_and_replacement_cost_more_and_are_not_claimed_when_sampled() -> None:
    full = SkellamSum("train", 5, 1.0, "full_batch", 100.0, 3000.0, 16, 400.0)
    sampled = SkellamSum("train", 5, 0.1, "poisson", 100.0, 3000.0, 16, 400.0)
    one = epsilon([full], shares=1, delta=DELTA)
    two = epsilon([full], shares=1, delta=DELTA, group=2)
    assert epsilon([full], shares=1, delta=DELTA, adjacency=Adjacency.REPLACE_ONE) == two > one
    assert epsilon([sampled], shares=1, delta=DELTA) < one
    assert epsilon([sampled], shares=1, delta=DELTA, group=2) == math.inf
    assert epsilon([full], shares=0, delta=DELTA) == math.inf


@given(st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=40)
def test_no_integer_vector_exceeds_the_l1_sensitivity(dimension: int, seed: int) -> None:
    grid = gradient_grid(0.3, dimension)
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(dimension)
    v = np.trunc(v * (grid.sensitivity / max(float(np.linalg.norm(v)), 1e-9)))
    assert np.linalg.norm(v) <= grid.sensitivity
    assert np.abs(v).sum() <= grid.sensitivity_l1
    assert count_grid().sensitivity_l1 == 1.0


@pytest.mark.parametrize(
    ("target", "options"), [(1.0, {}), (8.0, {"sampling_rate": 0.3}), (8.0, {"noise": "local"})]
)
def test_a_skellam_plan_meets_its_target_by_the_renyi_bound(
    target: float, options: dict[str, object]
) -> None:
    plan = plan_for(RunConfig(epsilon=target, mechanism="skellam", **options))  # type: ignore[arg-type]
    check_plan(plan)
    assert all(isinstance(event, SkellamSum) for event in plan.events())
    rows = {row.name: row for row in adversaries(plan, plan.events())}
    assert 0.99 * target <= rows[CALIBRATED].epsilon <= target
    other = plan_for(RunConfig(epsilon=target, **options))  # type: ignore[arg-type]
    assert all(isinstance(event, NoisedSum) for event in other.events())
    assert 1.0 < plan.noise_multiplier / other.noise_multiplier < 1.2
    if plan.noise == "distributed":
        with pytest.raises(ValueError, match="epsilon"):
            check_plan(with_shares_for(plan, honest=4))
