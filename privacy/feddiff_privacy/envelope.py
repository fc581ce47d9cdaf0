"""A piecewise-constant envelope over the integers, drawn from without rounding.

The integers around 0 are cut into K blocks of one width (both powers of two). Block m has an
*integer* weight that dominates S·f(k) for every k in it, f the wanted unnormalised probability
with f(0) = 1 and f falling away from 0. The weights sum to exactly 2^64, so an alias table (Vose
1991) over integers draws a block with one uniform 64-bit word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.errors import MechanismError


def nearest_to_zero(blocks: int, width: int) -> NDArray[np.float64]:
    """The integer of every block that lies nearest to 0, shape (blocks,)."""
    start = (np.arange(blocks, dtype=np.int64) - blocks // 2) * width
    last = start + width - 1
    return np.where(start > 0, start, np.where(last < 0, last, 0)).astype(np.float64)


def block_weights(height: NDArray[np.float64]) -> tuple[list[int], float]:
    """Integer weights that sum to 2^64 and dominate S·f on their block; and S.

    Args:
        height: the largest f on every block, shape (blocks,); 1 on the middle one.

    Raises:
        MechanismError: heights that leave no room for integer weights.
    """
    # The margin of 1e-9 covers every float64 error on the way; it only lowers acceptance.
    unit = 2.0**64 * (1 - 1e-6) / float(height.sum())
    weights = [int(h * unit) + 1 for h in height]
    spare = 2**64 - sum(weights)
    if spare < 0:
        raise MechanismError(f"no envelope over {len(height)} blocks")
    weights[len(height) // 2] += spare
    return weights, unit * (1 - 1e-9)


def alias_table(weights: list[int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Vose's alias table over integers: slot i keeps i with probability prob[i]/(2^64/K)."""
    count = len(weights)
    full = 2**64 // count
    left = list(weights)
    prob = [full] * count
    alias = list(range(count))
    small = [i for i, w in enumerate(left) if w < full]
    large = [i for i, w in enumerate(left) if w > full]
    while small:
        low, high = small.pop(), large[-1]
        prob[low], alias[low] = left[low], high
        left[high] -= full - left[low]
        if left[high] <= full:
            large.pop()
            if left[high] < full:
                small.append(high)
    return np.array(prob, dtype=np.uint64), np.array(alias, dtype=np.int64)


def draw_blocks(
    prob: NDArray[np.uint64], alias: NDArray[np.int64], draw: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Block indices, one from each uniform word; the number of blocks is a power of two."""
    slot_bits = len(prob).bit_length() - 1
    slot = (draw & np.uint64(len(prob) - 1)).astype(np.int64)
    level = draw >> np.uint64(slot_bits)
    return np.where(level < prob[slot], slot, alias[slot])
