"""From a branch to a denoiser: objective, public conditioning, class and classifier-free guidance.

Guidance mixes the prediction with the class and the one without: x̂_0 = x̂_0(∅) + s·(x̂_0(c) −
x̂_0(∅)), where s = 0 ignores the class, s = 1 is the class-conditional branch and s > 1 exaggerates
what the class changes (Ho and Salimans, arXiv 2207.12598, eq. 6, with s = 1 + w). All objectives
are affine in x̂_0 at fixed x_t, so mixing x̂_0 is mixing ε.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from feddiff_secure.errors import UsageError
from feddiff_secure.model.diffusion import Objective, x0_from
from feddiff_secure.model.sampling import Denoiser
from feddiff_secure.model.schedule import Schedule

MOST_GUIDANCE = 100.0


def branch_denoiser(
    branch: Callable[..., Tensor],
    schedule: Schedule,
    *,
    conditioning: Tensor,
    mask: Tensor,
    objective: Objective = "v",
    label: Tensor | None = None,
    guidance: float = 1.0,
    limit: float = math.inf,
) -> Denoiser:
    """The denoiser that a branch implies.

    Args:
        branch: the network, called as branch(input, t) or branch(input, t, label).
        schedule: the schedule it was trained with.
        conditioning: (B, C', *S) public channels that follow x_t's.
        mask: broadcastable to x_t, 1 where the sensor sees; x̂_0 is 0 elsewhere.
        objective: what the branch predicts.
        label: (B,) class, 1…K, 0 for none; for a branch with classes.
        guidance: s, 0 to 100; only with labels.
        limit: x̂_0 is cut to ±limit, the range of the signal it was trained on.

    Raises:
        UsageError: guidance out of range, or other than 1 without labels; a limit not above 0.
    """
    if not 0.0 <= guidance <= MOST_GUIDANCE or (label is None and guidance != 1.0):
        raise UsageError(
            f"guidance {guidance} is not in 0..{MOST_GUIDANCE:g}, or has no labels to follow",
            "give labels, or leave guidance at 1",
        )
    if not limit > 0.0:
        raise UsageError(f"limit {limit} of the clean signal is not above 0", "leave it out")

    def clean(x_t: Tensor, t: Tensor, given: Tensor | None) -> Tensor:
        inputs = torch.cat([x_t, conditioning.expand(len(x_t), *conditioning.shape[1:])], dim=1)
        output = branch(inputs, t) if given is None else branch(inputs, t, given)
        return x0_from(objective, schedule, x_t, output, t)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        x0 = clean(x_t, t, label)
        if label is not None and guidance != 1.0:
            without = clean(x_t, t, torch.zeros_like(label))
            x0 = without + guidance * (x0 - without)
        return x0.clamp(-limit, limit) * mask

    return denoise
