"""Conditional consistency, class by class, and what it would be if the class were ignored.

A classifier trained on real data reads samples that a branch drew of a class it was asked for. Its
answers agree with the request as far as the branch follows the class, and as far as the classifier
can tell classes apart at all: its accuracy on real data held out belongs beside every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.model.quality import Values, conditional_consistency


@dataclass(frozen=True)
class ClassConsistency:
    """Agreement of a classifier with what was asked for.

    Attributes:
        overall: share of all samples, 0…1.
        by_class: share of each class's samples, by label.
        chance: agreement to expect if the same answers had nothing to do with the request:
            Σ_k share asked for k × share answered k (as in Cohen's κ, 1960).
    """

    overall: float
    by_class: Mapping[int, float]
    chance: float


def class_consistency(
    predict: Callable[[Values], NDArray[np.integer[Any]]],
    samples: Values,
    asked: NDArray[np.integer[Any]],
) -> ClassConsistency:
    """`conditional_consistency`, also class by class and with its chance level.

    Args:
        predict: labels (n,) of samples (n, …), of a classifier trained on real data.
        samples: drawn with the class `asked`, or real ones and their label.
        asked: (n,) labels, n ≥ 1.

    Raises:
        UsageError: the numbers of samples, labels and predictions differ or are 0.
    """
    found = np.asarray(predict(samples))
    overall = conditional_consistency(lambda _: found, samples, asked)
    labels = np.unique(asked)
    return ClassConsistency(
        overall=overall,
        by_class={int(k): float(np.mean(found[asked == k] == k)) for k in labels},
        chance=float(sum(np.mean(asked == k) * np.mean(found == k) for k in labels)),
    )
