"""Write a small labelled table of pixels from simulated spectra, for smoke tests."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Dataset, Modality, PixelTable
from feddiff_secure.data.simulate.spectra import random_spectra


def tiny_table(pixels: int, bands: int, seed: int) -> Dataset:
    """Pixels of three classes whose spectra differ in level and slope, in eight regions a class."""
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(420.0, 980.0, bands)
    label = (np.arange(pixels) % 3 + 1).astype(np.int16)
    prototypes = random_spectra(np.random.default_rng(7), 3, wavelengths)
    hsi = prototypes[label - 1] * rng.uniform(0.9, 1.1, (pixels, 1))
    hsi += rng.normal(0, 0.01, hsi.shape)
    height = label[:, None] * 0.2 + rng.normal(0, 0.02, (pixels, 1))
    modalities = {
        "hsi": Modality(
            "hsi",
            np.clip(hsi, 0, 1).astype(np.float32),
            tuple(f"band {i}" for i in range(bands)),
            tuple(float(w) for w in wavelengths),
        ),
        "lidar": Modality("lidar", height.astype(np.float32), ("height",)),
    }
    region = (np.arange(pixels) // 3 % 8 * 3 + label).astype(np.int32)
    table = PixelTable(modalities, label, ("first", "second", "third"), region=region)
    return Dataset(table=table)


if __name__ == "__main__":
    write_scene(Path(sys.argv[1]), tiny_table(pixels=240, bands=20, seed=0))
