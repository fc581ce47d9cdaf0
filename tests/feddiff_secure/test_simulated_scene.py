"""The simulated spectra, heights and scene: plausible, deterministic, and worth fusing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from feddiff_secure.data.scene import Scene
from feddiff_secure.data.simulate.heights import random_height_tiles
from feddiff_secure.data.simulate.materials import MATERIALS
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.data.simulate.spectra import CLASS_MATERIALS, class_spectra, random_spectra
from feddiff_secure.errors import UsageError
from feddiff_secure.model.descriptors import hsi_descriptor, lidar_descriptor
from feddiff_secure.model.projection import FourierProjection

WAVELENGTHS = np.linspace(350.0, 2500.0, 216)
Floats = np.ndarray[Any, np.dtype[np.float64]]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return simulated_scene(0)


@pytest.mark.parametrize("name", MATERIALS)
def test_a_material_reflects_between_nothing_and_somewhat_over_everything(name: str) -> None:
    spectra = MATERIALS[name](np.random.default_rng(0), 200, WAVELENGTHS)
    assert spectra.shape == (200, WAVELENGTHS.size)
    assert spectra.min() >= 0.0
    assert spectra.max() < 2.0
    assert np.all(spectra.std(axis=0) > 0.0)


def at(spectra: Floats, nm: float) -> float:
    return float(spectra[:, np.argmin(np.abs(WAVELENGTHS - nm))].mean())


def test_vegetation_has_a_red_edge_a_green_peak_and_water_bands() -> None:
    grass = class_spectra("grass", np.random.default_rng(0), 100, WAVELENGTHS)
    assert at(grass, 800) > 5 * at(grass, 670)
    assert at(grass, 550) > 1.2 * at(grass, 670)
    assert at(grass, 1450) < 0.7 * at(grass, 1250)


def test_water_is_dark_in_the_infrared_and_soil_rises() -> None:
    water = class_spectra("water", np.random.default_rng(0), 100, WAVELENGTHS)
    soil = class_spectra("bare soil", np.random.default_rng(0), 100, WAVELENGTHS)
    assert at(water, 900) < 0.06
    assert at(soil, 800) > 2 * at(soil, 450)


def test_random_spectra_are_diverse_and_deterministic_by_seed() -> None:
    first = random_spectra(np.random.default_rng(3), 500, WAVELENGTHS)
    again = random_spectra(np.random.default_rng(3), 500, WAVELENGTHS)
    assert np.array_equal(first, again)
    assert np.all(first > 0.0)
    shape = (first - first.mean(1, keepdims=True)) / first.std(1, keepdims=True)
    variance = np.linalg.svd(shape - shape.mean(0), compute_uv=False) ** 2
    assert variance[:3].sum() < 0.95 * variance.sum()  # no three curves explain them all


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(UsageError, match="lava"):
        class_spectra("lava", np.random.default_rng(0), 1, WAVELENGTHS)


@pytest.mark.parametrize("side", [1, 4, 16])
def test_random_height_tiles_hold_ground_and_tall_things(side: int) -> None:
    tiles = random_height_tiles(np.random.default_rng(0), 400, side)
    assert tiles.shape == (400, 2, side, side)
    assert tiles.dtype == np.float32
    assert np.mean(tiles[:, 0] < 1.5 / 30) > 0.2
    assert np.mean(tiles[:, 0] > 2.0 / 30) > 0.2
    assert tiles[:, 0].max() < 2.5


def test_a_scene_is_the_same_for_a_seed_and_another_for_another(scene: Scene) -> None:
    again, other = simulated_scene(0), simulated_scene(1)
    for modality in ("hsi", "lidar"):
        values = scene.modalities[modality].values
        assert np.array_equal(values, again.modalities[modality].values)
        assert not np.array_equal(values, other.modalities[modality].values)
    assert np.array_equal(scene.label, again.label)
    assert scene.region is not None
    assert again.region is not None
    assert np.array_equal(scene.region, again.region)


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_labelled_in_at_least_six_places(seed: int) -> None:
    scene = simulated_scene(seed, bands=8)
    assert scene.region is not None
    assert len(scene.classes) == 12
    assert 0.35 < np.mean(scene.label > 0) < 0.55
    for label in range(1, 13):
        assert len(np.unique(scene.region[scene.label == label])) >= 6


def test_a_region_is_one_class_and_covers_exactly_the_labelled_pixels(scene: Scene) -> None:
    assert scene.region is not None
    assert np.array_equal(scene.region > 0, scene.label > 0)
    for region in range(1, int(scene.region.max()) + 1):
        assert len(np.unique(scene.label[scene.region == region])) == 1


def test_the_scene_has_wavelengths_and_named_lidar_channels(scene: Scene) -> None:
    assert scene.modalities["hsi"].values.shape == (72, 128, 128)
    assert scene.modalities["hsi"].wavelengths_nm is not None
    assert scene.modalities["lidar"].channels == ("height", "intensity")
    assert scene.classes == tuple(CLASS_MATERIALS)


def accuracy(features: Floats, label: Floats, test: Floats) -> float:
    head = RidgeClassifier(alpha=1e-2, class_weight="balanced")
    head.fit(features[~test], label[~test])
    return float(np.mean(head.predict(features[test]) == label[test]))


def test_fusion_pays_at_least_five_points_over_each_sensor_alone(scene: Scene) -> None:
    labelled = scene.label.reshape(-1) > 0
    assert scene.region is not None
    region = scene.region.reshape(-1)[labelled]
    rows = {
        name: modality.values.reshape(len(modality.values), -1).T[labelled]
        for name, modality in scene.modalities.items()
    }
    spectral, heights = hsi_descriptor(rows["hsi"]), lidar_descriptor(rows["lidar"])
    hsi = FourierProjection((0, 1), spectral.shape[1], 256, 2.0)(spectral)
    lidar = FourierProjection((0, 2), heights.shape[1], 256, 3.0)(heights)
    label, test = scene.label.reshape(-1)[labelled], np.isin(region % 5, (0, 1))
    both = accuracy(np.concatenate([hsi, lidar], axis=1), label, test)
    assert both > accuracy(hsi, label, test) + 0.05
    assert both > accuracy(lidar, label, test) + 0.05
    assert 0.85 < both < 0.99


@pytest.mark.parametrize(("seed", "side", "bands"), [(-1, 64, 8), (0, 31, 8), (0, 64, 3)])
def test_a_scene_out_of_range_is_refused(seed: int, side: int, bands: int) -> None:
    with pytest.raises(UsageError, match="simulated scene"):
        simulated_scene(seed, side, bands)
