"""Accuracy of a land-cover map against reference labels.

Overall accuracy, average accuracy and Cohen's kappa as in R. G. Congalton, "A review of
assessing the accuracy of classifications of remotely sensed data", Remote Sensing of
Environment 37 (1991), and J. Cohen, Educational and Psychological Measurement 20 (1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.errors import DataError


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Agreement between reference and predicted labels.

    Attributes:
        classes: the class names.
        oa: overall accuracy, the share of pixels that agree, 0..1.
        aa: average accuracy, the mean recall over the classes present in the reference, 0..1.
        kappa: agreement beyond chance, (oa − p) / (1 − p) with p the product of the margins;
            0 where p is 1 (one class only, everywhere).
        per_class: recall of each class, None where the reference has no pixel of it.
        confusion: int64 (K, K), reference class by row, predicted class by column.
        n_test: pixels compared.
    """

    classes: tuple[str, ...]
    oa: float
    aa: float
    kappa: float
    per_class: tuple[float | None, ...]
    confusion: NDArray[np.int64]
    n_test: int

    @classmethod
    def from_labels(
        cls, true: NDArray[Any], predicted: NDArray[Any], classes: tuple[str, ...]
    ) -> Accuracy:
        """Compares two label arrays of one shape; pixels whose reference is 0 are left out.

        Args:
            true: integers 0..K, 0 = unlabelled.
            predicted: integers 1..K wherever `true` is labelled.
            classes: the K names.

        Raises:
            DataError: nothing is labelled.
            ValueError: shapes differ, or a label lies outside its range.
        """
        if true.shape != predicted.shape:
            raise ValueError(f"shapes {true.shape} and {predicted.shape} differ")
        labelled = true != 0
        rows, cols = true[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
        if rows.size == 0:
            raise DataError("the test part has no labelled pixel", "give labelled test data")
        count = len(classes)
        for name, labels in (("true", rows), ("predicted", cols)):
            if labels.min() < 1 or labels.max() > count:
                raise ValueError(f"{name} labels leave 1..{count}")
        confusion = np.bincount((rows - 1) * count + cols - 1, minlength=count * count)
        return cls.from_confusion(confusion.reshape(count, count), classes)

    @classmethod
    def from_confusion(cls, confusion: NDArray[np.int64], classes: tuple[str, ...]) -> Accuracy:
        """The figures of a (K, K) confusion matrix with at least one pixel."""
        total = int(confusion.sum())
        reference, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
        recall = [
            int(confusion[k, k]) / int(reference[k]) if reference[k] else None
            for k in range(len(classes))
        ]
        oa = int(np.trace(confusion)) / total
        chance = float(np.dot(reference / total, predicted / total))
        return cls(
            classes=classes,
            oa=oa,
            aa=float(np.mean([value for value in recall if value is not None])),
            kappa=(oa - chance) / (1.0 - chance) if chance < 1.0 else 0.0,
            per_class=tuple(recall),
            confusion=confusion.astype(np.int64),
            n_test=total,
        )

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON-ready values, recall by class name."""
        return {
            "oa": self.oa,
            "aa": self.aa,
            "kappa": self.kappa,
            "per_class": dict(zip(self.classes, self.per_class, strict=True)),
            "confusion": self.confusion.tolist(),
            "n_test": self.n_test,
        }
