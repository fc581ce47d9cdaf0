"""Building blocks of a reflectance spectrum: edges, absorption dips and smooth curves.

Every function works on `n` spectra at once. Wavelengths are nanometres, shape (B,); parameters
are scalars or (n, 1) arrays; results are (n, B).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def between(rng: np.random.Generator, n: int, low: float, high: float) -> Floats:
    """One uniform draw a spectrum, as a column (n, 1) that broadcasts over the bands."""
    return rng.uniform(low, high, size=(n, 1))


def edge(wavelengths_nm: Floats, at: Floats | float, width: Floats | float) -> Floats:
    """A smooth step from 0 to 1 centred at `at` nm; 10–90 % rise in about 4.4 `width` nm."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip((wavelengths_nm - at) / width, -60.0, 60.0))))


def bump(wavelengths_nm: Floats, at: Floats | float, width: Floats | float) -> Floats:
    """A Gaussian of height 1 at `at` nm and standard deviation `width` nm."""
    return np.asarray(np.exp(-0.5 * np.square((wavelengths_nm - at) / width)))


def dip(
    wavelengths_nm: Floats, at: Floats | float, width: Floats | float, depth: Floats | float
) -> Floats:
    """The transmission of one absorption feature: 1 outside it, 1 − depth at its centre."""
    return np.asarray(1.0 - depth * bump(wavelengths_nm, at, width))


def liquid_water(wavelengths_nm: Floats, amount: Floats | float) -> Floats:
    """Transmission through liquid water held in leaves or soil; `amount` 0 (dry) to 1 (wet).

    Band centres 970, 1200, 1450 and 1940 nm are those of liquid water in leaf spectra
    (Curran, Remote Sensing of Environment 30, 1989, table 1).
    """
    return (
        dip(wavelengths_nm, 970.0, 28.0, 0.12 * np.asarray(amount))
        * dip(wavelengths_nm, 1200.0, 45.0, 0.25 * np.asarray(amount))
        * dip(wavelengths_nm, 1450.0, 60.0, 0.75 * np.asarray(amount))
        * dip(wavelengths_nm, 1940.0, 75.0, 0.88 * np.asarray(amount))
        * (1.0 - 0.35 * np.asarray(amount) * edge(wavelengths_nm, 1700.0, 220.0))
    )


def smooth_curve(
    rng: np.random.Generator, n: int, wavelengths_nm: Floats, terms: int = 5
) -> Floats:
    """Random smooth curves of mean about 0 and standard deviation about 1.

    A sum of `terms` cosines over 350–2500 nm with amplitudes falling as 1/k; the axis is
    logarithmic because reflectance varies faster in the visible than in the infrared.
    """
    position = np.log(wavelengths_nm / 350.0) / np.log(2500.0 / 350.0)  # (B,) in 0..1
    curve = np.zeros((n, wavelengths_nm.size))
    for k in range(1, terms + 1):
        phase = between(rng, n, 0.0, 2.0 * np.pi)
        curve += rng.normal(size=(n, 1)) / k * np.cos(2.0 * np.pi * 0.8 * k * position + phase)
    return np.asarray(curve * 1.15)


def smooth_variation(
    rng: np.random.Generator, spectra: Floats, wavelengths_nm: Floats, amount: float
) -> Floats:
    """Multiply every spectrum by 1 + a smooth random curve of standard deviation `amount`."""
    curve = smooth_curve(rng, spectra.shape[0], wavelengths_nm)
    return np.asarray(spectra * np.clip(1.0 + amount * curve, 0.3, 2.0))


def add_sensor_noise(rng: np.random.Generator, spectra: Floats, level: Floats | float) -> Floats:
    """Add white noise of standard deviation `level` (reflectance units, scalar or (n, 1))."""
    return np.asarray(spectra + level * rng.normal(size=spectra.shape))
