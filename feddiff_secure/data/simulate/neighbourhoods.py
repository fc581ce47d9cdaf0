"""Random classes of spectra: each a narrow neighbourhood within one wide simulated material.

An embedding learns from them what varies within a class (position in the neighbourhood, mixing,
shade, gain, sensor noise) and what tells classes apart. Classes are drawn anew for every batch,
most of them unlike anything on the ground: diversity, not closeness to any place.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from feddiff_secure.data.simulate.curves import (
    Floats,
    add_sensor_noise,
    between,
    smooth_variation,
)
from feddiff_secure.data.simulate.materials import MATERIALS
from feddiff_secure.data.simulate.spectra import illuminate

# Draws a material in proportion to how many classes of it a scene may hold.
_SHARE = {"vegetation": 9.0, "soil": 2.0, "painted": 3.0, "mineral": 2.0, "turf": 1.5}
_CORNERS = 6  # spectra of the material that a class varies towards
_NEAR_COPIES = 0.4  # share of classes moved next to another one of the same material
_NOISE_EXPONENT = (-3.3, -1.7)  # of ten: sensor noise in reflectance


def class_batch(
    rng: np.random.Generator, classes: int, each: int, wavelengths_nm: Floats
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Draw spectra of random classes as one sensor sees them.

    Args:
        rng: simulation randomness.
        classes: number of classes, ≥ 1.
        each: spectra a class, ≥ 1.
        wavelengths_nm: (B,), 350–2500.

    Returns:
        (classes · each, B) reflectance with noise, and the class of each row.
    """
    pure = _neighbourhoods(rng, classes, each, wavelengths_nm).reshape(classes * each, -1)
    count = len(pure)
    foreign = 0.25 * rng.beta(0.5, 1.5, (count, 1)) * (rng.random((count, 1)) < 0.6)
    mixed = (1.0 - foreign) * pure + foreign * pure[rng.permutation(count)]
    varied = smooth_variation(rng, mixed, wavelengths_nm, 0.05 * rng.uniform(0.3, 1.5))
    noise = 10.0 ** rng.uniform(*_NOISE_EXPONENT)
    shade = between(rng, count, 0.0, 1.0) ** 3
    gain = np.exp(rng.normal(0.0, 0.25, (count, 1)))
    seen = add_sensor_noise(rng, illuminate(varied, wavelengths_nm, shade, gain), noise)
    return seen, np.repeat(np.arange(classes), each)


def _neighbourhoods(
    rng: np.random.Generator, classes: int, each: int, wavelengths_nm: Floats
) -> Floats:
    """(classes, each, B): spectra between a class's centre and corners of its material."""
    weights = np.array([_SHARE.get(name, 1.0) for name in MATERIALS])
    chosen = rng.choice(len(MATERIALS), classes, p=weights / weights.sum())
    out = np.empty((classes, each, wavelengths_nm.size))
    for number, material in enumerate(MATERIALS.values()):
        mine = np.flatnonzero(chosen == number)
        if not mine.size:
            continue
        drawn = material(rng, len(mine) * (_CORNERS + 1), wavelengths_nm)
        drawn = drawn.reshape(len(mine), _CORNERS + 1, -1)
        _move_near_others(rng, drawn)
        reach = rng.uniform(0.05, 0.45, (len(mine), 1, 1))
        reach = reach * rng.beta(1.0, 1.5, (len(mine), each, 1))
        corners = rng.dirichlet(np.full(_CORNERS, 0.4), (len(mine), each))  # (classes, each, 6)
        out[mine] = (1.0 - reach) * drawn[:, :1] + reach * (corners @ drawn[:, 1:])
    return out


def _move_near_others(rng: np.random.Generator, drawn: Floats) -> None:
    """Make some classes' centres near-copies of an earlier one's: neighbours hard to tell apart."""
    for index in range(1, len(drawn)):
        if rng.random() < _NEAR_COPIES:
            share = rng.uniform(0.15, 0.5)
            other = drawn[rng.integers(index), 0]
            drawn[index, 0] = (1.0 - share) * other + share * drawn[index, 0]
