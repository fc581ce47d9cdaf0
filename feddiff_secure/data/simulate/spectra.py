"""Random spectra for the public prior, and the narrower spectra of the simulated scene's classes.

`random_spectra` covers as many materials, mixtures and illuminations as it can: for a prior,
diversity matters more than closeness to any one place. `class_spectra` draws the within-class
variability of one named class of the simulated scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from feddiff_secure.data.simulate.curves import (
    Floats,
    between,
    dip,
    smooth_variation,
)
from feddiff_secure.data.simulate.materials import (
    MATERIALS,
    Material,
    clay_tile,
    leaves,
    litter,
    soil,
    water,
)
from feddiff_secure.errors import UsageError

# Draws a material in proportion to how much its spectra vary, not to how common it is.
_PRIOR_SHARE = {"vegetation": 5.0, "soil": 2.0, "painted": 3.0, "mineral": 2.0, "turf": 1.5}


def random_spectra(rng: np.random.Generator, n: int, wavelengths_nm: Floats) -> Floats:
    """Draw `n` varied reflectance spectra: one material each, mixtures, shade, gain, variability.

    Args:
        rng: simulation randomness.
        n: how many.
        wavelengths_nm: (B,), 350–2500.

    Returns:
        (n, B) reflectance, positive, mostly below 1, without sensor noise.
    """
    pure = _pure_spectra(rng, n, wavelengths_nm)
    share = rng.beta(0.7, 0.7, size=(n, 1)) * (rng.random((n, 1)) < 0.45)
    mixed = (1.0 - share) * pure + share * pure[rng.permutation(n)]
    varied = smooth_variation(rng, mixed, wavelengths_nm, 0.06)
    return illuminate(varied, wavelengths_nm, between(rng, n, 0.0, 1.0) ** 3, _gain(rng, n))


def _pure_spectra(rng: np.random.Generator, n: int, wavelengths_nm: Floats) -> Floats:
    weights = np.array([_PRIOR_SHARE.get(name, 1.0) for name in MATERIALS])
    counts = rng.multinomial(n, weights / weights.sum())
    drawn = [
        material(rng, int(count), wavelengths_nm)
        for material, count in zip(MATERIALS.values(), counts, strict=True)
    ]
    return np.asarray(rng.permutation(np.concatenate(drawn, axis=0), axis=0))


def _gain(rng: np.random.Generator, n: int) -> Floats:
    return np.asarray(np.exp(rng.normal(0.0, 0.25, size=(n, 1))))


def illuminate(
    spectra: Floats, wavelengths_nm: Floats, shade: Floats, gain: Floats | float
) -> Floats:
    """Apply shade (direct light removed, bluish skylight left) and a gain.

    Args:
        spectra: (n, B) reflectance in full light.
        wavelengths_nm: (B,).
        shade: (n, 1), 0 (sunlit) to 1 (skylight only).
        gain: overall factor, scalar or (n, 1).
    """
    skylight = 0.30 * (wavelengths_nm / 450.0) ** -1.6  # Rayleigh-like, as a share of full light
    return np.asarray(gain * spectra * ((1.0 - shade) + shade * np.minimum(skylight, 1.0)))


def _green(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    # One canopy model for lawn and trees: only their height tells them apart.
    return leaves(
        w,
        chlorophyll=between(rng, n, 0.75, 1.0),
        red_edge_nm=between(rng, n, 715.0, 724.0),
        steepness_nm=between(rng, n, 12.0, 15.0),
        plateau=between(rng, n, 0.36, 0.50),
        green=between(rng, n, 0.05, 0.09),
        water=between(rng, n, 0.5, 0.9),
    )


def _dry_grass(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    dryness = between(rng, n, 0.3, 0.65)
    return np.asarray((1.0 - dryness) * _green(rng, n, w) + dryness * litter(rng, n, w))


def _red_ground(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    # Iron-rich soil and the clay tiles fired from it share a spectrum on purpose.
    share = between(rng, n, 0.25, 0.75)
    return np.asarray((1.0 - share) * soil(rng, n, w) + share * clay_tile(rng, n, w))


def _dark_ground(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    straight = 0.9 + between(rng, n, 0.1, 0.3) * (w - 400.0) / 1000.0
    return np.asarray(between(rng, n, 0.09, 0.15) * straight)


def _pale_ground(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    rise = 1.0 - between(rng, n, 0.4, 0.55) * np.exp(-(w - 350.0) / between(rng, n, 140.0, 200.0))
    return np.asarray(between(rng, n, 0.24, 0.36) * rise * dip(w, 900.0, 80.0, 0.05))


def _metal_sheet(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    tilt = 1.0 + between(rng, n, -0.15, 0.1) * (w - 700.0) / 1000.0
    return np.asarray(between(rng, n, 0.22, 0.40) * tilt * dip(w, 840.0, 60.0, 0.10))


def _pond(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    return np.asarray(0.5 * water(rng, n, w) + 0.02)


CLASS_MATERIALS: Mapping[str, Material] = MappingProxyType(
    {
        "grass": _green,
        "tree canopy": _green,
        "dry grass": _dry_grass,
        "bare soil": _red_ground,
        "clay-tile roof": _red_ground,
        "asphalt road": _dark_ground,
        "bitumen roof": _dark_ground,
        "railway": _dark_ground,
        "concrete": _pale_ground,
        "gravel roof": _pale_ground,
        "metal roof": _metal_sheet,
        "water": _pond,
    }
)
"""The classes of the simulated scene and what they are made of; equal entries differ in height
or LiDAR intensity only."""


def class_spectra(
    class_name: str, rng: np.random.Generator, n: int, wavelengths_nm: Floats
) -> Floats:
    """Draw `n` spectra (n, B) of one class of the simulated scene, in full light, without noise.

    Raises:
        UsageError: the class is not one of `CLASS_MATERIALS`.
    """
    material = CLASS_MATERIALS.get(class_name)
    if material is None:
        raise UsageError(
            f"unknown class of the simulated scene: {class_name!r}",
            f"choose one of {', '.join(CLASS_MATERIALS)}",
        )
    return smooth_variation(rng, material(rng, n, wavelengths_nm), wavelengths_nm, 0.04)
