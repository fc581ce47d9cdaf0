"""The one public rule for the step size: no run is tuned on private data.

After T rounds of steps η on clipped gradients, the noise alone gives each class score of a pixel
(‖ψ‖ = 1, and on average after centring) a standard deviation of

    κ = η · C · z · f · √T / N,

with z the noise multiplier, f the noise factor (noise of the whole sum over that of the calibrated
row), N the public number of tiles. The rule fixes κ: the step is as large as it can be before the
noise it lets in rivals the scores it builds. A tile of side s sums the gradients of up to s² pixels
before the clip, so its gradient keeps its full length C for longer; κ grows with √s.

In the split topology two models are trained, each on the columns and the ψ_m of its own modality,
over the same ground. So N is the number of tiles a modality has, half of all tiles; and ‖ψ_m‖² is
1/2 on average over the modalities, not 1, so both κ and the bound on η·C hold for a step larger
by √2.

η·C is bounded too, because beyond it more data stops helping. The constants were chosen on
simulated and published data (docs/results.md), never on an owner's.
"""

from __future__ import annotations

import math

from feddiff_secure.aggregation.update import UpdateRule
from feddiff_secure.federation.plan import Plan

SCORE_NOISE = 1.25  # κ for tiles of one pixel
MOST_STEP = 60.0  # of η·C
BASELINE_STEP = 60.0  # of η·C without noise
BASELINE_MOMENTUM = 0.9


def update_rule(plan: Plan, tiles: int) -> UpdateRule:
    """The update constants of a run.

    Args:
        plan: the agreed plan.
        tiles: the public number of training tiles: nominal, or released as a DP count.
    """
    views = 2 if plan.topology == "split" else 1  # modalities that see one ground tile each
    expected = tiles / views * plan.sampling_rate
    return UpdateRule(
        step_size=math.sqrt(views) * _step(plan, expected) / plan.clip,
        momentum=0.0 if plan.noise_multiplier else BASELINE_MOMENTUM,
        denominator=expected,
        scale=plan.scale,
        rounds=plan.rounds,
    )


def _step(plan: Plan, expected: float) -> float:
    """η·C: the most that one round can move W, if every gradient had the same direction."""
    if not plan.noise_multiplier:
        return BASELINE_STEP
    noise = plan.noise_multiplier * plan.noise_factor * math.sqrt(plan.rounds)
    return min(MOST_STEP, SCORE_NOISE * math.sqrt(plan.tile) * expected / noise)
