"""ε of tiles that change together is that of the group's own privacy loss, not k·ε."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from feddiff_privacy.accountant import analytic_epsilon, epsilon
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.guarantee import Adjacency

DELTA = 1e-5
SCALE = 1e5


def train(z: float, attempts: int, rate: float) -> NoisedSum:
    kind = "full_batch" if rate == 1 else "poisson"
    return NoisedSum("train", attempts, rate, kind, SCALE, SCALE * z, 4)


def value(
    events: list[NoisedSum], group: int, adjacency: Adjacency = Adjacency.ADD_REMOVE
) -> float:
    return epsilon(events, shares=1, delta=DELTA, group=group, adjacency=adjacency)


@pytest.mark.parametrize("group", [1, 2, 5])
@pytest.mark.parametrize("attempts", [1, 30])
def test_a_group_of_the_full_batch_is_a_gaussian_of_k_times_the_sensitivity(
    group: int, attempts: int
) -> None:
    exact = analytic_epsilon(group * math.sqrt(attempts) / 8.0, DELTA)
    assert value([train(8.0, attempts, 1.0)], group) == pytest.approx(exact, rel=1e-3, abs=1e-3)
    doubled = analytic_epsilon(2 * group * math.sqrt(attempts) / 8.0, DELTA)
    found = value([train(8.0, attempts, 1.0)], group, Adjacency.REPLACE_ONE)
    assert found == pytest.approx(doubled, rel=1e-3, abs=1e-3)


def mixture_delta(z: float, rate: float, group: int, eps: float, *, removed: bool) -> float:
    """∫ max(0, p − e^ε·q) of the binomial mixture against the single Gaussian, by quadrature."""
    x = np.linspace(-40 * z, 40 * z + group, 400_001)
    one = stats.norm.pdf(x, 0.0, z)
    weights = stats.binom.pmf(np.arange(group + 1), group, rate)
    many = sum(w * stats.norm.pdf(x, k, z) for k, w in enumerate(weights))
    p, q = (many, one) if removed else (one, many)
    return float(np.trapezoid(np.maximum(0.0, p - math.exp(eps) * q), x))


@pytest.mark.parametrize(("z", "rate", "group"), [(1.0, 0.1, 2), (2.0, 0.5, 3), (0.8, 0.3, 6)])
def test_one_release_of_a_sampled_group_is_the_binomial_mixture(
    z: float, rate: float, group: int
) -> None:
    reported = value([train(z, 1, rate)], group)
    worst = max(mixture_delta(z, rate, group, reported, removed=r) for r in (True, False))
    before = max(mixture_delta(z, rate, group, reported * 0.995, removed=r) for r in (True, False))
    assert worst <= DELTA * 1.001
    assert before > DELTA


@pytest.mark.parametrize(("attempts", "rate"), [(1, 0.4), (20, 0.05)])
def test_a_group_grows_from_the_single_tile_and_stays_below_the_full_batch(
    attempts: int, rate: float
) -> None:
    events = [train(3.0, attempts, rate)]
    steps = [value(events, group) for group in (1, 2, 4)]
    assert steps == sorted(steps)
    assert all(
        part <= value([train(3.0, attempts, 1.0)], group) + 1e-6
        for part, group in zip(steps, (1, 2, 4), strict=True)
    )


@pytest.mark.parametrize("z", [0.5, 3.0, 30.0])
def test_k_times_epsilon_would_claim_too_much_at_the_same_delta(z: float) -> None:
    events = [train(z, 1, 1.0)]
    assert value(events, 4) > 4 * value(events, 1)


def test_almost_every_tile_sampled_is_almost_the_full_batch() -> None:
    near, full = value([train(4.0, 1, 1 - 1e-9)], 2), value([train(4.0, 1, 1.0)], 2)
    assert near == pytest.approx(full, rel=1e-3)


def test_a_count_charges_its_group_too() -> None:
    count = NoisedSum("count", 1, 1.0, "full_batch", 1.0, 6.0, 1)
    exact = analytic_epsilon(3 / 6.0, DELTA)
    assert value([count], 3) == pytest.approx(exact, rel=0.01)


def test_replacing_a_sampled_group_is_bounded_by_removing_and_adding() -> None:
    events = [train(6.0, 20, 0.2)]
    single, pair = value(events, 1, Adjacency.REPLACE_ONE), value(events, 2, Adjacency.REPLACE_ONE)
    assert value(events, 2) < pair < math.inf
    assert single < pair
    assert value([train(0.02, 2000, 0.9)], 2, Adjacency.REPLACE_ONE) == math.inf


@pytest.mark.parametrize("group", [0, -1])
def test_a_group_without_tiles_is_refused(group: int) -> None:
    with pytest.raises(ValueError, match="group"):
        value([train(4.0, 1, 1.0)], group)
