"""Accuracy figures against scikit-learn, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
)

from feddiff_secure.errors import DataError
from feddiff_secure.report.accuracy import Accuracy

CLASSES = ("a", "b", "c", "d")


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(8, 200), agree=st.floats(0.0, 0.9))
def test_figures_agree_with_scikit_learn(seed: int, count: int, agree: float) -> None:
    rng = np.random.default_rng(seed)
    true = np.concatenate([[1, 2, 3, 4], rng.integers(1, 5, count)])
    guess = rng.integers(1, 5, true.size)
    predicted = np.where(rng.random(true.size) < agree, true, guess)
    found = Accuracy.from_labels(true, predicted, CLASSES)
    assert found.oa == pytest.approx(accuracy_score(true, predicted))
    assert found.aa == pytest.approx(balanced_accuracy_score(true, predicted))
    assert found.kappa == pytest.approx(cohen_kappa_score(true, predicted))
    assert np.array_equal(found.confusion, confusion_matrix(true, predicted, labels=[1, 2, 3, 4]))
    assert found.n_test == true.size


def test_average_accuracy_is_over_the_classes_present() -> None:
    found = Accuracy.from_labels(np.array([1, 1, 2]), np.array([1, 4, 2]), CLASSES)
    assert found.per_class == (0.5, 1.0, None, None)
    assert found.aa == 0.75


def test_unlabelled_pixels_do_not_count() -> None:
    true = np.array([[0, 1], [2, 0]])
    found = Accuracy.from_labels(true, np.array([[3, 1], [2, 0]]), CLASSES)
    assert (found.oa, found.n_test) == (1.0, 2)


def test_one_class_everywhere_has_no_agreement_beyond_chance() -> None:
    assert Accuracy.from_labels(np.ones(5, int), np.ones(5, int), CLASSES).kappa == 0.0


def test_no_labelled_pixel_is_refused() -> None:
    with pytest.raises(DataError, match="no labelled pixel"):
        Accuracy.from_labels(np.zeros(5, int), np.ones(5, int), CLASSES)


@pytest.mark.parametrize(("true", "predicted"), [([1, 5], [1, 1]), ([1, 2], [0, 1])])
def test_labels_outside_the_classes_are_a_caller_error(
    true: list[int], predicted: list[int]
) -> None:
    with pytest.raises(ValueError, match=r"labels leave 1\.\.4"):
        Accuracy.from_labels(np.array(true), np.array(predicted), CLASSES)
