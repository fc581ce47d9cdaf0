"""Diffusion features: what a frozen public branch sees in a noised pixel or tile.

The signal is noised to several timesteps with public noise draws that are the same for every
pixel; the branch's middle and decoder activations are layer-normed, averaged over the draws,
projected by a fixed public random matrix and brought to unit norm (FedDiff, arXiv 2401.02433,
concatenates encoder features of several timesteps; the averaging and projection are ours).

The features of a tile depend on that tile alone, bit for bit: batches have one fixed size, padded
with zeros, and no layer normalises across a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.projection import public_normal
from feddiff_secure.model.schedule import Schedule, linear_schedule
from feddiff_secure.model.wavelengths import Resampling, standardise

if TYPE_CHECKING:
    from torch import Tensor

    from feddiff_secure.model.prior import Prior
    from feddiff_secure.model.unet import UNet

Rows = npt.NDArray[np.float32]

FEATURES = 64  # length of a diffusion feature vector
SPECTRA_A_BATCH = 128
PIXELS_A_BATCH = 4096  # of LiDAR tiles


@dataclass(frozen=True)
class FeatureSettings:
    """Public choices, made on simulated data.

    Attributes:
        timesteps: steps t of the linear schedule (T = 500) to noise to.
        draws: public noise draws to average over at each step.
        seed: public seed of the noise and of the projection.
    """

    timesteps: tuple[int, ...]
    draws: int
    seed: int = 0


HSI_SETTINGS = FeatureSettings(timesteps=(50, 150, 300), draws=2)
LIDAR_SETTINGS = FeatureSettings(timesteps=(5, 50, 100), draws=2)


def hsi_features(
    prior: Prior, spectra: Rows, sampling: Resampling, settings: FeatureSettings = HSI_SETTINGS
) -> Rows:
    """Features of (n, B) reflectance spectra: (n, 64) float32 of unit norm."""
    signal = standardise(spectra, sampling)[:, None]  # (n, 1, G)
    conditioning = hsi_conditioning(sampling)
    return _features(prior, signal, conditioning, settings, SPECTRA_A_BATCH)


def lidar_features(
    prior: Prior, tiles: npt.NDArray[np.float32], settings: FeatureSettings = LIDAR_SETTINGS
) -> Rows:
    """Features of every pixel of (T, 2, h, w) height-and-intensity tiles: (T·h·w, 64) float32."""
    height, width = tiles.shape[2:]
    batch = max(1, PIXELS_A_BATCH // (height * width))
    nothing = np.zeros((0, height, width), dtype=np.float32)
    return _features(prior, lidar_signal(tiles), nothing, settings, batch)


def _features(
    prior: Prior,
    signal: npt.NDArray[np.float32],
    conditioning: npt.NDArray[np.float32],
    settings: FeatureSettings,
    batch: int,
) -> Rows:
    """Run fixed-size batches of samples (n, C, *S) through the branch."""
    a_sample = 1 if signal.ndim == 3 else int(np.prod(signal.shape[2:]))  # feature rows
    extractor = _Extractor(prior, signal.shape[1:], conditioning, settings)

    def run(start: int) -> Rows:
        part = signal[start : start + batch]
        padded = np.zeros((batch, *signal.shape[1:]), dtype=np.float32)
        padded[: len(part)] = part
        return extractor(padded)[: len(part) * a_sample]

    # One batch a thread and one thread a batch: faster than threads inside small operations,
    # and the order of every sum is that of a single thread on any machine.
    with one_thread_an_operation(), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(run, range(0, signal.shape[0], batch)))
    nothing = np.empty((0, FEATURES), dtype=np.float32)
    return np.concatenate([nothing, *found])


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Keep torch from splitting an operation over threads; the setting is restored at the end."""
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Reader(Protocol):
    """What a branch sees in a batch, at a step and under a draw of noise given by their index."""

    def clean(self, x0: Tensor) -> Tensor:
        """What all steps and draws share."""

    def stages(self, clean: Tensor, step: int, draw: int) -> Iterator[Tensor]:
        """Feature rows of the middle and the finest decoder stage."""


class _Extractor:
    """The public noise and projections for one signal shape, and the pass over one batch."""

    def __init__(
        self,
        prior: Prior,
        shape: tuple[int, ...],
        conditioning: npt.NDArray[np.float32],
        settings: FeatureSettings,
    ) -> None:
        import torch  # noqa: PLC0415 - torch is loaded only where it is needed

        self.settings = settings
        noise = public_normal((settings.seed, 1), (settings.draws, *shape)).astype(np.float32)
        with torch.inference_mode():
            self.reader = _reader(
                prior, settings, torch.from_numpy(noise), torch.from_numpy(conditioning)
            )
        self.projections: dict[tuple[int, int], Tensor] = {}  # same in any thread

    def __call__(self, batch: npt.NDArray[np.float32]) -> Rows:
        """(batch, C, *S) clean signal to unit-norm feature rows."""
        import torch  # noqa: PLC0415

        total = torch.zeros(1, dtype=torch.float64)
        with torch.inference_mode():
            clean = self.reader.clean(torch.from_numpy(batch))
            for step in range(len(self.settings.timesteps)):
                for stage, values in enumerate(self._mean_stages(clean, step)):
                    projection = self._projection(step, stage, values.shape[1])
                    total = total + (values @ projection).double()
            norm = torch.linalg.vector_norm(total, dim=1, keepdim=True)
            unit: Rows = (total / norm.clamp_min(1e-12)).float().numpy()
        return unit

    def _mean_stages(self, clean: Tensor, step: int) -> list[Tensor]:
        """Layer-normed activations at a step, averaged over the noise draws."""
        from torch.nn import functional  # noqa: PLC0415

        sums: list[Tensor] = []
        for draw in range(self.settings.draws):
            stages = [
                functional.layer_norm(rows, rows.shape[1:])
                for rows in self.reader.stages(clean, step, draw)
            ]
            sums = [a + b for a, b in zip(sums, stages, strict=True)] if sums else stages
        return [total / self.settings.draws for total in sums]

    def _projection(self, step: int, stage: int, width: int) -> Tensor:
        import torch  # noqa: PLC0415

        key = (step, stage)
        if key not in self.projections:
            draws = public_normal((self.settings.seed, 2, *key), (width, FEATURES))
            self.projections[key] = torch.from_numpy((draws / np.sqrt(width)).astype(np.float32))
        return self.projections[key]


def _reader(
    prior: Prior, settings: FeatureSettings, noise: Tensor, conditioning: Tensor
) -> _Reader:
    from feddiff_secure.model.spectral_pass import SpectralReader  # noqa: PLC0415

    schedule = linear_schedule()
    if noise.dim() == 3:
        return SpectralReader(prior.branch, schedule, settings.timesteps, noise, conditioning)
    return _TileReader(prior.branch, schedule, settings.timesteps, noise)


class _TileReader:
    """The branch itself, on tiles without conditioning; one feature row a pixel."""

    def __init__(
        self, branch: UNet, schedule: Schedule, timesteps: Sequence[int], noise: Tensor
    ) -> None:
        self.branch, self.timesteps, self.noise = branch, timesteps, noise
        self.levels = [(float(schedule.signal(t)), float(schedule.noise(t))) for t in timesteps]

    def clean(self, x0: Tensor) -> Tensor:
        """The tiles (B, C, h, w): the branch is given them noised."""
        return x0

    def stages(self, clean: Tensor, step: int, draw: int) -> Iterator[Tensor]:
        """Rows (B·h·w, C) of the middle and the finest decoder stage."""
        import torch  # noqa: PLC0415
        from torch.nn import functional  # noqa: PLC0415

        signal, noise = self.levels[step]
        x_t = signal * clean + noise * self.noise[draw]
        # One row (1, width): every sample of a batch is at the same step.
        time = self.branch.time(torch.full((1,), self.timesteps[step]))
        levels = self.branch.encode(x_t, time)
        for stage in (levels[-1], self.branch.decode(levels, time)[-1]):
            full = functional.interpolate(stage, size=clean.shape[2:], mode="nearest")
            yield full.permute(0, 2, 3, 1).flatten(0, 2)
