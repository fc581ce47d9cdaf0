"""Whether ring elements look uniform, and whether they go with values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


def is_uniform(vectors: list[NDArray[np.uint32]]) -> bool:
    """χ² of every byte place of ring elements, at a level of 10⁻⁶ a place."""
    whole = np.concatenate(vectors)
    bytes_of = whole.view(np.uint8).reshape(-1, 4)
    for place in range(4):
        counts = np.bincount(bytes_of[:, place], minlength=256)
        expected = len(whole) / 256
        if chi2.sf(float(np.square(counts - expected).sum()) / expected, 255) < 1e-6:
            return False
    return True


def correlation(vector: NDArray[Any], values: NDArray[Any]) -> float:
    """|r|·√n of centred ring elements, or numbers, against values.

    About |N(0, 1)| where they are independent.
    """
    numbers = vector.astype(np.int32) if vector.dtype == np.uint32 else vector
    found = np.corrcoef(numbers.astype(np.float64), values.astype(np.float64))[0, 1]
    return abs(float(found)) * math.sqrt(len(values))
