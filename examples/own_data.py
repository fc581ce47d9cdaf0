"""Train, map and verify from Python, on data of your own.

    python examples/own_data.py [FOLDER]

The first function stands for your data: it writes a small HDF5 file the way docs/formats/scene.md
describes, from numpy arrays. Put your own arrays there, or give the tutorial's owner.h5.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

import feddiff_secure

SIDE, BANDS = 40, 30
CLASSES = ("water", "grass", "roof")


def write_own_data(path: Path) -> None:
    """A raster of three materials in fields of 8 × 8 pixels, a quarter of them unlabelled."""
    rng = np.random.default_rng(0)
    wavelengths = np.linspace(420.0, 980.0, BANDS)
    fields = rng.integers(0, len(CLASSES), (SIDE // 8, SIDE // 8))
    material = np.kron(fields, np.ones((8, 8), dtype=np.int64))  # (H, W), 0..2
    red_edge = 1 / (1 + np.exp(-(wavelengths - 715) / 15))
    spectra = np.stack([0.05 * (1 - red_edge), 0.05 + 0.4 * red_edge, np.full(BANDS, 0.3)])
    height = np.array([0.0, 0.5, 7.0])[material]  # metres above ground
    region = np.kron(np.arange(fields.size).reshape(fields.shape), np.ones((8, 8), dtype=np.int64))
    labelled = np.kron(rng.random(fields.shape) < 0.75, np.ones((8, 8), dtype=bool))
    with h5py.File(path, "w") as file:
        noisy = spectra[material] + rng.normal(0, 0.01, (SIDE, SIDE, BANDS))
        file["hsi"] = noisy.clip(0, 1).astype(np.float32)  # (H, W, B) reflectance
        file["hsi"].attrs["wavelengths_nm"] = wavelengths
        file["lidar"] = (height + rng.normal(0, 0.1, height.shape)).astype(np.float32)
        file["lidar"].attrs["scale"] = 1 / 30  # to about 0..1
        file["label"] = np.where(labelled, material + 1, 0).astype(np.uint8)  # 0 = unlabelled
        file["region"] = region.astype(np.int32)  # regions stay on one side of the split
        file.attrs["classes"] = CLASSES


def main(folder: Path) -> None:
    """One run from data to a verified model and a map."""
    data = folder / "own.h5"
    write_own_data(data)
    scene = feddiff_secure.load_scene(data).scenes[0]
    print(f"read {scene.shape} pixels of {sorted(scene.modalities)}, classes {scene.classes}")

    done = feddiff_secure.run(
        data=data, epsilon=8.0, delta=1e-4, owners=3, rounds=20, out=folder / "run"
    )
    print(f"OA {done.oa:.3f} at epsilon {done.epsilon:.2f}; read {done.directory / 'privacy.md'}")

    mapped = feddiff_secure.predict(done.directory, data, folder / "map.png")
    print(f"{mapped.out}: " + ", ".join(f"{name} {a:.0%}" for name, a in mapped.areas.items()))

    for step in feddiff_secure.verify(done.directory).steps:
        print(f"verified: {step}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(Path(name))
