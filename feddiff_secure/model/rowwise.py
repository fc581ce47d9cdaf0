"""Matrix products whose row i depends on row i alone, bit for bit.

A BLAS product may sum a row in another order when the number of rows changes, and then a tile's
features would depend, in their last bits, on the tiles computed beside it. Here rows go through
in float64 blocks of one fixed height, padded with zeros, and are rounded to float32 at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_ROWS = 256


def row_matmul(
    rows: npt.NDArray[np.float32], weights: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.float64]:
    """rows (n, K) times weights (D, K) transposed: (n, D) float64."""
    transposed = np.ascontiguousarray(weights.T, dtype=np.float64)
    out = np.empty((rows.shape[0], weights.shape[0]), dtype=np.float64)
    padded = np.zeros((BLOCK_ROWS, rows.shape[1]), dtype=np.float64)
    for start in range(0, rows.shape[0], BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        padded[: len(part)] = part
        padded[len(part) :] = 0.0
        out[start : start + BLOCK_ROWS] = (padded @ transposed)[: len(part)]
    return out
