"""A linear decoder from features to signals: what an attacker who knows other tiles can train.

Ridge regression is closed form and linear, so it decodes the mean of several pixels' features to
the mean of their spectra, and a noisy observation with the regularisation that its noise calls for.
It is one attack, not the best one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.errors import UsageError

Floats = NDArray[np.float64]
RIDGE = 1e-2  # of the rows' mean square, for a noise-free observation


@dataclass(frozen=True, slots=True, eq=False)
class RidgeDecoder:
    """signal ≈ (features − centre) · weights + mean.

    Attributes:
        centre: (D,) of the training features. scale: (D,) they are divided by.
        weights: (D, B).
        mean: (B,) of the training signals.
    """

    centre: Floats
    scale: Floats
    weights: Floats
    mean: Floats

    @classmethod
    def fit(
        cls,
        features: NDArray[np.floating[Any]],
        signals: NDArray[np.floating[Any]],
        *,
        noise_variance: float = 0.0,
        standardise: bool = False,
    ) -> RidgeDecoder:
        """Train on rows whose signals the attacker knows.

        Args:
            features: (n, D). signals: (n, B).
            noise_variance: of each coordinate of the features that will be decoded, ≥ 0.
            standardise: whether to bring every feature to deviation 1 first.

        Raises:
            UsageError: fewer than two rows, or rows that do not pair.
        """
        if len(features) != len(signals) or len(features) < 2:
            raise UsageError(
                f"a decoder of {len(features)} features and {len(signals)} signals",
                "attack a run with more tiles",
            )
        x, y = features.astype(np.float64), signals.astype(np.float64)
        centre, mean = x.mean(axis=0), y.mean(axis=0)
        scale = np.maximum(x.std(axis=0), 1e-9) if standardise else np.ones(x.shape[1])
        x = (x - centre) / scale
        gram = x.T @ x
        penalty = RIDGE * float(np.square(x).sum(axis=1).mean()) + len(x) * noise_variance
        gram[np.diag_indices_from(gram)] += max(penalty, 1e-12)
        return cls(centre, scale, np.linalg.solve(gram, x.T @ (y - mean)), mean)

    def __call__(self, features: NDArray[np.floating[Any]]) -> Floats:
        """(n, D) features to (n, B) signals."""
        return np.asarray((features - self.centre) / self.scale @ self.weights + self.mean)
