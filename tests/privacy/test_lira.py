"""Membership inference: ROC against counting out, LiRA on models that remember a known amount."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binom

from feddiff_privacy.attacks.lira import logit_confidence, offline_scores, online_scores
from feddiff_privacy.attacks.roc import auc_interval, clopper_pearson, roc
from feddiff_privacy.errors import AuditError


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_roc_is_what_counting_over_all_thresholds_gives(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs])
    member = np.array([kind for _, kind in pairs])
    if member.all() or not member.any():
        return
    found = roc(scores, member)
    wins = [
        1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[member] for b in scores[~member]
    ]
    assert found.auc == pytest.approx(float(np.mean(wins)))
    for limit in (0.0, 0.3, 1.0):
        best = max(
            float((scores[member] >= t).mean())
            for t in [*scores, math.inf]
            if (scores[~member] >= t).mean() <= limit
        )
        assert found.tpr_at(limit) == pytest.approx(best)


def test_clopper_pearson_has_its_coverage() -> None:
    for trials, chance in ((20, 0.1), (50, 0.5)):
        covered = 0.0
        for hits in range(trials + 1):
            low, high = clopper_pearson(hits, trials)
            covered += float(binom.pmf(hits, trials, chance)) * (low <= chance <= high)
        assert covered >= 0.95
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_auc_interval_covers_the_spread_of_repeats() -> None:
    rng = np.random.default_rng(0)
    truth = float(ndtr(1.0 / math.sqrt(2)))
    member = np.arange(200) < 100
    inside = 0
    for _ in range(200):
        low, high = auc_interval(roc(rng.standard_normal(200) + member, member).auc, 100, 100)
        inside += low <= truth <= high
    assert 180 <= inside <= 199


def test_logit_confidence_is_log_p_over_one_minus_p() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((50, 4)) * 3
    labels = rng.integers(0, 4, 50)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    true = p[np.arange(50), labels]
    assert logit_confidence(scores, labels) == pytest.approx(np.log(true / (1 - true)))
    sure = logit_confidence(np.array([[800.0, 0.0]]), np.array([0]))
    assert sure == pytest.approx(800.0)  # where p / (1 − p) would overflow


def _remembering(
    rng: np.random.Generator, models: int, tiles: int, gap: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences N(hardness + gap·in, 1); the hardness of tiles varies far more than the gap."""
    member = rng.random((models, tiles)) < 0.5
    hardness = rng.standard_normal(tiles) * 10
    return rng.standard_normal((models, tiles)) + hardness + gap * member, member


@pytest.mark.parametrize("models", [33, 129])  # a shared variance, and one a tile
@pytest.mark.parametrize("attack", [online_scores, offline_scores])
def test_lira_reaches_the_auc_of_the_known_gap(models: int, attack: object) -> None:
    rng = np.random.default_rng(2)
    confidence, member = _remembering(rng, models, 3000, 1.5)
    assert callable(attack)
    scores = attack(confidence[0], confidence[1:], member[1:])
    best = float(ndtr(1.5 / math.sqrt(2)))
    assert roc(scores, member[0]).auc == pytest.approx(best, abs=0.04)
    # a threshold on the raw confidence drowns in the hardness of tiles
    assert roc(confidence[0], member[0]).auc < 0.6


def test_lira_is_at_chance_where_nothing_is_remembered() -> None:
    confidence, member = _remembering(np.random.default_rng(3), 33, 3000, 0.0)
    scores = online_scores(confidence[0], confidence[1:], member[1:])
    assert roc(scores, member[0]).auc == pytest.approx(0.5, abs=0.05)


def test_a_tile_without_shadow_models_of_both_kinds_is_refused() -> None:
    member = np.array([[True, True], [False, True]])
    with pytest.raises(AuditError, match="with it and one without"):
        online_scores(np.zeros(2), np.zeros((2, 2)), member)


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(AuditError, match="both kinds"):
        roc(np.zeros(2), np.array([True, True]))
    with pytest.raises(AuditError, match="trials"):
        clopper_pearson(3, 2)
    with pytest.raises(AuditError, match="shapes"):
        online_scores(np.zeros(3), np.zeros((2, 2)), np.zeros((2, 2), dtype=np.bool_))
    with pytest.raises(AuditError, match="finite"):
        online_scores(np.array([math.inf]), np.zeros((2, 1)), np.array([[True], [False]]))
