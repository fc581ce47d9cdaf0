"""Membership inference by shadow runs: what is remembered without noise is hidden with it."""

from __future__ import annotations

import numpy as np
import pytest

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.attack.shadows import (
    Membership,
    membership_inference,
    pooled,
    take_tiles,
    tile_confidences,
)
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent

CLASSES, FEATURES = 3, 128
NAMES = ("owner-001", "owner-002", "owner-003")


def unlearnable(seed: int, count: int = 40) -> TileExamples:
    """Tiles whose labels have nothing to do with their features: a model can only remember."""
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(count), 2)
    psi = rng.standard_normal((len(tile), FEATURES))
    labels = rng.integers(0, CLASSES, count)[tile]
    return TileExamples.group(psi / np.linalg.norm(psi, axis=1, keepdims=True), labels, tile)


def attacked(epsilon: float) -> Membership:
    plan = make_plan(
        RunConfig(epsilon=epsilon, rounds=5, nominal_tiles=60),
        session=bytes(16),
        owners=NAMES,
        tile=1,
        classes=CLASSES,
        features=FEATURES,
    )
    return membership_inference(
        plan,
        {name: unlearnable(i) for i, name in enumerate(NAMES)},
        shadows=8,
        rng=np.random.default_rng(0),
        progress=Silent(),
    )


def test_a_non_private_run_leaks_measurably_more_than_a_private_one() -> None:
    private, baseline = attacked(1.0), attacked(np.inf)
    assert baseline.auc_interval[0] > 0.8
    assert private.auc_interval[1] < 0.75
    assert baseline.tpr_interval[0] > private.tpr_interval[1]
    for found in (private, baseline):
        assert found.auc_interval[0] <= found.curve.auc <= found.auc_interval[1]
        assert found.tpr_interval[0] <= found.tpr <= found.tpr_interval[1]
        assert found.curve.positives + found.curve.negatives == found.pool * found.attacked


@pytest.mark.parametrize("shadows", [2, 5])
def test_too_few_or_an_odd_number_of_shadow_models_is_refused(shadows: int) -> None:
    plan = make_plan(
        RunConfig(epsilon=1.0, rounds=1),
        session=bytes(16),
        owners=NAMES,
        tile=1,
        classes=CLASSES,
        features=FEATURES,
    )
    with pytest.raises(UsageError, match="shadows"):
        membership_inference(
            plan, {}, shadows=shadows, rng=np.random.default_rng(0), progress=Silent()
        )


def test_the_pool_takes_the_same_share_of_every_owner() -> None:
    owners = {"a": unlearnable(0, 40), "b": unlearnable(1, 20)}
    pool = pooled(owners, 30, np.random.default_rng(0))
    assert {name: held.tiles for name, held in pool.items()} == {"a": 20, "b": 10}
    assert pooled(owners, 100, np.random.default_rng(0))["a"].tiles == 40


def test_taking_tiles_keeps_their_examples_and_confidences() -> None:
    held = unlearnable(3, 10)
    weights = np.random.default_rng(1).standard_normal((CLASSES, FEATURES))
    chosen = np.arange(10) % 3 == 0
    part = take_tiles(held, chosen)
    assert part.tiles == 4
    np.testing.assert_allclose(
        tile_confidences({"a": part}, weights), tile_confidences({"a": held}, weights)[chosen]
    )
