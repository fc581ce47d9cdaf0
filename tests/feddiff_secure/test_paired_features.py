"""Features of connected branches: without connections those of the branches alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from feddiff_secure.model.features import hsi_features, lidar_features
from feddiff_secure.model.paired import PairedBranches
from feddiff_secure.model.paired_features import paired_features
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.wavelengths import resampling

BANDS = 12
SAMPLING = resampling(BANDS, tuple(np.linspace(400.0, 1000.0, BANDS)))


def tiles(count: int, side: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shape = (side, side)
    return (
        rng.random((count, BANDS, *shape), dtype=np.float32),
        rng.random((count, 2, *shape), dtype=np.float32),
    )


@pytest.fixture
def pair() -> PairedBranches:
    return PairedBranches(load_prior("hsi").branch, load_prior("lidar").branch).eval()


def connect(pair: PairedBranches) -> None:
    with torch.no_grad():
        for k, projection in enumerate([*pair.to_hsi, *pair.to_lidar]):
            draw = torch.Generator().manual_seed(k)
            for parameter in projection.parameters():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))


@pytest.mark.parametrize("side", [1, 3])
def test_unconnected_branches_give_the_features_of_each_alone(
    side: int, pair: PairedBranches
) -> None:
    spectra, heights = tiles(5, side)
    found = paired_features(pair, spectra, heights, SAMPLING)
    pixels = spectra.transpose(0, 2, 3, 1).reshape(-1, BANDS)
    alone = hsi_features(load_prior("hsi"), np.ascontiguousarray(pixels), SAMPLING)
    np.testing.assert_allclose(found.hsi, alone, atol=1e-5)
    np.testing.assert_allclose(found.lidar, lidar_features(load_prior("lidar"), heights), atol=1e-5)


def test_connected_branches_see_the_other_sensor_and_no_other_tile(pair: PairedBranches) -> None:
    connect(pair)
    spectra, heights = tiles(6, 3)
    before = paired_features(pair, spectra, heights, SAMPLING)
    changed = heights.copy()
    changed[2] += 0.5
    after = paired_features(pair, spectra, changed, SAMPLING)
    own = np.arange(6 * 9) // 9 == 2
    assert np.abs(after.hsi[own] - before.hsi[own]).max() > 1e-3
    np.testing.assert_array_equal(after.hsi[~own], before.hsi[~own])
    np.testing.assert_array_equal(after.lidar[~own], before.lidar[~own])


def test_features_do_not_depend_on_how_many_tiles_there_are(pair: PairedBranches) -> None:
    connect(pair)
    spectra, heights = tiles(70, 2)  # more than one batch of 64 tiles
    whole = paired_features(pair, spectra, heights, SAMPLING)
    part = paired_features(pair, spectra[64:], heights[64:], SAMPLING)
    np.testing.assert_array_equal(whole.hsi[64 * 4 :], part.hsi)
    np.testing.assert_array_equal(whole.lidar[64 * 4 :], part.lidar)
