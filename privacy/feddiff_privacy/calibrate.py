"""The least noise that meets a target ε, over the phases of one plan.

A run has an optional count of the tiles (one release of one number, at most 1 % of the budget) and
the training rounds. The noise of the count is fixed first, from the target alone; that of the
training rounds is then the smallest that keeps the *joint* ε of both at the target. Plans of any
number of phases, with a split that is given or optimised, are in `split.py`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.optimize import brentq

from feddiff_privacy.accountant import analytic_epsilon, epsilon
from feddiff_privacy.errors import CalibrationError
from feddiff_privacy.events import Event

COUNT_SHARE = 0.01
"""The most of the budget that a count may take, as a fraction of μ² (of zCDP's ρ)."""
LEAST_FRACTION = 0.99
"""The realised ε of the calibrated row is at least this fraction of its target."""
_AIM = 0.999
_RANGE = (1e-2, 1e6)  # noise multipliers considered


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome: the noise that the calibrated observer faces, and the ε it gives.

    Attributes:
        noise_multiplier: training noise over sensitivity, facing the calibrated observer.
        epsilon: the joint ε of all phases for that observer; in [0.99, 1] of the target.
    """

    noise_multiplier: float
    epsilon: float


def target_mu(target: float, delta: float) -> float:
    """μ of the single Gaussian whose analytic ε(δ) is the target."""
    _check(target, delta)
    return float(brentq(lambda mu: analytic_epsilon(mu, delta) - target, 1e-6, 1e4, xtol=1e-12))


def count_noise_multiplier(target: float, delta: float, fraction: float = COUNT_SHARE) -> float:
    """Noise multiplier of the count: it takes `fraction` of the target's μ².

    Raises:
        ValueError: a fraction outside (0, `COUNT_SHARE`].
    """
    if not 0 < fraction <= COUNT_SHARE:
        raise ValueError(f"the count's fraction must be in (0, {COUNT_SHARE}], got {fraction}")
    return phase_noise_multiplier(target, delta, fraction)


def phase_noise_multiplier(target: float, delta: float, fraction: float) -> float:
    """Noise multiplier of a phase of one full-batch release that takes `fraction` of the μ².

    Raises:
        ValueError: a fraction outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"a phase's fraction must be in (0, 1), got {fraction}")
    return 1 / (math.sqrt(fraction) * target_mu(target, delta))


def calibrate(
    plan: Callable[[float], Sequence[Event]], *, shares: int, target: float, delta: float
) -> Calibration:
    """Find the smallest training noise multiplier for which `plan(z)` meets the target.

    Args:
        plan: the events of the whole plan for a training noise multiplier z > 0 as the
            calibrated observer faces it.
        shares: noise shares that observer faces.
        target: ε > 0, finite.
        delta: δ in (0, 1).

    Raises:
        CalibrationError: the other phases alone exceed the target, or z leaves [0.01, 1e6].
        ValueError: target or δ outside its range.
    """
    _check(target, delta)

    @functools.cache  # the bracket's ends and the root are asked for again
    def realised_at(log_z: float) -> float:
        return epsilon(plan(math.exp(log_z)), shares=shares, delta=delta)

    def excess(log_z: float) -> float:
        return realised_at(log_z) / (target * _AIM) - 1

    low, high = _bracket(excess, _first_guess(plan, target, delta))
    root = float(brentq(excess, low, high, xtol=1e-4, rtol=1e-9))
    for step in range(20):  # land on the safe side of the root
        multiplier = math.exp(root + step * 1e-4)
        realised = realised_at(root + step * 1e-4)
        if realised <= target:
            break
    if not LEAST_FRACTION * target <= realised <= target:
        raise CalibrationError(f"calibration reached epsilon {realised}, target {target}")
    return Calibration(noise_multiplier=multiplier, epsilon=realised)


def _first_guess(plan: Callable[[float], Sequence[Event]], target: float, delta: float) -> float:
    attempts = sum(event.attempts * event.sampling_rate**2 for event in plan(1.0))
    return math.log(math.sqrt(attempts) / target_mu(target, delta))


def _bracket(excess: Callable[[float], float], guess: float) -> tuple[float, float]:
    """Two log multipliers around the guess at which ε is above and below the target."""
    floor, ceiling = math.log(_RANGE[0]), math.log(_RANGE[1])
    low = high = min(max(guess, floor), ceiling)
    width = 0.02
    while excess(high) > 0:
        if high >= ceiling:
            raise CalibrationError(
                f"no noise multiplier up to {_RANGE[1]:g} meets the target: the other phases of "
                "the plan exceed it alone"
            )
        low, high, width = high, min(high + width, ceiling), width * 4
    width = 0.02
    while excess(low) <= 0:
        if low <= floor:
            raise CalibrationError(f"the target is met without noise above {_RANGE[0]:g}")
        low, width = max(low - width, floor), width * 4
    return low, high


def _check(target: float, delta: float) -> None:
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"the target epsilon must be finite and above 0, got {target}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, got {delta}")
