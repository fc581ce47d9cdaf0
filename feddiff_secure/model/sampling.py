"""Sampling: from noise to a clean signal, step by step down a schedule.

Both samplers take a denoiser (x_t, t) ↦ x̂_0, so they know nothing of networks, objectives,
conditioning or guidance (`guidance.py` makes a denoiser of a branch). DDPM visits every step
and draws from the Gaussian q(x_{t−1} | x_t, x̂_0) (Ho et al., arXiv 2006.11239, eq. 6 and 7). DDIM
visits any subset, with η from 0, deterministic, to 1 (Song et al., arXiv 2010.02502, eq. 12 and
16); on all steps with η = 1 it is DDPM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from feddiff_secure.errors import UsageError
from feddiff_secure.model.schedule import Schedule

Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, …), t (B,)) → the expected clean signal (B, …)."""


def even_timesteps(steps: int, count: int) -> tuple[int, ...]:
    """`count` different timesteps from `steps` down to 1 or near it, evenly spread.

    Raises:
        UsageError: count is not in 1…steps.
    """
    if not 1 <= count <= steps:
        raise UsageError(f"{count} timesteps of {steps}", f"use 1 to {steps}")
    return tuple(int(t) for t in np.ceil(steps * np.arange(count, 0, -1) / count))


def ddpm_posterior(schedule: Schedule, x_t: Tensor, x0: Tensor, t: int) -> tuple[Tensor, float]:
    """Mean and variance of q(x_{t−1} | x_t, x_0), t in 1…T; the variance is β̃_t."""
    now, before = float(schedule.alphas_bar[t]), float(schedule.alphas_bar[t - 1])
    alpha = now / before
    of_x0 = before**0.5 * (1.0 - alpha) / (1.0 - now)
    of_x_t = alpha**0.5 * (1.0 - before) / (1.0 - now)
    return of_x0 * x0 + of_x_t * x_t, (1.0 - before) / (1.0 - now) * (1.0 - alpha)


def ddim_step(
    schedule: Schedule, x_t: Tensor, x0: Tensor, t: int, *, before: int, eta: float
) -> tuple[Tensor, float]:
    """Mean and variance of the DDIM step from t to `before`, 0 ≤ before < t."""
    a_t, a_s = float(schedule.alphas_bar[t]), float(schedule.alphas_bar[before])
    variance = eta**2 * (1.0 - a_s) / (1.0 - a_t) * (1.0 - a_t / a_s)
    noise = (x_t - a_t**0.5 * x0) / (1.0 - a_t) ** 0.5
    return a_s**0.5 * x0 + max(0.0, 1.0 - a_s - variance) ** 0.5 * noise, variance


@torch.no_grad()
def sample_ddpm(
    denoise: Denoiser,
    schedule: Schedule,
    start: Tensor,
    *,
    generator: torch.Generator,
    mask: Tensor | None = None,
) -> Tensor:
    """Ancestral sampling over all steps.

    Args:
        denoise: gives x̂_0.
        schedule: the noise schedule of the denoiser's training.
        start: (B, …) x_T, standard normal.
        generator: source of the noise; B·T draws of a sample's size.
        mask: broadcastable to start, 1 where the sensor sees; there is no noise elsewhere.

    Returns:
        (B, …) x_0.
    """
    x = start
    for t in range(schedule.steps, 0, -1):
        mean, variance = ddpm_posterior(schedule, x, denoise(x, _steps(x, t)), t)
        x = _drawn(mean, variance, generator, mask)
    return x


@torch.no_grad()
def sample_ddim(
    denoise: Denoiser,
    schedule: Schedule,
    start: Tensor,
    *,
    timesteps: Sequence[int],
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """DDIM over the given timesteps; the last step goes to 0.

    Args:
        denoise: gives x̂_0.
        schedule: the noise schedule of the denoiser's training.
        start: (B, …) x_t of the first timestep: noise at T, or a noised signal to reconstruct.
        timesteps: strictly falling within T…1.
        eta: 0 (no noise is drawn) to 1.
        generator: source of the noise; needed where eta > 0.
        mask: broadcastable to start, 1 where the sensor sees; there is no noise elsewhere.

    Returns:
        (B, …) x_0.

    Raises:
        UsageError: timesteps that do not fall within T…1, eta outside 0…1 or without generator.
    """
    path = [*timesteps, 0]
    if len(path) < 2 or path[0] > schedule.steps or np.any(np.diff(path) >= 0):
        raise UsageError(
            f"timesteps {list(timesteps)[:6]} do not fall strictly within {schedule.steps}..1",
            "use even_timesteps",
        )
    if not 0.0 <= eta <= 1.0 or (eta > 0.0 and generator is None):
        raise UsageError(f"eta {eta} is not in 0..1, or has no generator", "use 0, or give one")
    x = start
    for t, before in pairwise(path):
        mean, variance = ddim_step(schedule, x, denoise(x, _steps(x, t)), t, before=before, eta=eta)
        x = _drawn(mean, variance, generator, mask)
    return x


def _steps(x: Tensor, t: int) -> Tensor:
    return torch.full((x.shape[0],), t)


def _drawn(
    mean: Tensor, variance: float, generator: torch.Generator | None, mask: Tensor | None
) -> Tensor:
    if variance == 0.0 or generator is None:
        return mean
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    noise = noise if mask is None else noise * mask
    return torch.add(mean, noise, alpha=variance**0.5)
