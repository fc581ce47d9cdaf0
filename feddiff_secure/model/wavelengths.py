"""The public wavelength grid that every sensor's bands are resampled to.

96 points 380–1055 nm (visible and near infrared) and 32 points 1090–2500 nm (shortwave
infrared). A sensor without shortwave bands uses the first 96 alone. Resampling is linear
interpolation between bands followed by a triangular average as wide as the grid's own step, so
that a finer sensor's noise is averaged, not dropped. It depends on wavelengths only, never on data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from feddiff_secure.errors import DataError
from feddiff_secure.model.rowwise import row_matmul

NEAR_POINTS = 96
GRID_NM: npt.NDArray[np.float64] = np.concatenate(
    [np.linspace(380.0, 1055.0, NEAR_POINTS), np.linspace(1090.0, 2500.0, 32)]
)
_STEP_NM: npt.NDArray[np.float64] = np.concatenate(
    [np.full(NEAR_POINTS, 675.0 / 95.0), np.full(32, 1410.0 / 31.0)]
)
# Bands of unknown wavelength are spread over the range that most imaging spectrometers cover.
_INDEX_RANGE_NM = (400.0, 1000.0)
_MAX_GAP_NM = 120.0  # wider holes (removed water-vapour bands) are not interpolated across


@dataclass(frozen=True)
class Resampling:
    """How one sensor's bands become grid points.

    Attributes:
        weights: (G, B) float32, rows sum to 1 where covered and are 0 elsewhere; G is 96 or 128.
        covered: (G,) float32, 1 where the sensor sees the grid point.
        position: (G,) float32, the grid's wavelengths mapped to about −1…1.
    """

    weights: npt.NDArray[np.float32]
    covered: npt.NDArray[np.float32]
    position: npt.NDArray[np.float32]


def band_wavelengths(
    bands: int, wavelengths_nm: tuple[float, ...] | None
) -> npt.NDArray[np.float64]:
    """The sensor's wavelengths, or an even grid over 400–1000 nm where they are unknown.

    Raises:
        DataError: the wavelengths are not `bands` finite, positive, strictly increasing numbers.
    """
    if wavelengths_nm is None:
        even = np.linspace(*_INDEX_RANGE_NM, bands) if bands > 1 else np.array([700.0])
        return np.asarray(even, dtype=np.float64)
    given = np.asarray(wavelengths_nm, dtype=np.float64)
    valid = given.shape == (bands,) and bool(np.all(np.isfinite(given)) and np.all(given > 0.0))
    if not valid or np.any(np.diff(given) <= 0.0):
        raise DataError(
            f"wavelengths_nm must be {bands} finite, positive, strictly increasing numbers",
            "correct the attribute, or remove it to place the bands on an index grid",
        )
    return np.asarray(given, dtype=np.float64)


def sees_shortwave(bands: int, wavelengths_nm: tuple[float, ...] | None) -> bool:
    """Whether a sensor covers any shortwave point of the grid.

    Raises:
        DataError: see `resampling`.
    """
    return bool(resampling(bands, wavelengths_nm).covered.size > NEAR_POINTS)


def resampling(bands: int, wavelengths_nm: tuple[float, ...] | None) -> Resampling:
    """Build the resampling of a sensor with `bands` bands.

    Raises:
        DataError: see `band_wavelengths`; or no band lies in 380–2500 nm.
    """
    at = band_wavelengths(bands, wavelengths_nm)
    lattice = np.arange(340.0, 2561.0)  # 1 nm
    interpolation = _interpolation(lattice, at)  # (L, B), rows of zeros where not covered
    window = np.maximum(0.0, 1.0 - np.abs(lattice - GRID_NM[:, None]) / _STEP_NM[:, None])
    weights = window @ interpolation  # (G, B)
    mass = weights.sum(axis=1)
    seen = mass > 0.25 * window.sum(axis=1)
    if not np.any(seen):
        raise DataError(
            f"no band between 380 and 2500 nm (the sensor covers {at[0]:g} to {at[-1]:g} nm)",
            "give wavelengths_nm in nanometres",
        )
    size = GRID_NM.size if np.any(seen[NEAR_POINTS:]) else NEAR_POINTS
    weights = np.where(seen[:, None], weights / np.where(seen, mass, 1.0)[:, None], 0.0)
    position = np.log(GRID_NM / 975.0) / np.log(2500.0 / 975.0)
    return Resampling(
        weights=weights[:size].astype(np.float32),
        covered=seen[:size].astype(np.float32),
        position=position[:size].astype(np.float32),
    )


def _interpolation(
    lattice: npt.NDArray[np.float64], at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Linear interpolation lattice ← bands; a band also stands for half a step beyond its end."""
    if at.size == 1:
        return np.asarray(np.abs(lattice - at[0]) <= 10.0, dtype=np.float64)[:, None]
    gap = np.diff(at)
    reach = np.clip([gap[0] / 2.0, gap[-1] / 2.0], 2.0, 20.0)
    right = np.clip(np.searchsorted(at, lattice), 1, at.size - 1)
    share = np.clip((lattice - at[right - 1]) / gap[right - 1], 0.0, 1.0)
    rows = np.arange(lattice.size)
    matrix = np.zeros((lattice.size, at.size))
    matrix[rows, right - 1] = 1.0 - share
    matrix[rows, right] += share
    near = np.minimum(np.abs(lattice - at[right - 1]), np.abs(lattice - at[right]))
    inside = (lattice >= at[0] - reach[0]) & (lattice <= at[-1] + reach[1])
    inside &= (gap[right - 1] <= _MAX_GAP_NM) | (near <= 10.0) | (at.size <= 16)
    matrix[~inside] = 0.0
    return matrix


def standardise(spectra: npt.NDArray[np.float32], sampling: Resampling) -> npt.NDArray[np.float32]:
    """Resample (n, B) spectra and standardise each over its own covered points: (n, G).

    A spectrum's own mean and deviation are per-record statistics: nothing is read from others.
    The constant 0.02 keeps the noise of nearly black spectra from being blown up.
    """
    grid = row_matmul(spectra, sampling.weights).astype(np.float32)
    share = sampling.covered / np.float32(sampling.covered.sum())
    mean = np.sum(grid * share, axis=1, keepdims=True)
    deviation = np.sqrt(np.sum(np.square(grid - mean) * share, axis=1, keepdims=True))
    return np.asarray((grid - mean) / (deviation + np.float32(0.02)) * sampling.covered)
