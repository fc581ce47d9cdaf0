"""The step rule: one public constant of noise, and without noise the limit of little noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from feddiff_secure.aggregation.update import Iterates
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.step_size import MOST_STEP, SCORE_NOISE, update_rule
from tests.support.federations import plan_for


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_for(RunConfig(epsilon=8.0, nominal_tiles=400), 2)


def effective(plan: Plan, tiles: int) -> float:
    rule = update_rule(plan, tiles)
    return rule.step_size * plan.clip / (1 - rule.momentum)


def score_noise(plan: Plan, tiles: int) -> float:
    """κ, as the module's text has it."""
    multiplier = plan.noise_multiplier * plan.noise_factor
    return effective(plan, tiles) * multiplier * math.sqrt(plan.rounds) / tiles


@pytest.mark.parametrize("tiles", [50, 400, 3_000, 6_000])
@pytest.mark.parametrize("side", [1, 4])
def test_the_noise_of_a_score_is_one_constant_for_any_number_of_tiles(
    plan: Plan, tiles: int, side: int
) -> None:
    of_side = replace(plan, tile=side)
    wanted = SCORE_NOISE * math.sqrt(side)
    if effective(of_side, tiles) < 600:
        assert score_noise(of_side, tiles) == pytest.approx(wanted)
    else:
        assert score_noise(of_side, tiles) <= wanted
    assert update_rule(of_side, tiles).step_size * plan.clip <= MOST_STEP


def test_little_noise_is_trained_as_none_is(plan: Plan) -> None:
    none = update_rule(replace(plan, noise_multiplier=0.0), 400)
    assert none.momentum == 0.9
    assert none.step_size * plan.clip == MOST_STEP
    much, little = (replace(plan, noise_multiplier=z) for z in (10.0, 1e-6))
    assert update_rule(much, 400).momentum == 0.0
    assert update_rule(little, 400) == none
    steps = [effective(plan, tiles) for tiles in (100, 1_000, 10_000, 100_000, 1_000_000)]
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(600.0)


@pytest.mark.parametrize(
    ("rounds", "step", "memory"), [(1, 60, 10), (60, 60, 10), (120, 30, 20), (600, 6, 100)]
)
def test_longer_runs_take_smaller_steps_to_the_same_reach(
    plan: Plan, rounds: int, step: float, memory: float
) -> None:
    rule = update_rule(replace(plan, noise_multiplier=0.0, rounds=rounds), 400)
    assert rule.step_size * plan.clip == pytest.approx(step)
    assert 1 / (1 - rule.momentum) == pytest.approx(memory)


@pytest.mark.parametrize("rounds", [10, 60, 240, 1_000])
def test_smaller_steps_let_in_the_noise_of_the_rule(plan: Plan, rounds: int) -> None:
    long = replace(plan, rounds=rounds)
    for tiles in (50, 400, 3_000):
        assert score_noise(long, tiles) <= SCORE_NOISE * (1 + 1e-9)
        assert 0.0 <= update_rule(long, tiles).momentum < 1.0


def test_the_noise_that_is_let_in_is_the_rules(plan: Plan) -> None:
    """Rounds of noise alone: what they leave in a weight, after momentum, is at most κ."""
    tiles = 6_000
    rule = update_rule(plan, tiles)
    assert rule.momentum > 0.3  # the case that has momentum at all
    generator = np.random.default_rng(0)
    sigma = plan.noise_multiplier * plan.noise_factor * plan.clip * rule.scale
    iterates = Iterates(rule, np.zeros((40, 50)))
    for _ in range(plan.rounds):
        iterates.apply(np.rint(generator.normal(0.0, sigma, 2_000)).astype(np.int64))
    assert 0.75 * SCORE_NOISE < iterates.weights.std() <= SCORE_NOISE * 1.05
