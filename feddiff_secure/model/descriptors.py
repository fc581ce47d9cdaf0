"""Fixed descriptors of a pixel: no learning, no statistic of any data set.

HSI: the spectrum standardised by its own mean and deviation, its first 24 DCT-II coefficients
(shape), and twice its mean reflectance (level); or the same with the k-th coefficient times k, as
in the spectrum's slope, which tells vegetation apart. LiDAR: the sensor-scaled values as they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.rowwise import row_matmul

Rows = npt.NDArray[np.float32]

COEFFICIENTS = 24
_FLOOR = 1e-3  # reflectance; keeps a constant spectrum finite
_MAX_VALUE = 1e4  # beyond any sensor unit; keeps squares finite in float32


def pixels(values: npt.NDArray[np.float32]) -> Rows:
    """Tile arrays (T, C, h, w) as rows (T·h·w, C), tile by tile, row by row."""
    rows = values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])
    return np.ascontiguousarray(np.clip(rows, -_MAX_VALUE, _MAX_VALUE), dtype=np.float32)


def tile_means(values: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_] | None = None) -> Rows:
    """The mean over each tile, (T, C); read from the tile alone.

    Args:
        values: (T, C, h, w), 0 where missing.
        valid: (T, h, w), the pixels that are there, over which alone means are taken.
    """
    clipped = np.clip(values, -_MAX_VALUE, _MAX_VALUE)
    flat = np.ascontiguousarray(clipped.reshape(*values.shape[:2], -1), dtype=np.float64)
    means = flat.mean(axis=2)
    if valid is not None:
        counts = valid.reshape(len(valid), -1).sum(axis=1)
        gaps = counts < flat.shape[2]
        means[gaps] = flat[gaps].sum(axis=2) / np.maximum(counts[gaps, None], 1)
    return np.asarray(means, dtype=np.float32)


def hsi_descriptor(spectra: Rows) -> Rows:
    """(n, B) reflectance to (n, min(B, 24) + 1).

    Coefficients of the orthonormal DCT-II times 2/√B, so that their norm is at most 2 for every
    number of bands B (the DCT divided by 6 at B = 144).
    """
    wide = spectra.astype(np.float64)
    mean = wide.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.square(wide - mean).mean(axis=1, keepdims=True))
    standard = ((wide - mean) / (deviation + _FLOOR)).astype(np.float32)
    coefficients = row_matmul(standard, dct_basis(spectra.shape[1]))
    return np.concatenate([coefficients, 2.0 * mean], axis=1).astype(np.float32)


def hsi_slope(spectra: Rows) -> Rows:
    """(n, B) reflectance to (n, min(B, 24) + 1): `hsi_descriptor` with weights on its columns.

    The k-th coefficient times k (the first times 1), as differentiating a cosine series weights
    it: the coefficients fall about as 1/k, so all come to matter alike. Level 4 times the mean.
    """
    plain = hsi_descriptor(spectra)
    weights = np.maximum(1.0, np.arange(plain.shape[1]))
    weights[-1] = 2.0
    return np.asarray(plain * weights, dtype=np.float32)


def dct_basis(bands: int) -> npt.NDArray[np.float64]:
    """The first min(B, 24) rows of the orthonormal DCT-II of length B, times 2/√B."""
    count = min(bands, COEFFICIENTS)
    k, b = np.arange(count)[:, None], np.arange(bands)[None, :]
    basis = np.sqrt(2.0 / bands) * np.cos(np.pi * k * (2 * b + 1) / (2 * bands))
    basis[0] /= np.sqrt(2.0)
    return np.asarray(basis * 2.0 / np.sqrt(bands))


def lidar_descriptor(values: Rows) -> Rows:
    """(n, C) sensor-scaled values, unchanged."""
    return values
