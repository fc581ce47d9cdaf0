"""Calibration meets its target from below, and counts what else the plan spends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.calibrate import COUNT_SHARE, calibrate, count_noise_multiplier, target_mu
from feddiff_privacy.errors import CalibrationError
from feddiff_privacy.events import NoisedSum

DELTA = 1e-5


def train(z: float, rounds: int = 60, rate: float = 1.0, shares: int = 1) -> NoisedSum:
    kind = "full_batch" if rate == 1 else "poisson"
    # A grid as fine as a run's: on a coarse one, discrete noise costs visibly more.
    return NoisedSum("train", rounds, rate, kind, 1e4, 1e4 * z / math.sqrt(shares), 5)


def count(z: float) -> NoisedSum:
    return NoisedSum("count", 1, 1.0, "full_batch", 1.0, z, 1)


@pytest.mark.parametrize("target", [0.05, 0.5, 1.0, 8.0, 30.0, 100.0])
@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_the_realised_epsilon_is_just_below_the_target(target: float, rate: float) -> None:
    found = calibrate(lambda z: [train(z, rate=rate)], shares=1, target=target, delta=DELTA)
    assert 0.99 * target <= found.epsilon <= target
    again = epsilon([train(found.noise_multiplier, rate=rate)], shares=1, delta=DELTA)
    assert again == found.epsilon


@given(st.floats(0.1, 20.0), st.integers(1, 200), st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_full_batch_noise_matches_the_closed_form(target: float, rounds: int, shares: int) -> None:
    """z = √T / μ*, whatever the number of shares it is split into."""
    found = calibrate(
        lambda z: [train(z, rounds, shares=shares)], shares=shares, target=target, delta=DELTA
    )
    assert found.noise_multiplier == pytest.approx(
        math.sqrt(rounds) / target_mu(target, DELTA), rel=2e-3
    )


def test_the_count_takes_its_share_and_training_pays_for_it() -> None:
    z_count = count_noise_multiplier(8.0, DELTA)
    assert 1 / z_count**2 == pytest.approx(COUNT_SHARE * target_mu(8.0, DELTA) ** 2)
    alone = calibrate(lambda z: [train(z)], shares=1, target=8.0, delta=DELTA)
    joint = calibrate(lambda z: [count(z_count), train(z)], shares=1, target=8.0, delta=DELTA)
    assert joint.noise_multiplier > alone.noise_multiplier
    assert joint.noise_multiplier == pytest.approx(
        alone.noise_multiplier / math.sqrt(1 - COUNT_SHARE), rel=2e-3
    )


def test_a_plan_that_is_over_budget_before_training_is_refused() -> None:
    with pytest.raises(CalibrationError, match="other phases"):
        calibrate(lambda z: [count(0.2), train(z)], shares=1, target=1.0, delta=DELTA)


@pytest.mark.parametrize(
    ("target", "delta"), [(0, 1e-5), (-1, 1e-5), (math.inf, 1e-5), (1, 0), (1, 1)]
)
def test_targets_outside_their_range_are_refused(target: float, delta: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        calibrate(lambda z: [train(z)], shares=1, target=target, delta=delta)
