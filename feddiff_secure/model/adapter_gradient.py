"""Gradients of the diffusion loss with respect to the adapter, one for each spectrum.

Every spectrum gets a copy of the adapter of its own, so one backward pass gives all gradients: the
loss of a spectrum depends on its own copy alone. The loss is the squared error of v (arXiv
2202.00512) at the covered points, averaged over K public draws of a step and a noise: noise
multiplicity (Dockhorn et al., arXiv 2210.09929, section 4.2), and it comes before any clipping.

The gradient of a spectrum depends on that spectrum alone, bit for bit: all spectra meet the same
draws, a pass has one step and a fixed number of rows, padded with zeros, and no layer normalises
across rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.adapter import modulated_norms
from feddiff_secure.model.features import one_thread_an_operation
from feddiff_secure.model.inputs import hsi_conditioning
from feddiff_secure.model.projection import public_normal
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.wavelengths import Resampling

if TYPE_CHECKING:
    from torch import Tensor

    from feddiff_secure.model.prior import Prior

Rows = npt.NDArray[np.float32]

MULTIPLICITY = 4
"""K: draws of a step and a noise that a gradient is averaged over."""
ROWS_A_PASS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """What every spectrum is noised with in one round; public.

    Attributes:
        steps: K steps t, one in each K-th of 1…T.
        noise: (K, G) standard normal.
    """

    steps: tuple[int, ...]
    noise: npt.NDArray[np.float32]


def public_draws(seed: tuple[int, ...], points: int, multiplicity: int = MULTIPLICITY) -> Draws:
    """The draws of a public seed for a grid of G points."""
    normal = public_normal((*seed, 0), (multiplicity, points)).astype(np.float32)
    place = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*seed, 1))))
    share = (np.arange(multiplicity) + place.random(multiplicity)) / multiplicity
    steps = 1 + np.floor(share * linear_schedule().steps).astype(int)
    return Draws(tuple(int(step) for step in steps), normal)


def spectrum_gradients(
    prior: Prior,
    signal: Rows,
    sampling: Resampling,
    adapter: npt.NDArray[np.float64],
    draws: Draws,
) -> npt.NDArray[np.float64]:
    """The gradient of each spectrum's loss at an adapter, (n, P) float64.

    Args:
        prior: the shipped branch.
        signal: (n, G) standardised spectra (`wavelengths.standardise`).
        sampling: the sensor's grid.
        adapter: (P,) where the gradient is taken.
        draws: of the round.
    """

    def run(start: int) -> npt.NDArray[np.float64]:
        part = signal[start : start + ROWS_A_PASS]
        padded = np.zeros((ROWS_A_PASS, signal.shape[1]), dtype=np.float32)
        padded[: len(part)] = part
        return _Pass(prior, sampling, adapter)(padded, draws)[: len(part)]

    with one_thread_an_operation(), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(run, range(0, len(signal), ROWS_A_PASS)))
    return np.concatenate([np.empty((0, len(adapter))), *found])


class _Pass:
    """A branch of its own whose every row has a copy of the adapter."""

    def __init__(
        self, prior: Prior, sampling: Resampling, adapter: npt.NDArray[np.float64]
    ) -> None:
        import torch  # noqa: PLC0415 - torch is loaded only where it is needed

        self._branch = deepcopy(prior.branch)
        self._schedule = linear_schedule()
        self._conditioning = torch.from_numpy(hsi_conditioning(sampling))[None].expand(
            ROWS_A_PASS, -1, -1
        )
        self._covered = torch.from_numpy(sampling.covered)
        one = torch.tensor(adapter, dtype=torch.float32)  # a copy: what was received is read-only
        self._copies = one.expand(ROWS_A_PASS, -1).clone().requires_grad_()
        start = 0
        for norm in modulated_norms(self._branch):
            width = norm.get_parameter("weight").numel()
            norm.register_forward_hook(self._film(start, width))
            start += 2 * width

    def _film(self, start: int, width: int) -> Callable[[object, object, Tensor], Tensor]:
        def hook(_module: object, _inputs: object, h: Tensor) -> Tensor:
            both = self._copies[:, start : start + 2 * width, None]
            return h * (1.0 + both[:, :width]) + both[:, width:]

        return hook

    def __call__(self, rows: Rows, draws: Draws) -> npt.NDArray[np.float64]:
        """Gradients of the mean loss over the draws, one a row, (rows, P)."""
        import torch  # noqa: PLC0415

        x0 = torch.from_numpy(rows)[:, None]
        total = np.zeros(self._copies.shape)
        for step, noise in zip(draws.steps, draws.noise, strict=True):
            loss = self._losses(x0, torch.from_numpy(noise), step).sum()
            (gradient,) = torch.autograd.grad(loss, self._copies)
            total += gradient.numpy()
        return total / len(draws.steps)

    def _losses(self, x0: Tensor, noise: Tensor, step: int) -> Tensor:
        """The squared error of v over the covered points, a mean for each row, (rows,)."""
        import torch  # noqa: PLC0415

        a, b = float(self._schedule.signal(step)), float(self._schedule.noise(step))
        x_t = (a * x0 + b * noise) * self._covered
        inputs = torch.cat([x_t, self._conditioning], dim=1)
        branch = self._branch
        time = branch.time(torch.full((1,), step))  # one step a pass
        v = branch.predict(branch.decode(branch.encode(inputs, time), time)[-1])
        error = (v - (a * noise - b * x0)) * self._covered
        return torch.square(error).sum(dim=(1, 2)) / self._covered.sum()
