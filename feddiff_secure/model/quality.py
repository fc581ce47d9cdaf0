"""How close reconstructed and generated signals are to real ones. Numpy alone; nothing is learnt.

PSNR   10·log₁₀(peak² / mean squared error), in dB, over all values.
SSIM   Wang et al. 2004 (IEEE TIP 13:4, eq. 13) with K₁ = 0.01, K₂ = 0.03: population moments over
       a square window, uniform weights, averaged over windows, channels and tiles. The window is
       7 pixels wide, or the tile's shorter side where that is less.
Angle  the spectral angle (Kruse et al. 1993), in radians.
Fréchet distance between the Gaussians of two sets of feature rows: ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ −
       2(Σ₁Σ₂)^½) (Heusel et al., arXiv 1706.08500, eq. 6), on whatever fixed features are given.
Consistency  how often a classifier trained on real data finds the class a sample was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from feddiff_secure.errors import UsageError

Values = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]

SSIM_WINDOW = 7


def peak_signal_to_noise_ratio(reference: Values, found: Values, peak: float) -> float:
    """PSNR in dB; infinite for equal arrays.

    Args:
        reference: the real values.
        found: of the same shape.
        peak: the largest value that could occur, above 0.

    Raises:
        UsageError: shapes differ, nothing to compare, or a peak not above 0.
    """
    _same_shape(reference, found)
    if not peak > 0.0:
        raise UsageError(f"peak {peak} is not above 0", "give the range of the sensor")
    error = float(np.mean(np.square(reference.astype(np.float64) - found)))
    return float("inf") if error == 0.0 else float(10.0 * np.log10(peak**2 / error))


def structural_similarity(reference: Values, found: Values, value_range: float) -> float:
    """Mean SSIM of tiles (T, C, h, w); 1 for equal ones, at most 1.

    Args:
        reference: the real tiles.
        found: of the same shape.
        value_range: L, the range the values could cover, above 0.

    Raises:
        UsageError: shapes differ or are not tiles, or a range not above 0.
    """
    _same_shape(reference, found)
    if reference.ndim != 4 or not value_range > 0.0:
        raise UsageError(
            f"SSIM of shape {reference.shape} over a range of {value_range}",
            "give tiles (T, C, h, w) and a range above 0",
        )
    side = min(SSIM_WINDOW, *reference.shape[2:])
    one, two = (
        sliding_window_view(values.astype(np.float64), (side, side), axis=(2, 3))
        for values in (reference, found)
    )
    inside = (-2, -1)
    mean_1, mean_2 = one.mean(axis=inside), two.mean(axis=inside)
    centred_1, centred_2 = one - mean_1[..., None, None], two - mean_2[..., None, None]
    variance_1, variance_2 = (np.square(c).mean(axis=inside) for c in (centred_1, centred_2))
    covariance = (centred_1 * centred_2).mean(axis=inside)
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    luminance = (2.0 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1)
    structure = (2.0 * covariance + c2) / (variance_1 + variance_2 + c2)
    return float(np.mean(luminance * structure))


def spectral_angle(one: Values, two: Values) -> Floats:
    """The angle between rows of (…, B), broadcast: radians in 0…π, 0 where a row is zero.

    By atan2 of difference and sum of the unit vectors (Kahan 2006), which keeps small angles
    exact where the arc cosine of a number near 1 loses them.
    """
    first, second = _unit_rows(one), _unit_rows(two)
    apart = np.linalg.norm(first - second, axis=-1)
    together = np.linalg.norm(first + second, axis=-1)
    angle = 2.0 * np.arctan2(apart, together)
    blank = (np.linalg.norm(first, axis=-1) == 0.0) | (np.linalg.norm(second, axis=-1) == 0.0)
    return np.asarray(np.where(blank, 0.0, angle))


def class_means(spectra: Values, label: NDArray[np.integer[Any]]) -> Floats:
    """(K, B) mean of each class, in the order of its label; (n, B) spectra and (n,) labels."""
    return np.stack([spectra[label == k].astype(np.float64).mean(axis=0) for k in np.unique(label)])


def within_class_spread(
    spectra: Values, label: NDArray[np.integer[Any]], quantile: float = 0.95
) -> Floats:
    """(K,) that quantile of the angles between a class's spectra and their own mean."""
    means = class_means(spectra, label)
    return np.array(
        [
            np.quantile(spectral_angle(spectra[label == k], mean), quantile)
            for k, mean in zip(np.unique(label), means, strict=True)
        ]
    )


def nearest_mean(samples: Values, means: Values) -> tuple[Floats, NDArray[np.int64]]:
    """The angle of each sample (n, B) to the nearest of (K, B) means, and which one that is."""
    angles = np.stack([spectral_angle(samples, mean) for mean in means], axis=1)  # (n, K)
    return angles.min(axis=1), angles.argmin(axis=1).astype(np.int64)


def frechet_distance(real: Values, found: Values) -> float:
    """Fréchet distance of the Gaussians of two sets of rows (n, D) and (m, D), n, m ≥ 2.

    tr (Σ₁Σ₂)^½ is taken as the trace of (Σ₁^½ Σ₂ Σ₁^½)^½, symmetric and positive semidefinite, by
    two eigendecompositions with negative rounding cut at 0: singular covariances, as from fewer
    rows than columns, need no regularisation and no complex root.

    Raises:
        UsageError: fewer than two rows, other widths, or values that are not finite.
    """
    for rows in (real, found):
        if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] != real.shape[1]:
            raise UsageError(
                f"Fréchet distance of {real.shape} and {found.shape}",
                "give two sets of at least 2 rows of equal width",
            )
        if not np.isfinite(rows).all():
            raise UsageError("Fréchet distance of values that are not finite", "leave them out")
    (mean_1, covariance_1), (mean_2, covariance_2) = _moments(real), _moments(found)
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ covariance_2 @ root)
    cross = np.sum(np.sqrt(np.maximum(product, 0.0)))
    apart = np.sum(np.square(mean_1 - mean_2))
    spread = np.trace(covariance_1) + np.trace(covariance_2) - 2.0 * cross
    return float(max(0.0, apart + spread))


def conditional_consistency(
    predict: Callable[[Values], NDArray[np.integer[Any]]],
    samples: Values,
    asked: NDArray[np.integer[Any]],
) -> float:
    """The share of conditional samples that a classifier gives the class they were asked for.

    Args:
        predict: labels (n,) of samples (n, …), of a classifier trained on real data.
        samples: drawn with the class `asked`.
        asked: (n,) labels, n ≥ 1.

    Raises:
        UsageError: the numbers of samples, labels and predictions differ or are 0.
    """
    found = np.asarray(predict(samples))
    if not len(samples) or found.shape != asked.shape or len(samples) != len(asked):
        raise UsageError(
            f"{len(samples)} samples, {asked.shape} labels, {found.shape} predictions",
            "give one label and one prediction a sample",
        )
    return float(np.mean(found == asked))


def _same_shape(reference: Values, found: Values) -> None:
    if reference.shape != found.shape or reference.size == 0:
        raise UsageError(
            f"shapes {reference.shape} and {found.shape} cannot be compared", "give equal shapes"
        )


def _unit_rows(rows: Values) -> Floats:
    wide = rows.astype(np.float64)
    norm = np.linalg.norm(wide, axis=-1, keepdims=True)
    return np.asarray(wide / np.where(norm > 0.0, norm, 1.0))


def _moments(rows: Values) -> tuple[Floats, Floats]:
    wide = rows.astype(np.float64)
    mean = wide.mean(axis=0)
    centred = wide - mean
    return mean, centred.T @ centred / (len(wide) - 1)
