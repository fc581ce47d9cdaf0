"""Simulated tiles of spectra: what an attacker can train a decoder on without anybody's data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from feddiff_secure.data.simulate.neighbourhoods import class_batch
from feddiff_secure.data.simulate.spectra import random_spectra

Floats = NDArray[np.float32]

EACH = 5  # spectra of a narrow class
PARTS = 4  # spectra that a tile mixes
_SEEN_NM = (350.0, 2500.0)  # what the simulation knows


def public_spectra(
    rng: np.random.Generator, count: int, wavelengths_nm: NDArray[np.float64]
) -> Floats:
    """(count, B) spectra of simulated materials, half of them from narrow classes.

    Args:
        rng: simulation randomness.
        count: a multiple of 10.
        wavelengths_nm: (B,) of the sensor; what lies outside 350–2500 is taken from the ends.
    """
    at = np.clip(wavelengths_nm, *_SEEN_NM)
    narrow, _ = class_batch(rng, count // 2 // EACH, EACH, at)
    return np.concatenate([narrow, random_spectra(rng, count // 2, at)]).astype(np.float32)


def public_tiles(
    rng: np.random.Generator,
    count: int,
    shape: tuple[int, int],
    wavelengths_nm: NDArray[np.float64],
) -> Floats:
    """(count, B, h, w) tiles, each a smooth mixture of a few simulated spectra.

    Args:
        rng: simulation randomness.
        count: a multiple of 10.
        shape: h and w; a tile of one pixel is one spectrum.
        wavelengths_nm: (B,) of the sensor.
    """
    if shape == (1, 1):
        return public_spectra(rng, count, wavelengths_nm)[:, :, None, None]
    spectra = rng.permutation(public_spectra(rng, count * PARTS, wavelengths_nm))
    parts = spectra.reshape(count, PARTS, -1)
    fields = rng.standard_normal((count, PARTS, *shape))
    smooth = 8.0 * ndimage.gaussian_filter(fields, (0.0, 0.0, 1.5, 1.5))
    shares = np.exp(smooth - smooth.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("tkhw,tkb->tbhw", shares, parts), dtype=np.float32)
