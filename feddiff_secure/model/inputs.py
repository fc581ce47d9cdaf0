"""What a branch is fed: the clean signal and its public conditioning channels.

HSI: the spectrum standardised on the wavelength grid; coverage and position as conditioning.
LiDAR: height and intensity through fixed maps; no conditioning. Constants only, nothing is
estimated from data.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.wavelengths import Resampling

_HEIGHT_WORDS = ("height", "elevation", "dsm", "chm")


def hsi_conditioning(sampling: Resampling) -> npt.NDArray[np.float32]:
    """(2, G): coverage, and wavelength position."""
    return np.stack([sampling.covered, sampling.position])


def lidar_signal(heights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n, 2, h, w) sensor-scaled height and intensity to about −1…2, monotone and bounded-slope.

    Heights (1 = 30 m above ground) go through asinh, which keeps a kerb and a tower apart.
    """
    height = np.arcsinh(10.0 * heights[:, 0].astype(np.float64)) - 1.0
    intensity = 3.0 * np.tanh(heights[:, 1].astype(np.float64)) - 1.0
    return np.stack([height, intensity], axis=1).astype(np.float32)


def height_and_intensity(channels: tuple[str, ...]) -> tuple[int, int] | None:
    """Indices of the height and the intensity channel by name; None for an unknown layout."""
    names = [name.lower() for name in channels]
    height = [i for i, name in enumerate(names) if any(word in name for word in _HEIGHT_WORDS)]
    intensity = [i for i, name in enumerate(names) if "intensity" in name]
    if not height or not intensity:
        return None
    return height[0], intensity[0]
