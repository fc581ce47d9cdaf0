"""The exchanged form of features: a truncated singular value decomposition (U, s, V).

FedDiff and FedFusion (arXiv 2311.09540) send rank-k factors in place of an owner's feature matrix,
to save traffic. k (N + F + 1) numbers stand for N·F; by Eckart and Young no matrix of rank k lies
closer. It is compression, not protection: the factors multiply to the features again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.errors import DataError, UsageError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LowRankFeatures:
    """Rank-k factors of a feature matrix (N, F).

    Attributes:
        left: U, (N, k) float32, one row a pixel.
        values: s, (k,) float32, not increasing, not negative.
        right: Vᵀ, (k, F) float32.

    Raises:
        DataError: shapes or types that do not fit, or a number that is not finite.
    """

    left: Floats
    values: Floats
    right: Floats

    def __post_init__(self) -> None:
        rank = self.values.size
        parts = (self.left, self.values, self.right)
        if (
            [part.ndim for part in parts] != [2, 1, 2]
            or self.left.shape[1] != rank
            or self.right.shape[0] != rank
            or not 1 <= rank <= self.right.shape[1]
        ):
            raise DataError(
                f"low-rank features: factors of shape {[part.shape for part in parts]}",
                "give (N, k), (k,) and (k, F) with k at most F",
            )
        if any(p.dtype != np.float32 or not np.isfinite(p).all() for p in parts):
            raise DataError(
                "low-rank features: a factor is not finite float32", "the file is damaged"
            )

    @classmethod
    def compress(cls, features: Floats, rank: int) -> LowRankFeatures:
        """The best factors of rank k; of all of min(N, F) where that is less.

        Args:
            features: (N, F).
            rank: k ≥ 1.

        Raises:
            UsageError: a rank below 1.
        """
        if rank < 1:
            raise UsageError(f"rank is {rank}", "give a rank of at least 1")
        # By the eigenvectors of the smaller Gram matrix: N may be large, F is a few hundred.
        wide = features.astype(np.float64)
        _, vectors = np.linalg.eigh(wide.T @ wide)
        rank = min(rank, *features.shape)
        right = vectors[:, ::-1][:, :rank]
        scores = wide @ right
        values = np.linalg.norm(scores, axis=0)
        left = scores / np.maximum(values, 1e-30)
        return cls(
            left.astype(np.float32), values.astype(np.float32), right.T.astype(np.float32).copy()
        )

    def features(self) -> Floats:
        """The product of the factors, (N, F)."""
        return np.asarray((self.left * self.values) @ self.right, dtype=np.float32)

    @property
    def numbers(self) -> int:
        """Numbers that are sent."""
        return int(self.left.size + self.values.size + self.right.size)

    @property
    def dense_numbers(self) -> int:
        """Numbers of the matrix itself."""
        return int(self.left.shape[0] * self.right.shape[1])
