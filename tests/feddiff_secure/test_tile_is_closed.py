"""From a file to features: what one tile holds reaches no other tile, through nothing at all.

The whole path is run, so a statistic over the file (a minimum, a mean, a standardisation) or a
neighbourhood that reads across a tile's edge changes other tiles' features and is found.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.read import read_dataset
from feddiff_secure.model.psi import FeatureMap

SIDE, TILE = 10, 4  # tiles of 4 × 4, and remainders of 2
BANDS = 12


def write(path: Path, hsi: np.ndarray, lidar: np.ndarray, label: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["hsi"], file["lidar"], file["label"] = hsi, lidar, label
        file.attrs["classes"] = ["one", "two"]
        file["hsi"].attrs["wavelengths_nm"] = np.linspace(420.0, 980.0, BANDS)
        file["lidar"].attrs["channels"] = ["height", "intensity"]
    return path


def features_by_tile(path: Path) -> dict[tuple[int, ...], bytes]:
    """ψ of every tile, by its origin."""
    dataset = read_dataset(path)
    features = FeatureMap.public(dataset.layout, tile=TILE)
    found = {}
    for block in cut_tiles(dataset, TILE):
        psi = features.psi(block)
        rows = np.concatenate(list(psi.values()), axis=1).reshape(len(block), -1)
        for origin, row in zip(block.origin.tolist(), rows, strict=True):
            found[tuple(origin)] = row.tobytes()
    return found


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("factor", [1.5, 40.0])
def test_altering_one_tile_changes_no_other_tiles_features(
    tmp_path: Path, integers: bool, factor: float
) -> None:
    rng = np.random.default_rng(0)
    hsi = rng.random((SIDE, SIDE, BANDS)).astype(np.float32)
    lidar = rng.random((SIDE, SIDE, 2)).astype(np.float32) * 20
    label = rng.integers(0, 3, (SIDE, SIDE)).astype(np.uint8)
    label[0, :2] = (1, 2)
    if integers:
        hsi = (hsi * 1000).astype(np.uint16)
    before = features_by_tile(write(tmp_path / "before.h5", hsi, lidar, label))
    hsi[4:8, 4:8] = (hsi[4:8, 4:8] * factor).astype(hsi.dtype)
    lidar[4:8, 4:8] *= factor
    label[4:8, 4:8] = 3 - np.maximum(label[4:8, 4:8], 1)
    after = features_by_tile(write(tmp_path / "after.h5", hsi, lidar, label))
    assert len(before) == 9
    assert [origin for origin in before if before[origin] != after[origin]] == [(0, 4, 4)]


def test_a_gap_in_one_tile_changes_no_other_tiles_features(tmp_path: Path) -> None:
    """Also where the others have gaps of their own, which are filled from the tile alone."""
    rng = np.random.default_rng(0)
    hsi = rng.random((SIDE, SIDE, BANDS)).astype(np.float32)
    lidar = rng.random((SIDE, SIDE, 2)).astype(np.float32) * 20
    label = rng.integers(1, 3, (SIDE, SIDE)).astype(np.uint8)
    holes = [(0, 3), (2, 4), (3, 8)]  # at edges of their tiles
    for cube in (hsi, lidar):
        for row, col in holes:
            cube[row, col] = np.nan

    def features(name: str) -> dict[tuple[int, ...], bytes]:
        path = write(tmp_path / name, hsi, lidar, label)
        with h5py.File(path, "r+") as file:
            file["hsi"].attrs["nodata"] = file["lidar"].attrs["nodata"] = np.nan
        return features_by_tile(path)

    before = features("before.h5")
    hsi[5, 5] = lidar[6, 6] = np.nan
    after = features("after.h5")
    assert [origin for origin in before if before[origin] != after[origin]] == [(0, 4, 4)]
    lidar[4:8, 4:8] = hsi[4:8, 4:8] = np.nan  # all of it
    emptied = features("emptied.h5")
    assert [origin for origin in before if before[origin] != emptied[origin]] == [(0, 4, 4)]
    assert not any(emptied[0, 4, 4])  # no bit of ψ is set
