"""Tiles of the public simulated scene through the shipped branches, as a picture for the page.

`scripts/prior_quality.py` has the figures; here is what they look like. No measured data is read.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.heights import HEIGHT_UNIT_M
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.model.descriptors import pixels
from feddiff_secure.model.generation import (
    level_and_contrast,
    reconstructed_heights,
    reconstructed_spectra,
    reflectance,
)
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.wavelengths import GRID_NM, resampling, standardise
from feddiff_secure.report.tile_pictures import Stage, write_tile_pictures

SIDE: Final = 8
SHOWN: Final = 2  # tiles
STEP: Final = 150  # to noise to, of 500
DDIM_STEPS: Final = 20
SEED: Final = 0


def branch_tiles() -> bytes:
    """A PNG: tiles as they are, noised, and reconstructed."""
    scene = simulated_scene(SEED)
    block = next(iter(cut_tiles(Dataset(scenes=(scene,)), SIDE)))
    chosen = np.random.default_rng(SEED).permutation(len(block))[:SHOWN]
    assert block.hsi is not None
    assert block.lidar is not None
    hsi, lidar = block.hsi[chosen], block.lidar[chosen]
    spectra = pixels(hsi)
    sampling = resampling(hsi.shape[1], scene.modalities["hsi"].wavelengths_nm)
    seen = sampling.covered > 0
    level, contrast = level_and_contrast(spectra, sampling)
    generator = torch.Generator().manual_seed(SEED)
    passed = reconstructed_spectra(
        load_prior("hsi"), spectra, sampling, t=STEP, steps=DDIM_STEPS, generator=generator
    )
    heights = reconstructed_heights(
        load_prior("lidar"), lidar, t=STEP, steps=DDIM_STEPS, generator=generator
    )
    names = ("as it is", f"noised, t = {STEP} of 500", "reconstructed")
    stages = [
        Stage(name, _tiles(reflectance(found, level, contrast, sampling)[:, seen]), height[:, 0])
        for name, found, height in zip(
            names,
            (standardise(spectra, sampling), *passed),
            (HEIGHT_UNIT_M * h for h in (lidar, *heights)),
            strict=True,
        )
    ]
    with tempfile.TemporaryDirectory(prefix="feddiff-bench-") as folder:
        path = Path(folder) / "tiles.png"
        at = GRID_NM[: seen.size][seen]
        write_tile_pictures(path, stages, at, title="Shipped branches on 8×8 tiles")
        return path.read_bytes()


def _tiles(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n·64, B) pixel rows to (n, B, 8, 8)."""
    return rows.reshape(SHOWN, SIDE, SIDE, -1).transpose(0, 3, 1, 2)
