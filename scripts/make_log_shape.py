"""Compute the whitening matrices of log shapes, from simulated materials only.

    python scripts/make_log_shape.py --out log_shape.safetensors

made feddiff_secure/model/priors/log_shape.safetensors (two seconds on one core). No measured data
is read. For each grid: the covariance of the coefficients about their class's mean, over batches of
20 random classes of 50 spectra; its inverse root, with 3 % of the mean variance added so that
directions in which nothing varies are not blown up; divided by the root of the total variance,
so that a typical squared distance is 2 on both grids.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.simulate.neighbourhoods import class_batch
from feddiff_secure.model.log_shape import GRIDS_NM, log_coefficients, save_log_shape

SCRIPT_VERSION = 1
CLASSES = 20  # a batch
EACH = 50  # spectra a class
RIDGE = 0.03  # of the mean variance


def whitening(grid_nm: NDArray[np.float64], seed: int, batches: int) -> NDArray[np.float32]:
    """(48, 48), for coefficients of spectra on a grid, in rows."""
    at = tuple(float(w) for w in grid_nm)
    rows, within = [], []
    for number in range(batches):
        spectra, classes = class_batch(
            np.random.default_rng([seed, number]), CLASSES, EACH, grid_nm
        )
        found = log_coefficients(spectra.astype(np.float32), at).astype(np.float64)
        rows.append(found)
        means = np.stack([found[classes == c].mean(axis=0) for c in range(CLASSES)])
        within.append(found - means[classes])
    spread = np.concatenate(within)
    variances, directions = np.linalg.eigh(spread.T @ spread / len(spread))
    matrix = directions / np.sqrt(variances + RIDGE * variances.mean())
    matrix /= np.sqrt((np.concatenate(rows) @ matrix).var(axis=0).sum())
    return np.asarray(matrix, dtype=np.float32)


def main() -> None:
    """Parse the command line, compute and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, default=40)
    given = parser.parse_args()
    matrices = {name: whitening(grid, given.seed, given.batches) for name, grid in GRIDS_NM.items()}
    said = f"simulated materials, seed {given.seed}, {given.batches} batches"
    provenance = f"{said}, make_log_shape {SCRIPT_VERSION}"
    print(f"{given.out} sha256 {save_log_shape(given.out, matrices, provenance)}")


if __name__ == "__main__":
    main()
