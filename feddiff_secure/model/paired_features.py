"""Diffusion features of two branches with bilateral connections, for tiles that have both sensors.

As `features.py`, but the branches see each other: to read one modality's stages at a step t the
other modality of the same tile is noised to the same t ("matching denoising steps", FedDiff,
arXiv 2401.02433). Features of a tile follow from that tile alone, and batches have a fixed size.

The default ψ does not use it: an owner of one modality could not compute it, and docs/results.md
says what it is worth to one of both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from feddiff_secure.model.features import (
    FEATURES,
    HSI_SETTINGS,
    LIDAR_SETTINGS,
    FeatureSettings,
    Rows,
)
from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.paired import PairedBranches, PairedLevels
from feddiff_secure.model.projection import public_normal
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import Resampling, standardise

PIXELS_A_BATCH = 256


class PairedRows(NamedTuple):
    """Features of every pixel, tile by tile, row by row: (T·h·w, 64) each, of unit norm."""

    hsi: Rows
    lidar: Rows


def paired_features(
    pair: PairedBranches,
    spectra: npt.NDArray[np.float32],
    heights: npt.NDArray[np.float32],
    sampling: Resampling,
) -> PairedRows:
    """Features of both modalities of T tiles.

    Args:
        pair: the connected branches: a spectral one and a spatial one.
        spectra: (T, B, h, w) reflectance.
        heights: (T, 2, h, w) height and intensity in sensor scale.
        sampling: of the spectra.
    """
    count, _, rows, cols = spectra.shape
    pixels = spectra.transpose(0, 2, 3, 1).reshape(count * rows * cols, -1)
    signal = standardise(np.ascontiguousarray(pixels), sampling)
    grid = signal.reshape(count, rows, cols, 1, -1)
    extractor = _PairedExtractor(pair, hsi_conditioning(sampling), (rows, cols))
    batch = max(1, PIXELS_A_BATCH // (rows * cols))
    found = []
    for start in range(0, count, batch):
        inside = slice(start, min(start + batch, count))
        taken = inside.stop - start
        padded = [
            np.concatenate([part[inside], np.zeros((batch - taken, *part.shape[1:]), np.float32)])
            for part in (grid, lidar_signal(heights))
        ]
        found.append([values[: taken * rows * cols] for values in extractor(*padded)])
    nothing = np.empty((0, FEATURES), dtype=np.float32)
    return PairedRows(*(np.concatenate([nothing, *part]) for part in zip(*found, strict=True)))


class _PairedExtractor:
    """The public noise and projections of one tile shape, and the pass over one batch."""

    def __init__(
        self,
        pair: PairedBranches,
        conditioning: npt.NDArray[np.float32],
        shape: tuple[int, int],
    ) -> None:
        self.pair = pair
        self.schedule = linear_schedule()
        self.conditioning = torch.from_numpy(conditioning)  # (2, G)
        draws = max(HSI_SETTINGS.draws, LIDAR_SETTINGS.draws)
        one = public_normal((HSI_SETTINGS.seed, 1), (draws, 1, conditioning.shape[1]))
        two = public_normal((LIDAR_SETTINGS.seed, 1), (draws, 2, *shape))
        self.noise = [torch.from_numpy(noise.astype(np.float32)) for noise in (one, two)]
        self.projections: dict[tuple[int, int, int], Tensor] = {}

    def __call__(
        self, hsi: npt.NDArray[np.float32], lidar: npt.NDArray[np.float32]
    ) -> tuple[Rows, Rows]:
        signals = (torch.from_numpy(hsi), torch.from_numpy(lidar))
        with torch.inference_mode():
            one, two = (
                self._rows(which, settings, *signals)
                for which, settings in enumerate((HSI_SETTINGS, LIDAR_SETTINGS))
            )
        return one, two

    def _rows(self, which: int, settings: FeatureSettings, hsi: Tensor, lidar: Tensor) -> Rows:
        total = torch.zeros(1, dtype=torch.float64)
        for index, t in enumerate(settings.timesteps):
            sums: list[Tensor] = []
            for draw in range(settings.draws):
                levels = self._levels(hsi, lidar, t, draw)
                found = list(self._stages(which, levels, t, lidar.shape[2:]))
                sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
            for stage, values in enumerate(sums):
                projection = self._projection(which, index, stage, values.shape[1])
                total = total + (values / settings.draws @ projection).double()
        norm = torch.linalg.vector_norm(total, dim=1, keepdim=True)
        unit: Rows = (total / norm.clamp_min(1e-12)).float().numpy()
        return unit

    def _levels(self, hsi: Tensor, lidar: Tensor, t: int, draw: int) -> PairedLevels:
        signal, noise = float(self.schedule.signal(t)), float(self.schedule.noise(t))
        spectra = (signal * hsi + noise * self.noise[0][draw]) * self.conditioning[:1]
        condition = self.conditioning.expand(*hsi.shape[:3], *self.conditioning.shape)
        heights = signal * lidar + noise * self.noise[1][draw]
        steps = torch.full((len(hsi),), t)
        return self.pair.encode(torch.cat([spectra, condition], dim=3), heights, steps)

    def _stages(self, which: int, levels: PairedLevels, t: int, shape: torch.Size) -> list[Tensor]:
        """Feature rows of the middle and of the finest decoder stage of one branch."""
        branch: UNet = (self.pair.hsi, self.pair.lidar)[which]
        own = levels[which]
        assert own is not None  # both were given
        time = branch.embed(torch.full((1,), t))
        found = []
        for stage in (own[-1], branch.decode(own, time)[-1]):
            if which == 0:
                rows = stage.flatten(1)
            else:
                full = functional.interpolate(stage, size=shape, mode="nearest")
                rows = full.permute(0, 2, 3, 1).flatten(0, 2)
            found.append(functional.layer_norm(rows, rows.shape[1:]))
        return found

    def _projection(self, which: int, step: int, stage: int, width: int) -> Tensor:
        key = (which, step, stage)
        if key not in self.projections:
            seed = (HSI_SETTINGS, LIDAR_SETTINGS)[which].seed
            draws = public_normal((seed, 2, step, stage), (width, FEATURES))
            self.projections[key] = torch.from_numpy((draws / np.sqrt(width)).astype(np.float32))
        return self.projections[key]
