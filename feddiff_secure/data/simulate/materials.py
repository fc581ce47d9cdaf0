"""Parametrised reflectance of ground materials, 350–2500 nm, in 0..1.

Every material is a function `(rng, n, wavelengths_nm) -> (n, B)` whose parameters are drawn from
wide public ranges; nothing here is fitted to any data set. The positions of absorption features
follow the laboratory literature: chlorophyll and the red edge (Horler et al., Int. J. Remote
Sensing 4, 1983), iron oxides, clay and carbonates (Clark, Manual of Remote Sensing 3, 1999, ch. 1),
cellulose near 2100 nm (Curran 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from feddiff_secure.data.simulate.curves import (
    Floats,
    between,
    bump,
    dip,
    edge,
    liquid_water,
    smooth_curve,
)

Material = Callable[[np.random.Generator, int, Floats], Floats]


def leaves(
    wavelengths_nm: Floats,
    *,
    chlorophyll: Floats | float,
    red_edge_nm: Floats | float,
    steepness_nm: Floats | float,
    plateau: Floats | float,
    green: Floats | float,
    water: Floats | float,
) -> Floats:
    """Green canopy: chlorophyll absorption, green peak, red edge, NIR plateau, water bands.

    Args:
        wavelengths_nm: (B,).
        chlorophyll: 0 (none) to 1 (deep red absorption).
        red_edge_nm: inflection of the red edge, 690–735 nm.
        steepness_nm: its width, 8–22 nm.
        plateau: near-infrared reflectance, 0.2–0.65.
        green: height of the green peak over the visible floor, 0.01–0.15.
        water: canopy water, 0–1.
    """
    w = wavelengths_nm
    floor = 0.02 + 0.10 * (1.0 - np.asarray(chlorophyll))
    visible = floor + green * bump(w, 552.0, 34.0) + 0.35 * green * edge(w, 560.0, 25.0)
    red = dip(w, 672.0, 24.0, 0.75 * np.asarray(chlorophyll))
    infrared = plateau * edge(w, red_edge_nm, steepness_nm) * (1.0 + 0.06 * edge(w, 860.0, 40.0))
    return (visible * red * (1.0 - 0.4 * edge(w, red_edge_nm, steepness_nm)) + infrared) * (
        liquid_water(w, water)
    )


def litter(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Dry matter: a rise from the blue to 1200 nm and cellulose/lignin absorptions."""
    rise = edge(w, between(rng, n, 560.0, 720.0), between(rng, n, 70.0, 180.0))
    level = between(rng, n, 0.25, 0.55)
    cellulose = dip(w, 2100.0, 70.0, between(rng, n, 0.05, 0.25)) * dip(w, 1730.0, 40.0, 0.05)
    return (between(rng, n, 0.03, 0.09) + level * rise) * cellulose * liquid_water(w, 0.15)


def soil(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Bare soil: slope, iron-oxide absorptions, moisture darkening, clay at 2200 nm."""
    rise = 1.0 - np.exp(-np.maximum(w - 330.0, 1.0) / between(rng, n, 250.0, 900.0))
    iron = between(rng, n, 0.0, 1.0)
    absorbed = (
        dip(w, 490.0, 55.0, 0.45 * iron)
        * dip(w, between(rng, n, 650.0, 690.0), 35.0, 0.10 * iron)
        * dip(w, between(rng, n, 860.0, 930.0), 75.0, 0.22 * iron)
        * (1.0 - 0.35 * iron * (1.0 - edge(w, 575.0, 28.0)))
    )
    moisture = between(rng, n, 0.0, 1.0) ** 2
    clay = dip(w, 2205.0, 25.0, between(rng, n, 0.0, 0.25)) * dip(w, 1410.0, 20.0, 0.06)
    level = between(rng, n, 0.12, 0.60) * (1.0 - 0.5 * moisture)
    return np.asarray(level * rise * absorbed * clay * liquid_water(w, 0.7 * moisture))


def vegetation(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Vegetation of any vigour over any soil: from a dense lawn to dry sparse shrubs."""
    stress = between(rng, n, 0.0, 1.0) ** 1.5
    green_leaves = leaves(
        w,
        chlorophyll=np.clip(1.0 - 0.8 * stress + rng.normal(0.0, 0.08, (n, 1)), 0.05, 1.0),
        red_edge_nm=between(rng, n, 708.0, 732.0) - 20.0 * stress,
        steepness_nm=between(rng, n, 9.0, 20.0),
        plateau=between(rng, n, 0.20, 0.62),
        green=between(rng, n, 0.015, 0.13),
        water=between(rng, n, 0.2, 1.0) * (1.0 - 0.6 * stress),
    )
    dry = between(rng, n, 0.0, 1.0) ** 3
    bare = between(rng, n, 0.0, 0.8) ** 2
    plants = (1.0 - dry) * green_leaves + dry * litter(rng, n, w)
    return np.asarray((1.0 - bare) * plants + bare * soil(rng, n, w))


def water(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Open water: dark in the infrared; turbidity, algae, bottom in shallows."""
    clear = between(rng, n, 0.01, 0.10) * np.exp(-(w - 400.0) / between(rng, n, 60.0, 220.0))
    turbidity = between(rng, n, 0.0, 1.0) ** 2
    hump = 0.14 * turbidity * bump(w, 570.0 + 60.0 * turbidity, between(rng, n, 50.0, 110.0))
    algae = between(rng, n, 0.0, 0.05) * bump(w, 705.0, 14.0) * dip(w, 675.0, 14.0, 0.5)
    shallow = between(rng, n, 0.0, 1.0) ** 4
    bottom = 0.3 * shallow * soil(rng, n, w) * np.exp(-np.maximum(w - 560.0, 0.0) / 90.0)
    glint = between(rng, n, 0.0, 0.02)
    return np.asarray(np.minimum(clear, 0.12) + hump + algae + bottom + glint)


def asphalt(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Asphalt and bitumen: dark, nearly straight, brightening with age."""
    age = between(rng, n, 0.0, 1.0)
    level = 0.04 + 0.14 * age
    slope = between(rng, n, 0.05, 0.55) * (w - 350.0) / 1000.0
    oil = dip(w, 1730.0, 25.0, 0.05 * (1.0 - age)) * dip(w, 2310.0, 30.0, 0.10 * (1.0 - age))
    return np.asarray(level * (0.8 + slope - 0.08 * np.square((w - 350.0) / 1000.0)) * oil)


def mineral(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Concrete, gravel, ballast, stone: bright, saturating in the red, carbonate at 2330 nm."""
    rise = 1.0 - between(rng, n, 0.3, 0.9) * np.exp(-(w - 350.0) / between(rng, n, 80.0, 350.0))
    iron = between(rng, n, 0.0, 0.35)
    carbonate = dip(w, 2335.0, 30.0, between(rng, n, 0.0, 0.2))
    tilt = 1.0 + between(rng, n, -0.15, 0.2) * (w - 800.0) / 1000.0
    ferrous = dip(w, 500.0, 60.0, 0.4 * iron) * dip(w, 900.0, 80.0, 0.3 * iron)
    return np.asarray(between(rng, n, 0.10, 0.60) * rise * ferrous * carbonate * tilt)


def clay_tile(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Fired clay: a strong iron edge near 570 nm, absorptions at 660 and 870 nm."""
    step = edge(w, between(rng, n, 555.0, 600.0), between(rng, n, 18.0, 40.0))
    iron = dip(w, 660.0, 30.0, between(rng, n, 0.0, 0.12)) * dip(w, 870.0, 70.0, 0.18)
    rise = 1.0 + between(rng, n, 0.1, 0.7) * edge(w, 1100.0, 250.0)
    return np.asarray((0.05 + between(rng, n, 0.12, 0.40) * step) * iron * rise)


def metal(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Bare metal: smooth, weakly tilted, with the broad aluminium dip near 840 nm for some."""
    tilt = 1.0 + between(rng, n, -0.3, 0.4) * (w - 700.0) / 1000.0
    aluminium = dip(w, 840.0, 60.0, between(rng, n, 0.0, 0.18))
    zinc = dip(w, 1020.0, 90.0, between(rng, n, 0.0, 0.15))
    return np.asarray(between(rng, n, 0.10, 0.75) * np.clip(tilt, 0.3, 1.8) * aluminium * zinc)


def painted(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Anything coloured: a few smooth edges at arbitrary places, absorptions, a smooth tilt."""
    spectrum = between(rng, n, 0.02, 0.25) * np.ones_like(w)
    for _ in range(4):
        present = rng.random((n, 1)) < 0.6
        at = 350.0 * np.exp(rng.random((n, 1)) * np.log(2500.0 / 350.0))
        width = 350.0 ** between(rng, n, 0.35, 0.85)
        spectrum = spectrum + present * rng.normal(0.0, 0.22, (n, 1)) * edge(w, at, width)
    for _ in range(3):
        at = 350.0 * np.exp(rng.random((n, 1)) * np.log(2500.0 / 350.0))
        depth = between(rng, n, -0.25, 0.5) * (rng.random((n, 1)) < 0.5)
        spectrum = spectrum * dip(w, at, between(rng, n, 10.0, 90.0), depth)
    return np.asarray(np.abs(spectrum) + 0.01)


def turf(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Synthetic turf, tracks and courts: pigment edges in the visible, polymer absorptions."""
    green = bump(w, between(rng, n, 505.0, 560.0), between(rng, n, 25.0, 55.0))
    red = edge(w, between(rng, n, 580.0, 640.0), between(rng, n, 10.0, 30.0))
    share = rng.beta(0.4, 0.4, size=(n, 1))
    infrared = between(rng, n, 0.05, 0.55) * edge(
        w, between(rng, n, 690.0, 830.0), between(rng, n, 12.0, 60.0)
    )
    polymer = dip(w, 1215.0, 20.0, 0.1) * dip(w, 1730.0, 30.0, 0.3) * dip(w, 2310.0, 35.0, 0.3)
    visible = share * between(rng, n, 0.03, 0.2) * green
    visible = visible + (1.0 - share) * between(rng, n, 0.05, 0.3) * red
    return np.asarray((between(rng, n, 0.02, 0.08) + visible + infrared) * polymer)


def snow_or_sand(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """Bright ground: snow (falling in the infrared with grain size) or sand (rising)."""
    grain = between(rng, n, 0.2, 1.0)
    ice = dip(w, 1030.0, 50.0, 0.3 * grain) * dip(w, 1270.0, 60.0, 0.5 * grain)
    snow = between(rng, n, 0.6, 0.97) * ice * (1.0 - 0.9 * edge(w, 1380.0, 60.0))
    sand = between(rng, n, 0.25, 0.65) * (
        1.0 - np.exp(-(w - 300.0) / between(rng, n, 120.0, 400.0))
    )
    return np.asarray(np.where(rng.random((n, 1)) < 0.4, snow, sand))


def anything(rng: np.random.Generator, n: int, w: Floats) -> Floats:
    """No material at all: a positive smooth curve. Keeps a prior from trusting the list above."""
    curve = smooth_curve(rng, n, w, terms=8) * between(rng, n, 0.1, 0.8)
    return np.asarray(between(rng, n, 0.03, 0.5) * np.exp(np.clip(curve, -3.0, 1.2)))


MATERIALS: Mapping[str, Material] = MappingProxyType(
    {
        "vegetation": vegetation,
        "litter": litter,
        "soil": soil,
        "water": water,
        "asphalt": asphalt,
        "mineral": mineral,
        "clay_tile": clay_tile,
        "metal": metal,
        "painted": painted,
        "turf": turf,
        "snow_or_sand": snow_or_sand,
        "anything": anything,
    }
)
"""Every material by name, in the fixed order that `random_spectra` draws from."""
