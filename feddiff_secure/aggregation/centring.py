"""The mean of ψ, released once as a noised sum, and what training does with it.

Noise is drowned by what tells pixels apart, not by what they share: of ‖ψ‖² = 1 a third or more
may be the mean over all pixels, which no class score needs. So before training the owners release

    S = Σ over tiles of the mean of ψ over the tile's labelled pixels

with noise like any other sum, and train on centred, rescaled features. ψ is made of blocks (one a
kernel) of public squared norms r_b, and each modality ends in a *constant*: one column that is
√r_c wherever the modality is there, so S also holds the (noised) number of tiles that have it.
With y_b the block's part of S over that number, v the variance of the noise in a coordinate of y_b
and d its columns, both public,

    m_b = max(0, 1 − d·v/‖y_b‖²) · y_b      (James and Stein 1961, shrunk to 0, positive part)
    a_b² = r_b / (r_b − ‖m_b‖²)             (E‖ψ_b − m_b‖² = r_b − ‖m_b‖² at the true mean)
    ψ_b ← a_b (ψ_b − m_b)                   where the modality is there; elsewhere 0 stays 0

All of it is post-processing of S, repeated by verifiers and, in encrypted mode, by every owner. So
it has to give the same bits on every machine: elementwise arithmetic and exactly rounded sums, no
BLAS. The trained module is *folded* back afterwards: as W·a(ψ − m) = (aW)ψ − (aW)m, the scores are
those of other weights on ψ itself, with the last term in the column of the constant. So nothing but
the training knows that ψ was centred.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CENTRE_ROWS = 2  # mean and factor
_LEAST_SPREAD = 0.05  # of r_b: keeps a_b below 4.5 whatever the noise


@dataclass(frozen=True, slots=True)
class Block:
    """Some columns of ψ with a public norm.

    Attributes:
        modality: `hsi` or `lidar`.
        columns: how many; 1 for a constant.
        share: r, the squared norm of these columns in a pixel that has the modality.
        constant: whether it is the constant of its modality, always the last of its blocks.
    """

    modality: str
    columns: int
    share: float
    constant: bool


def check_blocks(blocks: Sequence[Block], features: int) -> None:
    """Refuse blocks that are not a layout of ψ.

    Raises:
        ValueError: other columns than D, squared norms above 1 in all, a modality in two places,
            or without one constant at its end.
    """
    if sum(block.columns for block in blocks) != features:
        raise ValueError(f"blocks of {sum(b.columns for b in blocks)} columns, not {features}")
    if not all(block.share > 0 for block in blocks) or sum(b.share for b in blocks) > 1 + 1e-9:
        raise ValueError("squared norms of blocks must be above 0 and at most 1 in all")
    order = [block.modality for block in blocks]
    if order != sorted(order):  # hsi before lidar
        raise ValueError(f"blocks of modalities in the order {order}")
    for modality in set(order):
        found = [block for block in blocks if block.modality == modality]
        constants = [block.constant for block in found]
        if constants != [False] * (len(found) - 1) + [True] or found[-1].columns != 1:
            raise ValueError(f"blocks of {modality} do not end in one constant")


def columns_of(blocks: Sequence[Block]) -> Iterator[tuple[Block, slice]]:
    """The blocks with their columns."""
    start = 0
    for block in blocks:
        yield block, slice(start, start + block.columns)
        start += block.columns


def constants_of(blocks: Sequence[Block]) -> dict[str, int]:
    """Modality → the column of its constant."""
    return {b.modality: at.start for b, at in columns_of(blocks) if b.constant}


def released_centre(
    total: NDArray[np.int64], blocks: Sequence[Block], scale: float, noise_std: Array
) -> Array:
    """Mean and factor of every column, from the released sum.

    Args:
        total: the decoded sum, grid units, (D,).
        blocks: the layout of ψ.
        scale: grid units per unit of ψ.
        noise_std: standard deviation of the sum's noise, grid units, one a column, (D,).

    Returns:
        (2, D): row 0 the mean, row 1 the factor; both 0 in the constants' columns, so that
        nothing is learnt there. Both are finite whatever the sum.
    """
    centre = np.zeros((CENTRE_ROWS, len(total)))
    values = total / scale
    constants = constants_of(blocks)
    share = {b.modality: b.share for b in blocks if b.constant}
    for block, at in columns_of(blocks):
        if block.constant:
            continue
        held = values[constants[block.modality]] / np.sqrt(share[block.modality])
        tiles = max(1.0, float(held))
        mean = values[at] / tiles
        squared = _sum(np.square(mean))
        noise = _sum(np.square(noise_std[at] / (scale * tiles)))
        mean = mean * (max(0.0, 1 - noise / squared) if squared > 0 else 0.0)
        spread = block.share - _sum(np.square(mean))
        centre[0, at] = mean
        centre[1, at] = np.sqrt(block.share / max(spread, _LEAST_SPREAD * block.share))
    return centre


def centred(features: Array, centre: Array, blocks: Sequence[Block]) -> Array:
    """ψ less the mean, times the factor, where its modality is there, (examples, D)."""
    out = features.copy()
    constants = constants_of(blocks)
    for block, at in columns_of(blocks):
        there = features[:, constants[block.modality]] > 0
        out[np.ix_(there, np.arange(at.start, at.stop))] -= centre[0, at]
    out *= centre[1]
    return np.asarray(out)


def folded(weights: Array, centre: Array, blocks: Sequence[Block]) -> Array:
    """The weights on ψ itself that give the scores of `weights` on centred features, (K, D)."""
    out = np.asarray(weights * centre[1])  # 0 in the constants' columns
    constants = constants_of(blocks)
    share = {b.modality: b.share for b in blocks if b.constant}
    for block, at in columns_of(blocks):
        if not block.constant:
            taken_off = np.array([_sum(row) for row in out[:, at] * centre[0, at]])
            out[:, constants[block.modality]] -= taken_off / np.sqrt(share[block.modality])
    return out


def _sum(values: Array) -> float:
    """The sum, rounded once: the same in any order, on any machine."""
    return math.fsum(values.tolist())
