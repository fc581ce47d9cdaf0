"""What a public branch reconstructs and generates, in the units of the sensors.

A branch works on spectra standardised one by one, and on heights and intensities through fixed
maps (`inputs.py`). Here its outputs come back: a reconstructed spectrum gets the level and the
contrast of the spectrum it came from; a generated one has neither, so it stays standardised, and
the caller says what it is shown at. Sampling is DDIM without noise, but for the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.errors import UsageError
from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.rowwise import row_matmul
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.wavelengths import Resampling, standardise

if TYPE_CHECKING:
    import torch

    from feddiff_secure.model.prior import Prior

Floats = NDArray[np.float32]

LIMIT = 6.0  # of a standardised spectrum; simulated ones stay within ±5
BATCH = 256
_FLOOR = np.float32(0.02)  # the constant that `standardise` adds to a deviation


def level_and_contrast(spectra: Floats, sampling: Resampling) -> tuple[Floats, Floats]:
    """(n, 1) mean and (n, 1) divisor by which `standardise` turns a resampled spectrum around."""
    grid = row_matmul(spectra, sampling.weights).astype(np.float32)
    share = sampling.covered / np.float32(sampling.covered.sum())
    mean = np.sum(grid * share, axis=1, keepdims=True)
    deviation = np.sqrt(np.sum(np.square(grid - mean) * share, axis=1, keepdims=True))
    return mean, deviation + _FLOOR


def reflectance(standard: Floats, level: Floats, contrast: Floats, sampling: Resampling) -> Floats:
    """(n, G) standardised spectra back to reflectance on the grid; 0 where not covered."""
    return np.asarray((standard * contrast + level) * sampling.covered, dtype=np.float32)


def reconstructed_spectra(
    prior: Prior,
    spectra: Floats,
    sampling: Resampling,
    *,
    t: int,
    steps: int,
    generator: torch.Generator,
) -> tuple[Floats, Floats]:
    """Noise spectra to step t and let the branch take the noise off again.

    Args:
        prior: an HSI branch.
        spectra: (n, B) reflectance.
        sampling: of the sensor.
        t: the step, 1…T.
        steps: DDIM steps from t to 0.
        generator: source of the noise.

    Returns:
        Noised and reconstructed, (n, G) standardised.
    """
    signal = standardise(spectra, sampling)[:, None]
    noised, found = _denoise(
        prior, signal, hsi_conditioning(sampling), t=t, steps=steps, generator=generator
    )
    return noised[:, 0], found[:, 0]


def generated_spectra(
    prior: Prior,
    count: int,
    sampling: Resampling,
    *,
    steps: int,
    generator: torch.Generator,
    label: NDArray[np.int64] | None = None,
    guidance: float = 1.0,
) -> Floats:
    """Draw standardised spectra (count, G) as a sensor would see them.

    Args:
        prior: an HSI branch.
        count: spectra to draw.
        sampling: of the sensor.
        steps: DDIM steps from T to 0.
        generator: source of the noise to start from.
        label: (count,) class asked for, 1…K, 0 for none; for a branch with classes.
        guidance: how far to follow it, 0 to 100 (`guidance.py`); only with labels.

    Raises:
        UsageError: not one label a spectrum, labels for a branch without classes or beyond its
            classes, or guidance out of range.
    """
    blank = np.zeros((count, 1, sampling.covered.size), dtype=np.float32)
    _check_labels(prior, count, label)
    _, found = _denoise(
        prior,
        blank,
        hsi_conditioning(sampling),
        t=None,
        steps=steps,
        generator=generator,
        label=label,
        guidance=guidance,
    )
    return found[:, 0]


def _check_labels(prior: Prior, count: int, label: NDArray[np.int64] | None) -> None:
    classes = prior.branch.config.classes
    if label is None:
        return
    if label.shape != (count,) or not classes or np.any((label < 0) | (label > classes)):
        raise UsageError(
            f"labels of shape {label.shape} for {count} spectra of a branch of {classes} classes",
            "give every spectrum a class the branch knows, or 0",
        )


def reconstructed_heights(
    prior: Prior, tiles: Floats, *, t: int, steps: int, generator: torch.Generator
) -> tuple[Floats, Floats]:
    """As `reconstructed_spectra` for (n, 2, h, w) sensor-scaled height and intensity."""
    signal = lidar_signal(tiles)
    nothing = np.zeros((0, *signal.shape[2:]), dtype=np.float32)
    noised, found = _denoise(prior, signal, nothing, t=t, steps=steps, generator=generator)
    return heights_of_signal(noised), heights_of_signal(found)


def generated_heights(
    prior: Prior, count: int, side: int, *, steps: int, generator: torch.Generator
) -> Floats:
    """Draw (count, 2, side, side) sensor-scaled height and intensity."""
    blank = np.zeros((count, 2, side, side), dtype=np.float32)
    nothing = np.zeros((0, side, side), dtype=np.float32)
    _, found = _denoise(prior, blank, nothing, t=None, steps=steps, generator=generator)
    return heights_of_signal(found)


def heights_of_signal(signal: Floats) -> Floats:
    """The inverse of `inputs.lidar_signal`; an intensity beyond the map's range becomes its end."""
    height = np.sinh(signal[:, 0].astype(np.float64) + 1.0) / 10.0
    intensity = np.arctanh(np.clip((signal[:, 1].astype(np.float64) + 1.0) / 3.0, -0.999, 0.999))
    return np.stack([height, intensity], axis=1).astype(np.float32)


def _denoise(
    prior: Prior,
    signal: Floats,
    conditioning: Floats,
    *,
    t: int | None,
    steps: int,
    generator: torch.Generator,
    label: NDArray[np.int64] | None = None,
    guidance: float = 1.0,
) -> tuple[Floats, Floats]:
    """Start at x_t of the signal, or at pure noise where t is None, and go down to 0."""
    import torch  # noqa: PLC0415 - torch is loaded only where it is needed

    from feddiff_secure.model.diffusion import noised  # noqa: PLC0415
    from feddiff_secure.model.guidance import branch_denoiser  # noqa: PLC0415
    from feddiff_secure.model.sampling import even_timesteps, sample_ddim  # noqa: PLC0415

    schedule = linear_schedule()
    condition = torch.from_numpy(conditioning)[None]
    mask = condition[:, :1] if len(conditioning) else torch.ones(1)
    path = even_timesteps(schedule.steps if t is None else t, steps)
    started, found = [], []
    for first in range(0, len(signal), BATCH):
        x0 = torch.from_numpy(signal[first : first + BATCH])
        noise = torch.randn(x0.shape, generator=generator) * mask
        at = torch.full((len(x0),), path[0])
        start = noise if t is None else noised(schedule, x0, noise, at)
        denoise = branch_denoiser(
            prior.branch,
            schedule,
            conditioning=condition,
            mask=mask,
            label=None if label is None else torch.from_numpy(label[first : first + BATCH]),
            guidance=guidance,
            limit=LIMIT,
        )
        started.append(start.numpy())
        found.append(sample_ddim(denoise, schedule, start, timesteps=path, mask=mask).numpy())
    return np.concatenate(started), np.concatenate(found)
