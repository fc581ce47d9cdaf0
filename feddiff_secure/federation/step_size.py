"""The one public rule for the step size: no run is tuned on private data.

The rule takes only public numbers: the noise of a whole sum relative to its sensitivity, the
public number of tiles, and the number of rounds. Its constants were chosen on simulated scenes
(docs/results.md), never on an owner's data.
"""

from __future__ import annotations

import math

from feddiff_secure.aggregation.update import UpdateRule
from feddiff_secure.federation.plan import Plan


def update_rule(plan: Plan, tiles: int) -> UpdateRule:
    """The update constants of a run.

    Args:
        plan: the agreed plan.
        tiles: the public number of training tiles: nominal, or released as a DP count.
    """
    noise = plan.noise_multiplier * plan.noise_factor
    step_size = 40.0 * (5.4 / noise) ** 0.786 if noise else 60.0
    return UpdateRule(
        step_size=step_size,
        momentum=0.0 if noise else 0.9,
        denominator=tiles * plan.sampling_rate,
        scale=plan.scale,
        rounds=plan.rounds,
    )


def relative_noise(plan: Plan, tiles: int) -> float:
    """Norm of the noise over the largest norm of the signal in one averaged gradient."""
    dimension = plan.classes * plan.features
    return plan.noise_multiplier * plan.noise_factor * math.sqrt(dimension) / tiles
