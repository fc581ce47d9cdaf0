"""The sum of clipped per-tile gradients of a linear softmax head.

The unit of privacy is the tile, so the gradients of all examples of a tile are summed first and
the *sum* is clipped to norm C: one tile moves the result by at most C, however many examples it
holds. Clipping per example would let a tile of 16 pixels move it by 16·C.

The head is linear, scores = ψ Wᵀ, so the gradient of example i is the outer product e_i ψ_iᵀ of
its error (softmax minus one-hot) and its features, and the squared norm of a tile's gradient is
Σ_ij (e_i·e_j)(ψ_i·ψ_j) over its examples: norms without gradients ("ghost norms": Goodfellow
2015, arXiv 1510.01799; Li et al. 2022, arXiv 2110.05679).

All arithmetic is float64. A tile whose features or errors are not finite counts as zero: a bad
tile must neither abort a round (which others would see) nor pass through the clip (NaN compares
false with everything).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.errors import MechanismError

_MARGIN = 1 - 1e-12  # a clipped norm may not exceed C by float64 rounding

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TileExamples:
    """Labelled examples grouped by tile, with what is the same in every round.

    Attributes:
        features: ψ, shape (examples, D), float64; absent modalities are zero columns.
        labels: class index from 0, shape (examples,).
        starts: first example of each tile, shape (tiles,), increasing from 0.
        finite: whether all features of a tile are finite, shape (tiles,).
        pairs: for each tile size m > 1, the tiles and their Gram matrices (tiles, m, m).
    """

    features: Array
    labels: NDArray[np.int64]
    starts: NDArray[np.int64]
    finite: NDArray[np.bool_]
    squares: Array
    pairs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64], Array]]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.starts)

    @classmethod
    def group(
        cls, features: Array, labels: NDArray[np.int64], tile: NDArray[np.int64]
    ) -> TileExamples:
        """Group examples by their tile id (any ids; order of tiles is by id).

        Args:
            features: (examples, D).
            labels: (examples,), class index from 0.
            tile: (examples,), the tile each example lies in.

        Raises:
            MechanismError: lengths that do not agree.
        """
        if not len(features) == len(labels) == len(tile):
            raise MechanismError(
                f"features, labels and tiles differ in length: {len(features)}, {len(labels)}, "
                f"{len(tile)}"
            )
        order = np.argsort(tile, kind="stable")
        ids, starts, counts = np.unique(tile[order], return_index=True, return_counts=True)
        x = np.array(features[order], dtype=np.float64)
        bad = ~np.isfinite(x).all(axis=1)
        finite = np.ones(len(ids), dtype=np.bool_)
        if bad.any():
            finite = ~np.logical_or.reduceat(bad, starts)
            x[bad] = 0
        pairs = {}
        for size in np.unique(counts):
            if size > 1:
                tiles = np.flatnonzero(counts == size)
                rows = starts[tiles][:, None] + np.arange(size)  # (tiles, m)
                block = x[rows]  # (tiles, m, D)
                pairs[int(size)] = (tiles, rows, block @ block.transpose(0, 2, 1))
        return cls(
            features=x,
            labels=np.asarray(labels[order], dtype=np.int64),
            starts=starts.astype(np.int64),
            finite=finite,
            squares=np.einsum("nd,nd->n", x, x),
            pairs=pairs,
        )

    def with_features(self, features: Array) -> TileExamples:
        """The same labels and tiles with other features of the same examples, (examples, D')."""
        sizes = np.diff(np.append(self.starts, len(self.labels)))
        made = TileExamples.group(features, self.labels, np.repeat(np.arange(self.tiles), sizes))
        return replace(made, finite=self.finite & made.finite)


def clipped_mean_sum(examples: TileExamples, clip: float = 1.0) -> Array:
    """Σ over tiles of clip_C(mean of ψ over the tile's examples), shape (D,).

    Args:
        examples: the owner's labelled examples by tile.
        clip: C > 0, the L2 bound of one tile's contribution.
    """
    sizes = np.diff(np.append(examples.starts, len(examples.labels)))
    if not len(sizes):
        return np.zeros(examples.features.shape[1])
    means = np.add.reduceat(examples.features, examples.starts) / sizes[:, None]
    norms = np.linalg.norm(means, axis=1)
    factor = np.where(
        examples.finite, np.minimum(1.0, clip / np.maximum(norms, 1e-300)) * _MARGIN, 0.0
    )
    return np.asarray(factor @ means)


def clipped_class_sum(examples: TileExamples, classes: int, clip: float = 1.0) -> Array:
    """Σ over tiles of clip_C(mean over the tile's examples of one-hot(label) ψᵀ), (K, D).

    Args:
        examples: the owner's labelled examples by tile.
        classes: K.
        clip: C > 0, the L2 bound of one tile's contribution.
    """
    sizes = np.diff(np.append(examples.starts, len(examples.labels)))
    shares = np.zeros((len(examples.labels), classes))
    shares[np.arange(len(shares)), examples.labels] = 1 / np.repeat(sizes, sizes)
    return _clipped(examples, shares, clip, np.ones(examples.tiles, dtype=np.bool_))


def softmax_errors(
    examples: TileExamples, weights: Array, class_scores: Array | None = None
) -> Array:
    """softmax(ψ Wᵀ) minus the one-hot label, shape (examples, K).

    Args:
        examples: labelled examples.
        weights: W, (K, D).
        class_scores: (K, K), scores that every example of a class (row) has besides; None for 0.
    """
    scores = examples.features @ weights.T
    if class_scores is not None:
        scores += class_scores[examples.labels]
    scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    scores[np.arange(len(scores)), examples.labels] -= 1
    return np.asarray(scores)


def tile_norms(examples: TileExamples, errors: Array) -> Array:
    """L2 norm of every tile's summed gradient, shape (tiles,)."""
    squared = (
        np.einsum("nk,nk->n", errors, errors)[examples.starts] * (examples.squares[examples.starts])
    )
    for tiles, rows, gram in examples.pairs.values():
        e = errors[rows]  # (tiles, m, K)
        squared[tiles] = np.einsum("tij,tij->t", e @ e.transpose(0, 2, 1), gram)
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def clipped_sum(
    examples: TileExamples,
    weights: Array,
    clip: float,
    sampled: NDArray[np.bool_],
    class_scores: Array | None = None,
) -> Array:
    """Σ over sampled tiles of clip_C(Σ over the tile's examples of ∇ cross-entropy), (K, D).

    Args:
        examples: the owner's labelled examples by tile.
        weights: the communication module W, (K, D).
        clip: C > 0, the L2 bound of one tile's contribution.
        sampled: which tiles take part, (tiles,).
        class_scores: as in `softmax_errors`; they move a tile's gradient, never its bound.

    Raises:
        MechanismError: a clip that is not finite and positive.
    """
    return _clipped(examples, softmax_errors(examples, weights, class_scores), clip, sampled)


def _clipped(
    examples: TileExamples, errors: Array, clip: float, sampled: NDArray[np.bool_]
) -> Array:
    """Σ over sampled tiles of clip_C(Σ over the tile's examples of e ψᵀ), (K, D); e: (n, K)."""
    if not (np.isfinite(clip) and clip > 0):
        raise MechanismError(f"the clip must be finite and above 0, got {clip}")
    norms = tile_norms(examples, errors)
    usable = sampled & examples.finite & np.isfinite(norms)
    factor = np.zeros(examples.tiles)
    factor[usable] = np.minimum(1.0, clip / np.maximum(norms[usable], 1e-300)) * _MARGIN
    sizes = np.diff(np.append(examples.starts, len(examples.labels)))
    scale = np.repeat(factor, sizes)
    errors = np.where(scale[:, None] > 0, errors * scale[:, None], 0.0)
    return np.asarray(errors.T @ examples.features)
