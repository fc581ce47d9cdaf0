"""The built-in simulated scene: a small town seen by an imaging spectrometer and a LiDAR.

Deterministic by seed and public by construction. It stands in for real data when none is given,
and hyper-parameters are chosen on it. Pairs of classes share a spectrum and differ in height
(lawn and trees, soil and clay tiles, asphalt and bitumen, concrete and gravel roof) or share
spectrum and height and differ in LiDAR intensity (asphalt and railway ballast); others share
height and intensity and differ in spectrum. So neither sensor is enough alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from feddiff_secure.data.scene import Modality, Scene
from feddiff_secure.data.simulate.curves import Floats
from feddiff_secure.data.simulate.heights import HEIGHT_UNIT_M
from feddiff_secure.data.simulate.layout import CLASS_NAMES, OVERSAMPLING, TownPlan, draw_plan
from feddiff_secure.data.simulate.spectra import class_spectra, illuminate
from feddiff_secure.errors import UsageError

MIN_SIDE = 32  # pixels: less holds too few parcels
MAX_SIDE = 1024
_FIRST_NM, _LAST_NM = 400.0, 1000.0
_ENDMEMBERS = 24  # spectra a class is mixed from
_NOISE = 0.012  # reflectance
_LABELLED = 0.45
_SMALLEST_PATCH = 6  # labelled pixels

# Mean LiDAR intensity of each class; neighbours in this list overlap on purpose.
_INTENSITY = {
    "grass": 0.52,
    "tree canopy": 0.42,
    "dry grass": 0.55,
    "bare soil": 0.46,
    "clay-tile roof": 0.44,
    "asphalt road": 0.16,
    "bitumen roof": 0.18,
    "railway": 0.34,
    "concrete": 0.56,
    "gravel roof": 0.50,
    "metal roof": 0.54,
    "water": 0.08,
}


def simulated_scene(seed: int, side: int = 128, bands: int = 72) -> Scene:
    """Simulate a scene.

    Args:
        seed: any non-negative integer; equal arguments give equal scenes.
        side: pixels a side, 32–1024.
        bands: spectral bands over 400–1000 nm, 4–1000.

    Returns:
        A scene with `hsi` (bands, side, side) reflectance, `lidar` (2, side, side) height above
        ground in units of 30 m and intensity, about 45 % of the pixels labelled in patches, and
        a region id for each patch.

    Raises:
        UsageError: an argument is out of range.
    """
    _check(seed, side, bands)
    rng = np.random.default_rng([seed, 7])
    wavelengths = np.linspace(_FIRST_NM, _LAST_NM, bands)
    plan = draw_plan(rng, side)
    hsi = _hyperspectral(rng, plan, wavelengths)
    lidar = _lidar(rng, plan)
    label, region = _labels(rng, plan)
    return Scene(
        modalities={
            "hsi": Modality(
                name="hsi",
                values=hsi,
                channels=tuple(f"band {index}" for index in range(1, bands + 1)),
                wavelengths_nm=tuple(float(at) for at in wavelengths),
                support="pixel",
            ),
            "lidar": Modality(
                name="lidar", values=lidar, channels=("height", "intensity"), support="pixel"
            ),
        },
        label=label,
        classes=CLASS_NAMES,
        region=region,
        name=f"simulated scene {seed}",
    )


def _check(seed: int, side: int, bands: int) -> None:
    for name, value, low, high in (
        ("seed", seed, 0, 2**63 - 1),
        ("side", side, MIN_SIDE, MAX_SIDE),
        ("bands", bands, 4, 1000),
    ):
        if not low <= value <= high:
            raise UsageError(f"{name} of the simulated scene is {value}", f"use {low} to {high}")


def _smooth_field(rng: np.random.Generator, side: int, scale: float) -> Floats:
    """A Gaussian random field of standard deviation 1, correlated over `scale` pixels."""
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), scale, mode="wrap")
    return np.asarray((field - field.mean()) / field.std())


def _pixels(fine: Floats) -> Floats:
    """Average fine cells to pixels with a point-spread one pixel wide: (F, F) → (F/k, F/k)."""
    blurred = ndimage.gaussian_filter(fine, 0.3 * OVERSAMPLING, mode="nearest")
    side = fine.shape[0] // OVERSAMPLING
    blocks = blurred.reshape(side, OVERSAMPLING, side, OVERSAMPLING)
    return np.asarray(blocks.mean(axis=(1, 3)))


def _hyperspectral(
    rng: np.random.Generator, plan: TownPlan, wavelengths_nm: Floats
) -> npt.NDArray[np.float32]:
    """Mix class spectra by abundance, light them, add sensor noise: (B, side, side)."""
    side = plan.cover.shape[0] // OVERSAMPLING
    place = plan.parcel[::OVERSAMPLING, ::OVERSAMPLING]
    mixed = np.zeros((side, side, wavelengths_nm.size))
    for index, name in enumerate(CLASS_NAMES):
        endmembers = class_spectra(name, rng, _ENDMEMBERS, wavelengths_nm)
        weights = _endmember_weights(rng, place)
        abundance = _pixels((plan.cover == index).astype(np.float64))
        mixed += abundance[..., None] * (weights @ endmembers)
    light = np.exp(0.12 * _smooth_field(rng, side, 12.0) + 0.06 * rng.normal(size=(side, side)))
    shade = np.clip(_cast_shadow(_pixels(plan.height_m)), 0.0, 0.7).reshape(-1, 1)
    lit = illuminate(mixed.reshape(side * side, -1), wavelengths_nm, shade, light.reshape(-1, 1))
    # The detectors are less sensitive at both ends of the range.
    ends = 1.0 + 1.5 * np.square((wavelengths_nm - 700.0) / 300.0)
    noisy = lit + _NOISE * ends * rng.normal(size=lit.shape)
    return np.ascontiguousarray(noisy.reshape(side, side, -1).transpose(2, 0, 1), dtype=np.float32)


def _endmember_weights(rng: np.random.Generator, place: npt.NDArray[np.int64]) -> Floats:
    """(side, side, E) convex weights: each place prefers its own endmembers, fields vary within."""
    side = place.shape[0]
    preference = 1.6 * rng.normal(size=(int(place.max()) + 1, _ENDMEMBERS))
    fields = np.stack([_smooth_field(rng, side, 3.0) for _ in range(_ENDMEMBERS)], axis=-1)
    score = np.exp(preference[place] + 0.7 * fields)
    return np.asarray(score / score.sum(axis=-1, keepdims=True))


def _cast_shadow(height_m: Floats, pixel_m: float = 2.0) -> Floats:
    """Share of the light that taller neighbours to the south-east take, 0–0.7."""
    shadow = np.zeros_like(height_m)
    for distance in range(1, 5):
        blocker = np.roll(height_m, (-distance, -distance), axis=(0, 1))
        excess = blocker - height_m - distance * pixel_m * np.sqrt(2.0)
        shadow = np.maximum(shadow, np.clip(excess / 3.0, 0.0, 0.7))
    return shadow


def _lidar(rng: np.random.Generator, plan: TownPlan) -> npt.NDArray[np.float32]:
    """Height above an imperfectly filtered terrain, and intensity: (2, side, side)."""
    side = plan.cover.shape[0] // OVERSAMPLING
    reflectivity = np.array([_INTENSITY[name] for name in CLASS_NAMES])[plan.cover]
    crown = plan.cover == CLASS_NAMES.index("tree canopy")
    porous = np.where(crown, rng.uniform(0.55, 1.0, size=crown.shape), 1.0)
    ground = 0.25 * _smooth_field(rng, side, 8.0)
    height = _pixels(plan.height_m * porous) + ground + 0.12 * rng.normal(size=(side, side))
    drift = 0.03 * _smooth_field(rng, side, 16.0)
    intensity = _pixels(reflectivity) + drift + 0.045 * rng.normal(size=(side, side))
    stacked = np.stack([height / HEIGHT_UNIT_M, np.clip(intensity, 0.0, 1.0)])
    return np.ascontiguousarray(stacked, dtype=np.float32)


def _labels(
    rng: np.random.Generator, plan: TownPlan
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32]]:
    """Label patches of pixels that are mostly one class, and number the patches from 1."""
    side = plan.cover.shape[0] // OVERSAMPLING
    abundance = np.stack([_pixels((plan.cover == i) * 1.0) for i in range(len(CLASS_NAMES))])
    cover = np.argmax(abundance, axis=0) + 1
    surveyed = _smooth_field(rng, side, 4.0)
    eligible = np.max(abundance, axis=0) > 0.6
    cut = np.quantile(surveyed[eligible], max(0.0, 1.0 - _LABELLED / float(eligible.mean())))
    chosen = eligible & (surveyed >= cut)
    label = np.zeros((side, side), dtype=np.int16)
    region = np.zeros((side, side), dtype=np.int32)
    for index in range(1, len(CLASS_NAMES) + 1):
        patches, count = ndimage.label(chosen & (cover == index))
        sizes = np.bincount(patches.reshape(-1), minlength=count + 1)
        keep = sizes >= _SMALLEST_PATCH
        keep[0] = False
        numbers = np.cumsum(keep) * keep + keep * int(region.max())
        region += numbers[patches].astype(np.int32)
        label[keep[patches]] = index
    return label, region
