"""LiRA, the likelihood ratio attack: was this tile in the training data of that model?

Source: Carlini et al. 2022, "Membership Inference Attacks From First Principles" (arXiv
2112.03570). Shadow models are trained with and without each tile; the attacker
fits one normal distribution to the tile's confidence in either kind, and compares the confidence
that the attacked model has. With fewer than 64 shadow models variances of single tiles are too
noisy, so one variance is shared by all tiles (their section VI-B).

The confidence is the logit of the probability of the true class, log(p / (1 − p)), which is about
normal where p is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from feddiff_privacy.errors import AuditError

FEW_SHADOWS = 64
_LEAST_STD = 1e-9

Array = NDArray[np.float64]


def logit_confidence(scores: Array, labels: NDArray[np.int64]) -> Array:
    """log(p / (1 − p)) of the true class, without leaving the logarithms.

    Args:
        scores: class scores (n, K), K ≥ 2.
        labels: (n,), from 0.

    Returns:
        (n,): the true class's score less the log-sum-exp of the others'.
    """
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return np.asarray(scores[rows, labels] - logsumexp(others, axis=1))


def online_scores(attacked: Array, shadows: Array, member: NDArray[np.bool_]) -> Array:
    """Log-likelihood ratio of "in" against "out" for every tile.

    Args:
        attacked: (tiles,), confidences of the attacked model.
        shadows: (models, tiles), confidences of the shadow models.
        member: (models, tiles), whether a shadow model was trained on a tile; every tile needs
            a model of either kind.

    Raises:
        AuditError: shapes that do not fit, or a tile without a model of either kind.
    """
    _check(attacked, shadows, member)
    return _log_normal(attacked, *_fit(shadows, member)) - _log_normal(
        attacked, *_fit(shadows, ~member)
    )


def offline_scores(attacked: Array, shadows: Array, member: NDArray[np.bool_]) -> Array:
    """Probability that a model without the tile is less confident than the attacked one.

    Needs shadow models without the tile only, so the attacker may train them before it knows
    the tile. Arguments and errors as for `online_scores`.
    """
    _check(attacked, shadows, member)
    mean, std = _fit(shadows, ~member)
    return np.asarray(ndtr((attacked - mean) / std))


def _check(attacked: Array, shadows: Array, member: NDArray[np.bool_]) -> None:
    if shadows.shape != member.shape or shadows.shape[1:] != attacked.shape:
        raise AuditError(f"shapes differ: {attacked.shape}, {shadows.shape}, {member.shape}")
    if not (np.isfinite(attacked).all() and np.isfinite(shadows).all()):
        raise AuditError("confidences have to be finite")
    if not (member.any(axis=0).all() and (~member).any(axis=0).all()):
        raise AuditError("every tile needs a shadow model with it and one without it")


def _fit(shadows: Array, kind: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Mean of each tile over the models of one kind, and its standard deviation."""
    count = kind.sum(axis=0)
    mean = np.where(kind, shadows, 0.0).sum(axis=0) / count
    squares = np.where(kind, (shadows - mean) ** 2, 0.0).sum(axis=0)
    if len(shadows) < FEW_SHADOWS:
        shared = squares.sum() / max(1.0, float((count - 1).sum()))
        variance = np.full_like(mean, shared)
    else:
        variance = squares / np.maximum(count - 1, 1)
    return mean, np.maximum(np.sqrt(variance), _LEAST_STD)


def _log_normal(value: Array, mean: Array, std: Array) -> Array:
    """Log density up to the constant that both kinds share."""
    return np.asarray(-0.5 * ((value - mean) / std) ** 2 - np.log(std))
