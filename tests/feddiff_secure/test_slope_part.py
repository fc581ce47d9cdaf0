"""The part of ψ that only sensors with shortwave bands have: the slope of their spectra."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.fft import dct

from feddiff_secure.data.layout import ModalityLayout, SensorLayout
from feddiff_secure.model.descriptors import hsi_slope
from feddiff_secure.model.kernels import KERNELS, kinds_of
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.wavelengths import sees_shortwave

SLOPE = ("hsi", "slope")


def layout(last_nm: float, bands: int = 40) -> SensorLayout:
    at = tuple(float(w) for w in np.linspace(400.0, last_nm, bands))
    return SensorLayout((ModalityLayout("hsi", tuple(f"band {i}" for i in range(bands)), at),))


@pytest.mark.parametrize(
    ("last_nm", "expected"), [(1000.0, False), (1055.0, False), (2500.0, True)]
)
def test_a_sensor_has_the_slope_part_where_it_sees_the_shortwave(
    last_nm: float, expected: bool
) -> None:
    at = tuple(float(w) for w in np.linspace(400.0, last_nm, 40))
    assert sees_shortwave(40, at) is expected
    assert (SLOPE in kinds_of(layout(last_nm), 1, learned=True)) is expected


def test_bands_of_unknown_wavelength_have_no_slope_part() -> None:
    unknown = SensorLayout((ModalityLayout("hsi", tuple(f"band {i}" for i in range(400))),))
    assert SLOPE not in kinds_of(unknown, 1, learned=True)


def test_without_networks_the_descriptor_stands_alone() -> None:
    assert kinds_of(layout(2500.0), 1, learned=False) == [("hsi", "descriptor")]


@pytest.mark.parametrize("bands", [2, 10, 24, 369])
def test_the_slope_weights_each_coefficient_by_its_index(bands: int) -> None:
    spectra = np.random.default_rng(0).random((5, bands), dtype=np.float32)
    mean = spectra.mean(axis=1, keepdims=True)
    standard = (spectra - mean) / (spectra.std(axis=1, keepdims=True) + 1e-3)
    count = min(bands, 24)
    coefficients = dct(standard, norm="ortho", axis=1)[:, :count] * 2 / np.sqrt(bands)
    index = np.maximum(1, np.arange(count))
    found = hsi_slope(spectra)
    assert found.dtype == np.float32
    assert np.allclose(found, np.hstack([coefficients * index, 4 * mean]), atol=1e-4)


def test_the_other_parts_draw_the_frequencies_they_have_without_it() -> None:
    near, far = (FeatureMap.public(layout(last), tile=2, seed=3) for last in (1000.0, 2500.0))
    drawn = {part.source: part.projection.digest for part in far.parts}
    assert drawn.pop("slope")
    assert drawn == {part.source: part.projection.digest for part in near.parts}
    assert list(KERNELS).index(SLOPE) == 6  # a part's seed is its place


def test_a_map_with_a_slope_part_reads_back_and_has_norm_one() -> None:
    features = FeatureMap.public(layout(2500.0), tile=1, seed=5)
    again = FeatureMap.from_dict(json.loads(json.dumps(features.to_dict())))
    assert again.to_dict() == features.to_dict()
    sizes = sum(block.share for block in features.columns)
    assert sizes == pytest.approx(1.0)
    rows = np.random.default_rng(1).random((3, 40), dtype=np.float32)
    slope = next(part for part in features.parts if part.source == "slope")
    assert np.allclose(np.linalg.norm(slope.projection(hsi_slope(rows)), axis=1), 1.0, atol=1e-5)
