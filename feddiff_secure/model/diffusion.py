"""Forward noising, the v target and its inverse, the training loss, and weight averaging.

x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε;  v = √ᾱ_t ε − √(1−ᾱ_t) x_0
x_0 = √ᾱ_t x_t − √(1−ᾱ_t) v;  ε = √(1−ᾱ_t) x_t + √ᾱ_t v      (arXiv 2202.00512, appendix D)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from feddiff_secure.model.schedule import Schedule
from feddiff_secure.model.unet import UNet


def _factors(schedule: Schedule, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ_t and √(1−ᾱ_t), computed in float64, cast and shaped to broadcast over `like`."""
    steps = t.cpu().numpy().astype(np.int64)
    shape = (-1, *(1,) * (like.dim() - 1))
    signal = torch.from_numpy(schedule.signal(steps)).to(like).view(shape)
    noise = torch.from_numpy(schedule.noise(steps)).to(like).view(shape)
    return signal, noise


def noised(schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Draw x_t from q(x_t | x_0) with the given standard normal `noise`; t is (B,)."""
    a, b = _factors(schedule, t, x0)
    return a * x0 + b * noise


def v_target(schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """The v that a perfect branch predicts."""
    a, b = _factors(schedule, t, x0)
    return a * noise - b * x0


def x0_from_v(schedule: Schedule, x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The clean signal that v implies."""
    a, b = _factors(schedule, t, x_t)
    return a * x_t - b * v


def noise_from_v(schedule: Schedule, x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """The noise ε that v implies."""
    a, b = _factors(schedule, t, x_t)
    return b * x_t + a * v


def v_loss(
    branch: UNet,
    schedule: Schedule,
    x0: Tensor,
    *,
    conditioning: Tensor,
    mask: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error of v over the covered points.

    Args:
        branch: the network; its input channels are x_t's followed by the conditioning's.
        schedule: the noise schedule.
        x0: (B, C, *S) clean signal, 0 where not covered.
        conditioning: (B, C', *S) public channels (coverage, position), C' may be 0.
        mask: broadcastable to x0, 1 where the sensor sees.
        generator: source of the steps and the noise.
    """
    t = torch.randint(1, schedule.steps + 1, (x0.shape[0],), generator=generator)
    noise = torch.randn(x0.shape, generator=generator) * mask
    x_t = noised(schedule, x0, noise, t)
    predicted = branch(torch.cat([x_t, conditioning], dim=1), t)
    squared = torch.square(predicted - v_target(schedule, x0, noise, t)) * mask
    return squared.sum() / mask.expand_as(squared).sum()


@torch.no_grad()
def update_average(average: UNet, branch: UNet, step: int, decay: float = 0.999) -> None:
    """Exponential moving average of the weights, with the usual warm-up of the decay."""
    rate = min(decay, (1.0 + step) / (10.0 + step))
    for kept, new in zip(average.parameters(), branch.parameters(), strict=True):
        kept.lerp_(new, 1.0 - rate)
