"""Forward noising, what a branch may be trained to predict, the loss, and weight averaging.

x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε;  v = √ᾱ_t ε − √(1−ᾱ_t) x_0
x_0 = √ᾱ_t x_t − √(1−ᾱ_t) v;  ε = √(1−ᾱ_t) x_t + √ᾱ_t v      (arXiv 2202.00512, appendix D)

Objectives: "v" (ours), "eps" (Ho et al., arXiv 2006.11239; FedDiff's, with the L1 norm) and "x0".
Each determines the others at every step t ≥ 1, but eps says little of x_0 where ᾱ_t is near 0 and
x0 little of ε where it is near 1; v says much of both everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from feddiff_secure.model.schedule import Schedule

Objective = Literal["v", "eps", "x0"]
Norm = Literal["l1", "l2"]


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


def target(
    objective: Objective, schedule: Schedule, x0: Tensor, noise: Tensor, t: Tensor
) -> Tensor:
    """What a perfect branch of this objective predicts."""
    match objective:
        case "v":
            return v_target(schedule, x0, noise, t)
        case "eps":
            return noise
        case "x0":
            return x0


def x0_from(
    objective: Objective, schedule: Schedule, x_t: Tensor, output: Tensor, t: Tensor
) -> Tensor:
    """The clean signal that a branch's output implies; t in 1…T."""
    if objective == "x0":
        return output
    if objective == "v":
        return x0_from_v(schedule, x_t, output, t)
    a, b = _factors(schedule, t, x_t)
    return (x_t - b * output) / a


def noise_from(
    objective: Objective, schedule: Schedule, x_t: Tensor, output: Tensor, t: Tensor
) -> Tensor:
    """The noise ε that a branch's output implies; t in 1…T."""
    if objective == "eps":
        return output
    if objective == "v":
        return noise_from_v(schedule, x_t, output, t)
    a, b = _factors(schedule, t, x_t)
    return (x_t - a * output) / b


def denoising_loss(
    branch: Callable[..., Tensor],
    schedule: Schedule,
    x0: Tensor,
    *,
    conditioning: Tensor,
    mask: Tensor,
    generator: torch.Generator,
    objective: Objective = "v",
    norm: Norm = "l2",
    label: Tensor | None = None,
    label_dropout: float = 0.0,
) -> Tensor:
    """Mean error of the predicted target over the covered points, at steps drawn evenly.

    Args:
        branch: the network; its input channels are x_t's followed by the conditioning's.
        schedule: the noise schedule.
        x0: (B, C, *S) clean signal, 0 where not covered.
        conditioning: (B, C', *S) public channels (coverage, position), C' may be 0.
        mask: broadcastable to x0, 1 where the sensor sees.
        generator: source of the steps, the noise and the dropped labels.
        objective: what the branch predicts.
        norm: squared or absolute error (FedDiff: "eps" with "l1").
        label: (B,) class, 1…K, 0 for none; for a branch with classes.
        label_dropout: probability of replacing a label by 0, which trains the branch without
            classes along with the one with (Ho and Salimans, arXiv 2207.12598, algorithm 1).
    """
    t = torch.randint(1, schedule.steps + 1, (x0.shape[0],), generator=generator)
    noise = torch.randn(x0.shape, generator=generator) * mask
    x_t = torch.cat([noised(schedule, x0, noise, t), conditioning], dim=1)
    if label is None:
        predicted = branch(x_t, t)
    else:
        kept = torch.rand(label.shape, generator=generator) >= label_dropout
        predicted = branch(x_t, t, label * kept)
    error = predicted - target(objective, schedule, x0, noise, t)
    error = (torch.square(error) if norm == "l2" else torch.abs(error)) * mask
    return error.sum() / mask.expand_as(error).sum()


def v_loss(
    branch: Callable[..., Tensor],
    schedule: Schedule,
    x0: Tensor,
    *,
    conditioning: Tensor,
    mask: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """`denoising_loss` of v with the squared error: how the shipped branches were trained."""
    return denoising_loss(
        branch, schedule, x0, conditioning=conditioning, mask=mask, generator=generator
    )


@torch.no_grad()
def update_average(average: nn.Module, branch: nn.Module, step: int, decay: float = 0.999) -> None:
    """Exponential moving average of the weights, with the usual warm-up of the decay."""
    rate = min(decay, (1.0 + step) / (10.0 + step))
    for kept, new in zip(average.parameters(), branch.parameters(), strict=True):
        kept.lerp_(new, 1.0 - rate)
