"""A plan of several phases meets its target jointly, and an optimal split is the cheapest."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.calibrate import COUNT_SHARE, count_noise_multiplier, target_mu
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.split import Phase, calibrate_phases, multiplier_ratios, optimal_split
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from tests.support.federations import plan_for

DELTA = 1e-5
PHASES = [Phase("count", 1, cost=0.01), Phase("adapt", 20, cost=3.0), Phase("train", 60)]

phases_strategy = st.lists(
    st.builds(
        Phase, st.just("p"), st.integers(1, 200), st.floats(0.05, 1.0), st.floats(0.01, 100.0)
    ),
    min_size=2,
    max_size=5,
)


def events(phases: Sequence[Phase], multipliers: Sequence[float]) -> list[NoisedSum]:
    return [
        NoisedSum(
            p.name,
            p.attempts,
            p.sampling_rate,
            "full_batch" if p.sampling_rate == 1 else "poisson",
            1e4,
            1e4 * z,
            5,
        )
        for p, z in zip(phases, multipliers, strict=True)
    ]


def cost(phases: Sequence[Phase], multipliers: Sequence[float]) -> float:
    return math.fsum(p.cost * z**2 for p, z in zip(phases, multipliers, strict=True))


@given(phases_strategy)
@settings(max_examples=25)
def test_no_other_split_is_cheaper(phases: list[Phase]) -> None:
    """Against a numerical optimiser that knows nothing of the closed form."""

    def of(logits: np.ndarray) -> float:
        weights = np.exp(logits - logits.max())
        return math.log(cost(phases, multiplier_ratios(phases, weights / weights.sum())))

    best = minimize(of, np.zeros(len(phases)), method="BFGS", options={"gtol": 1e-7})
    closed = math.log(cost(phases, multiplier_ratios(phases, optimal_split(phases))))
    assert closed == pytest.approx(best.fun, abs=1e-5)
    assert closed <= best.fun + 1e-9


@pytest.mark.parametrize("split", [None, (0.01, 0.29, 0.7), (0.2, 0.2, 0.6)])
@pytest.mark.parametrize("target", [8.0])
def test_all_phases_together_meet_the_target(
    target: float, split: tuple[float, ...] | None
) -> None:
    found = calibrate_phases(
        lambda z: events(PHASES, z), PHASES, split=split, shares=1, target=target, delta=DELTA
    )
    joint = epsilon(events(PHASES, found.noise_multipliers), shares=1, delta=DELTA)
    assert 0.99 * target <= joint == found.epsilon <= target
    taken = [
        p.attempts / z**2 / target_mu(target, DELTA) ** 2
        for p, z in zip(PHASES, found.noise_multipliers, strict=True)
    ]
    assert taken == pytest.approx(split or optimal_split(PHASES), rel=5e-3)


def test_the_optimal_split_costs_less_than_an_even_one_at_the_same_epsilon() -> None:
    costs = []
    for split in (None, (1 / 3, 1 / 3, 1 / 3)):
        found = calibrate_phases(
            lambda z: events(PHASES, z), PHASES, split=split, shares=1, target=4.0, delta=DELTA
        )
        costs.append(cost(PHASES, found.noise_multipliers))
    assert costs[0] < 0.8 * costs[1]


def test_three_phases_calibrate_within_a_second_of_processor_time() -> None:
    began = time.process_time()
    calibrate_phases(
        lambda z: events(PHASES, z), PHASES, split=None, shares=1, target=8.0, delta=DELTA
    )
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "split", [(0.5, 0.5), (0.5, 0.6, -0.1), (0.3, 0.3, 0.3), (math.nan, 0.5, 0.5), (0.0, 0.5, 0.5)]
)
def test_a_split_that_is_none_is_refused(split: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="fraction"):
        multiplier_ratios(PHASES, split)


@pytest.mark.parametrize("change", [{"attempts": 0}, {"sampling_rate": 0.0}, {"cost": 0.0}])
def test_a_phase_outside_its_range_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="phase"):
        Phase(**{"name": "p", "attempts": 1, **change})  # type: ignore[arg-type]


def test_a_smaller_count_fraction_leaves_more_to_training() -> None:
    plans = [plan_for(RunConfig(epsilon=8.0, count_fraction=f)) for f in (0.01, 0.001)]
    assert all(plan.count_share_std is not None for plan in plans)
    assert plans[1].count_share_std == pytest.approx(
        math.sqrt(10) * (plans[0].count_share_std or 0.0)
    )
    assert plans[1].noise_multiplier < plans[0].noise_multiplier
    for plan in plans:
        assert 7.92 <= epsilon(plan.events(), shares=3, delta=plan.delta) <= 8.0


@pytest.mark.parametrize("fraction", [0.0, 0.02, math.nan, -0.01])
def test_a_count_takes_one_percent_of_the_budget_at_most(fraction: float) -> None:
    with pytest.raises(UsageError, match="count_fraction"):
        RunConfig(count_fraction=fraction)
    with pytest.raises(ValueError, match="fraction"):
        count_noise_multiplier(8.0, DELTA, fraction)
    assert COUNT_SHARE == 0.01
