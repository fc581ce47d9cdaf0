"""The one public rule for the step size: no run is tuned on private data.

After T rounds of steps η with momentum β on clipped gradients, the noise alone gives each class
score of a pixel (‖ψ‖ = 1, and on average after centring) a standard deviation of at most

    κ = η / (1 − β) · C · z · f · √T / N,

with z the noise multiplier, f the noise factor (noise of the whole sum over that of the calibrated
row), N the public number of tiles. The rule fixes κ: the effective step η/(1 − β) is as large as it
can be before the noise it lets in rivals the scores it builds. A tile of side s sums the gradients
of up to s² pixels before the clip, so its gradient keeps its full length C for longer; κ grows with
√s.

One round moves W by no more than 60 units of η·C, and in more than 60 rounds by less: 3600 / T;
what the effective step has beyond that is momentum, whose memory 1/(1 − β) is then at most a sixth
of the run. Of 600 rounds of 60 units the last hundreds would circle round a minimum that smaller
steps come to. Without noise the effective step is 600, and as noise gets less a private run comes
to that: many tiles, or few of large ε, are trained as far as they would be without privacy.

In the split topology two models are trained, each on the columns and the ψ_m of its own modality,
over the same ground. So N is the number of tiles a modality has, half of all tiles; and ‖ψ_m‖² is
1/2 on average over the modalities, not 1: the bounds on η·C hold for a step larger by √2. So does
κ where the two know nothing of each other. Where the class means are released each part has less
to say, and κ is that of the fused score, to which both add their noise.

The constants were chosen on simulated and published data (docs/results.md), never on an owner's.
"""

from __future__ import annotations

import math

from feddiff_secure.aggregation.update import UpdateRule
from feddiff_secure.federation.plan import Plan

SCORE_NOISE = 1.25  # κ for tiles of one pixel
MOST_STEP = 60.0  # of η·C, in runs of up to LONG_RUN rounds
LONG_RUN = 60  # rounds; one of k times as many takes steps of a k-th
MOST_EFFECTIVE_STEP = 600.0  # of η·C / (1 − β): that of a run without noise


def update_rule(plan: Plan, tiles: int) -> UpdateRule:
    """The update constants of a run.

    Args:
        plan: the agreed plan.
        tiles: the public number of training tiles: nominal, or released as a DP count.
    """
    views = 2 if plan.topology == "split" else 1  # modalities that see one ground tile each
    expected = tiles / views * plan.sampling_rate
    reach = math.sqrt(views)
    apart = plan.class_share_std is None
    most, kappa = reach * MOST_EFFECTIVE_STEP, SCORE_NOISE * (reach if apart else 1.0)
    effective = min(most, _effective_step(plan, expected, kappa))
    step = min(reach * MOST_STEP * min(1.0, LONG_RUN / plan.rounds), effective)
    return UpdateRule(
        step_size=step / plan.clip,
        momentum=1.0 - step / effective,
        denominator=expected,
        scale=plan.scale,
        rounds=plan.rounds,
    )


def _effective_step(plan: Plan, expected: float, kappa: float) -> float:
    """η·C / (1 − β): how far W moves in the end for one gradient, if it keeps its direction."""
    if not plan.noise_multiplier:
        return math.inf
    noise = plan.noise_multiplier * plan.noise_factor * math.sqrt(plan.rounds)
    return kappa * math.sqrt(plan.tile) * expected / noise
