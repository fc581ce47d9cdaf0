"""How well scores tell members from others: ROC, AUC, true positives at few false ones.

Averages hide what matters: an attack that is sure of a few members and guesses on the rest has
an AUC near 1/2 and a high true positive rate at 1 % false ones, so both are given (Carlini et al.
2022, arXiv 2112.03570).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import beta, rankdata

from feddiff_privacy.attacks.guesses import CONFIDENCE
from feddiff_privacy.errors import AuditError

LOW_FPR = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Roc:
    """The receiver operating characteristic of membership scores.

    Attributes:
        fpr: false positive rates, increasing from 0 to 1.
        tpr: true positive rate at each.
        auc: probability that a member scores above another (ties count half).
        positives: number of members. negatives: number of others.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    auc: float
    positives: int
    negatives: int

    def tpr_at(self, fpr: float = LOW_FPR) -> float:
        """The largest true positive rate among thresholds with at most this false one."""
        return float(self.tpr[np.searchsorted(self.fpr, fpr, side="right") - 1])


def roc(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> Roc:
    """The ROC over all thresholds; equal scores move together.

    Args:
        scores: (n,), higher means more likely a member; finite.
        member: (n,), the truth; both kinds present.

    Raises:
        AuditError: scores that are not finite, or one kind only.
    """
    positives, negatives = int(member.sum()), int((~member).sum())
    if min(positives, negatives) < 1 or not np.isfinite(scores).all():
        raise AuditError(f"need finite scores of both kinds, got {positives} and {negatives}")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # the end of each run of equal scores
    hits = np.cumsum(member[order])[last]
    alarms = np.cumsum(~member[order])[last]
    ranks = float(rankdata(scores)[member].sum())
    auc = (ranks - positives * (positives + 1) / 2) / (positives * negatives)
    return Roc(
        fpr=np.concatenate([[0.0], alarms / negatives]),
        tpr=np.concatenate([[0.0], hits / positives]),
        auc=float(auc),
        positives=positives,
        negatives=negatives,
    )


def clopper_pearson(
    hits: float, trials: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Two-sided interval of a proportion (Clopper and Pearson 1934), by quantiles of the beta.

    Args:
        hits: successes, 0..trials; a fraction where trials were counted down for dependence.
        trials: > 0.
        confidence: of the interval.

    Raises:
        AuditError: numbers outside their range.
    """
    if not (trials > 0 and 0 <= hits <= trials):
        raise AuditError(f"need 0 <= hits <= trials and trials above 0, got {hits} of {trials}")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, trials - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def auc_interval(
    auc: float, positives: float, negatives: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Two-sided normal interval of an AUC by the variance of Hanley and McNeil 1982.

    Args:
        auc: in [0, 1].
        positives: number of independent members. negatives: of independent others.
        confidence: of the interval.
    """
    one = auc / (2 - auc)  # two members above one other
    two = 2 * auc**2 / (1 + auc)  # one member above two others
    variance = (
        auc * (1 - auc) + (positives - 1) * (one - auc**2) + (negatives - 1) * (two - auc**2)
    ) / (positives * negatives)
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt(max(variance, 0.0))
    return max(0.0, auc - half), min(1.0, auc + half)
