"""Descriptors, projections, diffusion features and ψ: public, deterministic, closed in the tile."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct

from feddiff_secure.data.layout import ModalityLayout, SensorLayout
from feddiff_secure.errors import DataError
from feddiff_secure.model.descriptors import hsi_descriptor, pixels, tile_means
from feddiff_secure.model.embedding import shipped_embedding
from feddiff_secure.model.features import FeatureSettings, hsi_features, lidar_features
from feddiff_secure.model.inputs import height_and_intensity
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.projection import FourierProjection, public_normal
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.rowwise import row_matmul
from feddiff_secure.model.wavelengths import (
    GRID_NM,
    NEAR_POINTS,
    band_wavelengths,
    resampling,
    standardise,
)
from tests.support.random_tiles import block

Arrays = np.ndarray[Any, np.dtype[np.float32]]
QUICK = FeatureSettings(timesteps=(20, 100), draws=1)


def layout(bands: int = 30, lidar: tuple[str, ...] = ("height", "intensity")) -> SensorLayout:
    at = tuple(float(w) for w in np.linspace(420.0, 980.0, bands))
    names = tuple(f"band {i}" for i in range(bands))
    return SensorLayout((ModalityLayout("hsi", names, at), ModalityLayout("lidar", lidar)))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 600), columns=st.integers(1, 40))
def test_a_row_of_a_product_depends_on_that_row_alone(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(rows, columns)).astype(np.float32)
    right = rng.normal(size=(7, columns))
    whole = row_matmul(left, right)
    order = rng.permutation(rows)
    assert np.array_equal(row_matmul(left[order], right), whole[order])
    assert np.array_equal(row_matmul(left[-1:], right), whole[-1:])
    assert np.allclose(whole, left.astype(np.float64) @ right.T)


def test_the_hsi_descriptor_is_the_dct_of_the_standardised_spectrum() -> None:
    spectra = np.random.default_rng(0).random((5, 144), dtype=np.float32)
    found = hsi_descriptor(spectra)
    mean = spectra.mean(axis=1, keepdims=True)
    standard = (spectra - mean) / (spectra.std(axis=1, keepdims=True) + 1e-3)
    expected = dct(standard, type=2, norm="ortho", axis=1)[:, :24] / 6.0
    assert np.allclose(found[:, :24], expected, atol=1e-4)
    assert np.allclose(found[:, 24:], 2.0 * mean, atol=1e-5)


def test_a_constant_or_short_spectrum_has_a_finite_descriptor() -> None:
    assert np.all(np.isfinite(hsi_descriptor(np.full((1, 3), 0.2, dtype=np.float32))))
    assert hsi_descriptor(np.ones((2, 1), dtype=np.float32)).shape == (2, 2)


def test_pixels_and_tile_means_follow_the_tile_order() -> None:
    values = np.arange(2 * 3 * 2 * 2, dtype=np.float32).reshape(2, 3, 2, 2)
    assert np.array_equal(pixels(values)[5], values[1, :, 0, 1])
    assert np.allclose(tile_means(values), values.mean(axis=(2, 3)))


def test_fourier_features_have_norm_one_and_approximate_the_gaussian_kernel() -> None:
    rng = np.random.default_rng(0)
    rows = (0.3 * rng.normal(size=(40, 6))).astype(np.float32)
    projected = FourierProjection(seed=(1,), inputs=6, features=8192, scale=2.0)(rows)
    squared = np.sum(np.square(rows[:, None] - rows[None, :]), axis=2)
    assert np.allclose(np.linalg.norm(projected, axis=1), 1.0, atol=1e-5)
    assert np.allclose(projected @ projected.T, np.exp(-2.0 * squared), atol=0.06)


def test_public_draws_depend_on_the_seed_alone() -> None:
    assert np.array_equal(public_normal((3, 1), (4,)), public_normal((3, 1), (4,)))
    assert not np.array_equal(public_normal((3, 1), (4,)), public_normal((3, 2), (4,)))
    state = np.random.get_state()[1].copy()
    public_normal((0,), (4,))
    assert np.array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize(("bands", "last", "points"), [(72, 1000, 96), (369, 2500, 128)])
def test_resampling_reproduces_a_straight_spectrum(bands: int, last: float, points: int) -> None:
    at = np.linspace(400.0, last, bands)
    sampling = resampling(bands, tuple(at))
    assert sampling.weights.shape == (points, bands)
    seen = sampling.covered > 0
    inner = seen & (GRID_NM[:points] > 420.0) & (GRID_NM[:points] < last - 60.0)
    straight = sampling.weights @ (at / 1000.0)
    assert np.allclose(straight[inner], GRID_NM[:points][inner] / 1000.0, atol=1e-3)
    assert np.allclose(sampling.weights[seen].sum(axis=1), 1.0, atol=1e-5)
    assert np.all(sampling.weights[~seen] == 0.0)


@settings(max_examples=25, deadline=None)
@given(bands=st.integers(1, 400))
def test_any_band_count_without_wavelengths_covers_the_index_grid(bands: int) -> None:
    sampling = resampling(bands, None)
    assert sampling.covered.size == NEAR_POINTS
    assert sampling.covered.sum() >= 1
    assert np.all(np.isfinite(sampling.weights))


@pytest.mark.parametrize("at", [(400.0, 390.0), (400.0, float("nan")), (0.0, 5.0), (1.0, 2.0, 3.0)])
def test_bad_wavelengths_are_refused(at: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="strictly increasing"):
        band_wavelengths(2, at)


def test_wavelengths_outside_the_grid_are_refused() -> None:
    with pytest.raises(DataError, match="no band between"):
        resampling(2, (9000.0, 11_000.0))


def test_standardised_spectra_are_zero_where_the_sensor_sees_nothing() -> None:
    sampling = resampling(10, tuple(np.linspace(500.0, 700.0, 10)))
    out = standardise(np.random.default_rng(0).random((3, 10), dtype=np.float32), sampling)
    assert np.all(out[:, sampling.covered == 0] == 0.0)
    assert np.allclose(out[:, sampling.covered > 0].mean(axis=1), 0.0, atol=1e-5)


def test_hsi_features_do_not_depend_on_the_batch_bit_for_bit() -> None:
    prior, sampling = load_prior("hsi"), resampling(72, None)
    spectra = np.random.default_rng(1).random((300, 72), dtype=np.float32)
    whole = hsi_features(prior, spectra, sampling, QUICK)
    order = np.random.default_rng(2).permutation(300)
    assert np.array_equal(hsi_features(prior, spectra[order], sampling, QUICK), whole[order])
    assert np.array_equal(hsi_features(prior, spectra[7:8], sampling, QUICK), whole[7:8])
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)


def test_lidar_features_do_not_depend_on_the_batch_bit_for_bit() -> None:
    prior = load_prior("lidar")
    tiles = np.random.default_rng(1).random((300, 2, 4, 3), dtype=np.float32)
    whole = lidar_features(prior, tiles, QUICK).reshape(300, 12, -1)
    order = np.random.default_rng(2).permutation(300)
    again = lidar_features(prior, tiles[order], QUICK).reshape(300, 12, -1)
    assert np.array_equal(again, whole[order])
    assert np.array_equal(lidar_features(prior, tiles[7:8], QUICK), whole[7])


def test_other_noise_gives_other_features() -> None:
    prior, sampling = load_prior("hsi"), resampling(72, None)
    spectra = np.random.default_rng(1).random((2, 72), dtype=np.float32)
    other = FeatureSettings(timesteps=(20, 100), draws=1, seed=1)
    first = hsi_features(prior, spectra, sampling, QUICK)
    assert not np.allclose(first, hsi_features(prior, spectra, sampling, other))


@pytest.mark.parametrize("side", [1, 2, 5])
def test_changing_one_tile_changes_no_other_tiles_psi(side: int) -> None:
    features = FeatureMap.public(layout(), tile=max(side, 2))
    first = block(9, side)
    assert first.hsi is not None
    assert first.lidar is not None
    changed = copy.deepcopy(first)
    assert changed.hsi is not None
    assert changed.lidar is not None
    changed.hsi[4] *= 0.5
    changed.lidar[4] += 0.2
    before, after = features.psi(first), features.psi(changed)
    for modality in ("hsi", "lidar"):
        rows = before[modality].reshape(9, side * side, -1)
        new = after[modality].reshape(9, side * side, -1)
        same = [bool(np.array_equal(rows[i], new[i])) for i in range(9)]
        assert same == [i != 4 for i in range(9)]


def test_a_tile_with_nan_spoils_no_other_tile() -> None:
    features = FeatureMap.public(layout(), tile=2)
    first, spoilt = block(5, 2), block(5, 2)
    assert spoilt.hsi is not None
    assert spoilt.lidar is not None
    spoilt.hsi[2, 0, 0, 0] = np.nan
    spoilt.lidar[2, 0, 0, 0] = np.nan
    before, after = features.psi(first), features.psi(spoilt)
    others = np.arange(20) // 4 != 2
    for modality in ("hsi", "lidar"):
        assert np.array_equal(before[modality][others], after[modality][others])


def test_psi_is_deterministic_has_norm_one_and_the_stated_widths() -> None:
    features = FeatureMap.public(layout(), tile=3)
    found = features.psi(block(4, 3))
    again = FeatureMap.public(layout(), tile=3).psi(block(4, 3))
    assert {m: values.shape[1] for m, values in found.items()} == features.widths
    assert list(features.widths) == ["hsi", "lidar"]
    whole = np.concatenate(list(found.values()), axis=1)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-4)
    assert all(np.array_equal(found[m], again[m]) for m in found)
    assert all(values.dtype == np.float32 for values in found.values())


def test_the_tile_part_is_the_embedding_of_the_mean_spectrum() -> None:
    features, tiles = FeatureMap.public(layout(), tile=2), block(3, 2)
    assert tiles.hsi is not None
    means = tile_means(tiles.hsi)
    at = resampling(30, features.layout.modalities[0].wavelengths_nm)
    found = features.describe(tiles)["hsi"]
    assert np.array_equal(found["tile"], np.repeat(shipped_embedding()(means, at), 4, axis=0))
    assert np.array_equal(found["embedding"], shipped_embedding()(pixels(tiles.hsi), at))


def test_every_frozen_network_states_where_it_comes_from() -> None:
    features = FeatureMap.public(layout(), tile=1)
    lines = features.provenance
    assert [line.split()[:2] for line in lines] == [
        ["hsi", "branch"],
        ["lidar", "branch"],
        ["hsi", "embedding"],
    ]
    assert all("simulated" in line for line in lines)
    assert shipped_embedding().digest[:16] in lines[2]
    assert FeatureMap.public(layout(), tile=1, learned=False).provenance == []


def test_an_absent_modality_has_no_psi() -> None:
    features = FeatureMap.public(layout(), tile=1, learned=False)
    whole = block(3, 1)
    alone = dataclasses.replace(whole, hsi=None)
    found = features.psi(alone)
    assert list(found) == ["lidar"]
    assert np.array_equal(found["lidar"], features.psi(whole)["lidar"])


def test_an_unknown_lidar_layout_uses_descriptors_alone() -> None:
    names = tuple(f"channel {i}" for i in range(21))
    features = FeatureMap.public(layout(lidar=names), tile=4)
    sources = {(part.modality, part.source) for part in features.parts}
    assert ("lidar", "diffusion") not in sources
    assert sources == {
        ("lidar", "descriptor"),
        ("hsi", "embedding"),
        ("hsi", "diffusion"),
        ("hsi", "tile"),
    }
    assert height_and_intensity(names) is None
    assert height_and_intensity(("canopy_height_m", "height_std_m", "intensity")) == (0, 2)


def test_data_of_another_sensor_is_refused() -> None:
    features = FeatureMap.public(layout(), tile=1, learned=False)
    with pytest.raises(DataError, match="31 channels"):
        features.psi(block(2, 1, bands=31))


def test_a_feature_map_reads_back_through_json() -> None:
    features = FeatureMap.public(layout(), tile=4, seed=5)
    again = FeatureMap.from_dict(json.loads(json.dumps(features.to_dict())))
    assert again.to_dict() == features.to_dict()
    one, two = features.psi(block(2, 4)), again.psi(block(2, 4))
    assert all(np.array_equal(one[m], two[m]) for m in one)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("tile", 0),
        ("tile", True),
        ("seed", -1),
        ("seed", 6),
        ("parts", []),
        ("priors", {"hsi": "0" * 64, "lidar": "0" * 64}),
        ("embedding", "0" * 64),
        ("embedding", None),
        ("more", 1),
    ],
)
def test_a_changed_feature_map_is_refused(key: str, value: object) -> None:
    fields = FeatureMap.public(layout(), tile=4, seed=5).to_dict()
    fields[key] = value
    with pytest.raises(DataError, match="feature map"):
        FeatureMap.from_dict(fields)


def test_a_feature_map_whose_projection_differs_is_refused() -> None:
    fields = FeatureMap.public(layout(), tile=4, seed=5).to_dict()
    fields["parts"][0]["sha256"] = "0" * 64
    with pytest.raises(DataError, match="parts is not what this installation has"):
        FeatureMap.from_dict(fields)


def test_the_level_of_a_spectrum_counts_beside_its_shape() -> None:
    features = FeatureMap.public(layout(), tile=1)
    bright = block(3, 1)
    assert bright.hsi is not None
    dark = dataclasses.replace(bright, hsi=0.25 * bright.hsi)
    one, two = features.psi(bright)["hsi"], features.psi(dark)["hsi"]
    assert np.all(np.linalg.norm(one - two, axis=1) > 0.1 * np.linalg.norm(one, axis=1))


@settings(max_examples=6, deadline=None)
@given(height=st.integers(1, 7), width=st.integers(1, 7), count=st.integers(1, 3))
def test_any_tile_shape_has_one_row_a_pixel(height: int, width: int, count: int) -> None:
    tiles = np.random.default_rng(0).random((count, 2, height, width), dtype=np.float32)
    found = lidar_features(load_prior("lidar"), tiles, QUICK)
    assert found.shape == (count * height * width, 64)
    assert np.all(np.isfinite(found))
