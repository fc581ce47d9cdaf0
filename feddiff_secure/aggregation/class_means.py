"""What the other modality says of a class: the one thing that two owners of one ground share.

In the split topology each modality's part W_m is trained by itself. Alone it spends its capacity,
and its noise, on pairs of classes that the other modality tells apart easily. The scores of the
other part for a tile are private to its holder, but their mean over a class is a statistic of many
tiles. So before training the owners release, as one noised sum,

    S = Σ over tiles of the mean, over the tile's labelled pixels, of one-hot(y) ψ'ᵀ      (K, D)

with ψ' the centred ψ (`centring`) and the constants of its modalities, so that the constant's
column counts the tiles of each class. Its rows over the counts are the class means M. In a
training round an owner adds to the scores of a pixel of class y the other modality's at M_y,

    o_y = f_y · (W_m M_y,m − its mean over the classes),
    f_y = max(0, 1 − 2·‖v_y‖²/‖o_y‖²)       v_y: what noise in M_y gives o_y, in expectation

and its gradient is that of the fused softmax with the other modality at its class mean. Twice the
noise is taken off (James and Stein take it off once): an offset that is mostly noise is worse than
none. Counts and means are post-processing of S in elementwise arithmetic, repeated by verifiers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.aggregation.centring import Block, centred, columns_of, constants_of

Array = NDArray[np.float64]

_NOISE_TAKEN_OFF = 2.0  # chosen with the fraction of the budget (ADR 14)


def with_constants(features: Array, centre: Array, blocks: Sequence[Block]) -> Array:
    """ψ': the centred ψ, with the constants of ψ where centring leaves zeros, (examples, D)."""
    out = centred(features, centre, blocks)
    constants = list(constants_of(blocks).values())
    out[:, constants] = features[:, constants]
    return out


def released_class_means(total: NDArray[np.int64], blocks: Sequence[Block], scale: float) -> Array:
    """The class means of ψ', from the released sum.

    Args:
        total: the decoded sum, grid units, (K·D,).
        blocks: the layout of ψ.
        scale: grid units per unit of ψ.

    Returns:
        (K, D): means, and in a modality's constant column the (noised) number of its tiles of the
        class, at least 1. Finite whatever the sum.
    """
    features = sum(block.columns for block in blocks)
    sums = total.reshape(-1, features) / scale
    means = np.empty_like(sums)
    constants = constants_of(blocks)
    share = {b.modality: b.share for b in blocks if b.constant}
    for block, at in columns_of(blocks):
        held = sums[:, constants[block.modality]] / math.sqrt(share[block.modality])
        tiles = np.maximum(1.0, held)
        means[:, at] = tiles[:, None] if block.constant else sums[:, at] / tiles[:, None]
    return means


def class_scores(
    weights: Array,
    means: Array,
    noise_std: Array,
    blocks: Sequence[Block],
    held: NDArray[np.bool_],
) -> Array:
    """The scores that the modalities which an owner lacks give each class on average, (K, K).

    Args:
        weights: W, (K, D).
        means: of `released_class_means`, (K, D).
        noise_std: standard deviation of the noise of S in a column, units of ψ, (D,).
        blocks: the layout of ψ.
        held: the columns of the modalities that the owner has, (D,).

    Returns:
        Row y: what to add to the K scores of a pixel of class y.
    """
    apart = weights - weights.mean(axis=0)  # a softmax sees differences between classes alone
    squared = np.square(apart).sum(axis=0)  # (D,), over the classes that a score is of
    offsets = np.zeros((len(means), len(weights)))
    noise = np.zeros(len(means))
    constants = constants_of(blocks)
    for block, at in columns_of(blocks):
        if block.constant or held[at].any():
            continue
        offsets += means[:, at] @ apart[:, at].T
        tiles = means[:, constants[block.modality]]
        noise += float(squared[at] @ np.square(noise_std[at])) / np.square(np.maximum(1.0, tiles))
    size = np.square(offsets).sum(axis=1)
    kept = 1 - _NOISE_TAKEN_OFF * noise / np.maximum(size, 1e-300)
    return np.asarray(offsets * np.maximum(0.0, kept)[:, None])
