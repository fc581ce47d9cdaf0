"""The log shape: a fine description of a spectrum, whitened by what varies within a class.

The logarithm of reflectance on an even public grid, less its mean (a gain or a shade common to all
bands drops out), its first 48 DCT-II coefficients, and these times a fixed matrix: the inverse
root of the covariance that spectra of one simulated class have about their mean. So a direction
counts by how much farther classes lie apart in it than one class is wide. It keeps every direction,
also those of little contrast: similar classes come apart, for a learner with little noise and many
rounds. The network of `embedding.py` drops them, which is what survives noise.

The matrices, one for sensors with shortwave bands and one for those without, are computed by
scripts/make_log_shape.py from simulated materials and shipped. The file (`public_tensors.py`) holds
float32 `full` and `near`, each (48, 48). A row depends on that row alone, bit for bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.public_tensors import read_public_tensors, write_public_tensors
from feddiff_secure.model.rowwise import row_matmul
from feddiff_secure.model.wavelengths import band_wavelengths, sees_shortwave

Rows = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

FORMAT = "feddiff-secure log shape 1"
COEFFICIENTS = 48
LOG_SHAPE_OUTPUTS = COEFFICIENTS + 1  # and the level
GRIDS_NM = MappingProxyType(
    {"full": np.linspace(400.0, 2500.0, 351), "near": np.linspace(400.0, 1000.0, 121)}
)
MAX_LOG_SHAPE_BYTES = 64 * 1024
_LEAST = 1e-3  # reflectance: darker bands are noise, of which a logarithm makes much
_LEVEL = 0.3  # weight of the mean reflectance, beside coefficients of variance 1 in all
_HINT = "use the shipped file or one written by scripts/make_log_shape.py"


def grid_of(bands: int, wavelengths_nm: tuple[float, ...] | None) -> str:
    """Which grid a sensor is put on: "full" where it sees the shortwave, else "near"."""
    return "full" if sees_shortwave(bands, wavelengths_nm) else "near"


def log_coefficients(spectra: Rows, wavelengths_nm: tuple[float, ...] | None) -> Rows:
    """(n, B) reflectance to (n, 48), before whitening.

    Raises:
        DataError: the wavelengths are not those of B bands.
    """
    return _of_logs(spectra, _coefficients_of_bands(spectra.shape[1], wavelengths_nm))


@dataclass(frozen=True, eq=False)
class LogShape:
    """The whitening of log shapes.

    Attributes:
        matrices: (48, 48) float32 by grid; a row of coefficients is multiplied from the left.
        digest: SHA-256 of the file, hexadecimal.
        provenance: what the file says it was made from (a statement, not verified here).
    """

    matrices: dict[str, Rows]
    digest: str
    provenance: str

    def __call__(self, spectra: Rows, wavelengths_nm: tuple[float, ...] | None) -> Rows:
        """(n, B) reflectance to (n, 49): the whitened coefficients, and the level.

        Raises:
            DataError: the wavelengths are not those of B bands.
        """
        bands = spectra.shape[1]
        whitening = self.matrices[grid_of(bands, wavelengths_nm)].astype(np.float64)
        shape = _of_logs(spectra, whitening.T @ _coefficients_of_bands(bands, wavelengths_nm))
        level = _LEVEL * spectra.astype(np.float64).mean(axis=1, keepdims=True)
        return np.concatenate([shape, level], axis=1).astype(np.float32)


def _of_logs(spectra: Rows, weights: Matrix) -> Rows:
    logs = np.log(np.maximum(spectra.astype(np.float64), _LEAST)).astype(np.float32)
    return row_matmul(logs, weights).astype(np.float32)


@lru_cache(maxsize=8)
def _coefficients_of_bands(bands: int, wavelengths_nm: tuple[float, ...] | None) -> Matrix:
    """(48, B): from the logarithms of a sensor's bands to DCT coefficients on the grid.

    Linear interpolation, also over removed bands; a grid point beyond the sensor's range takes
    the value of the nearest band.
    """
    at = band_wavelengths(bands, wavelengths_nm)
    grid = GRIDS_NM[grid_of(bands, wavelengths_nm)]
    on_grid = np.stack([np.interp(grid, at, one) for one in np.eye(bands)], axis=1)
    k, g = np.arange(COEFFICIENTS)[:, None], np.arange(grid.size)[None, :]
    basis = np.sqrt(2.0) * np.cos(np.pi * k * (2 * g + 1) / (2 * grid.size)) * 2.0 / grid.size
    basis[0] = 0.0  # the mean, which the gain decides
    found = basis @ on_grid
    found.flags.writeable = False
    return np.asarray(found)


def save_log_shape(path: Path, matrices: dict[str, Rows], provenance: str) -> str:
    """Write a log-shape file and return its SHA-256; atomic by rename."""
    return write_public_tensors(path, matrices, FORMAT, provenance, load_log_shape)


@lru_cache(maxsize=1)
def shipped_log_shape() -> LogShape:
    """The package's own matrices.

    Raises:
        DataError: the installation lacks the file, or it is damaged.
    """
    found = resources.files("feddiff_secure.model") / "priors" / "log_shape.safetensors"
    return load_log_shape(Path(str(found)))


def load_log_shape(path: Path) -> LogShape:
    """Load a log-shape file.

    Raises:
        DataError: missing, too large, not safetensors, unknown format version, or any tensor
            that is not a finite float32 one of the expected shape.
    """
    shapes = dict.fromkeys(GRIDS_NM, (COEFFICIENTS, COEFFICIENTS))
    data, tensors, provenance = read_public_tensors(
        path, FORMAT, shapes, MAX_LOG_SHAPE_BYTES, _HINT
    )
    return LogShape(tensors, hashlib.sha256(data).hexdigest(), provenance)
