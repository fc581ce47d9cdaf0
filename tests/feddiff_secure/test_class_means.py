"""The class means of the other modality: their release, what it costs, and what is made of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.clipping import TileExamples, clipped_class_sum, clipped_sum, softmax_errors
from feddiff_secure.aggregation.centring import Block
from feddiff_secure.aggregation.class_means import (
    class_scores,
    released_class_means,
    with_constants,
)
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.context import round_context
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.local_model import LocalModel, split_query
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.releases import releases
from feddiff_secure.federation.step_size import update_rule
from feddiff_secure.federation.topology_statement import ground_row
from feddiff_secure.federation.training import Trained, train
from tests.support.federations import Federation

K = 4
BLOCKS = (
    Block("hsi", 6, 0.55, constant=False),
    Block("hsi", 1, 0.05, constant=True),
    Block("lidar", 5, 0.35, constant=False),
    Block("lidar", 1, 0.05, constant=True),
)
HSI, D = 7, 13
OF_HSI = np.arange(D) < HSI
CENTRE = np.stack([np.full(D, 0.02), np.full(D, 1.1)]) * ~np.isin(np.arange(D), (6, 12))


def psi(rng: np.random.Generator, labels: NDArray[np.int64], modality: str) -> NDArray[np.float64]:
    """ψ of one modality: classes 0 and 1 differ in HSI alone, 2 and 3 in LiDAR alone."""
    out = np.zeros((len(labels), D))
    start = 0
    for block in BLOCKS:
        at = slice(start, start + block.columns)
        start = at.stop
        if block.modality != modality:
            continue
        if block.constant:
            out[:, at] = math.sqrt(block.share)
            continue
        told = np.array([0, 1, 2, 2] if modality == "hsi" else [0, 0, 1, 2])[labels]
        values = 0.5 * rng.standard_normal((len(labels), block.columns))
        values[np.arange(len(labels)), told] += 2
        out[:, at] = values / np.linalg.norm(values, axis=1, keepdims=True) * block.share**0.5
    return out


def held(modality: str, seed: int, tiles: int = 60) -> TileExamples:
    """One owner's tiles of one or two pixels; the ground and its labels depend on no modality."""
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(tiles), rng.integers(1, 3, tiles))
    labels = rng.integers(0, K, len(tile))
    return TileExamples.group(psi(rng, labels, modality), labels, tile)


def plan_of(owners: int = 2, **options: object) -> Plan:
    given = {"rounds": 3, "delta": 1e-4, "topology": "split", "nominal_tiles": 120, **options}
    return make_plan(
        RunConfig(**given),  # type: ignore[arg-type]  # one dict of options
        session=bytes(16),
        owners=tuple(f"owner-{i:03d}" for i in range(1, owners + 1)),
        tile=1,
        classes=K,
        features=D,
        hsi_features=HSI,
        blocks=BLOCKS if given.get("centring", True) else None,
    )


def trained(plan: Plan, seed: int = 0) -> tuple[Trained, Federation]:
    federation = Federation.of(plan, [held("hsi", seed), held("lidar", seed)])
    quiet = {"log": lambda _line: None, "progress": Silent()}
    parties = (federation.exchange, federation.registry, plan)
    if plan.aggregation == "encrypted":
        events = train_encrypted(*parties, **quiet)
        return delivered_model(list(federation.owners.values()), plan, events), federation
    return train(*parties, check_count=lambda _tiles: None, **quiet), federation


@given(seed=st.integers(0, 2**32 - 1), tiles=st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_one_tile_moves_the_class_sums_by_at_most_one(seed: int, tiles: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((3 * tiles, D)) * rng.choice([0.1, 1, 100])
    labels, tile = rng.integers(0, K, 3 * tiles), np.repeat(np.arange(tiles), 3)
    whole = clipped_class_sum(TileExamples.group(features, labels, tile), K)
    rest = clipped_class_sum(TileExamples.group(features[3:], labels[3:], tile[3:]), K)
    assert np.linalg.norm(whole - rest) <= 1.0 + 1e-12


def test_a_tile_that_is_not_finite_adds_nothing_to_the_class_sums() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 2])
    features = psi(rng, labels, "hsi")
    features[1, 3] = np.inf
    found = clipped_class_sum(TileExamples.group(features, labels, np.array([0, 0, 1, 1])), K)
    assert not found[:2].any()
    assert np.allclose(found[2], features[2:].mean(axis=0))


def test_released_class_means_are_those_of_the_tiles_and_count_them() -> None:
    examples = held("lidar", 3)
    plan = plan_of(epsilon=math.inf, class_means=True)
    scale = plan.grid("classes").scale
    shown = examples.with_features(with_constants(examples.features, CENTRE, BLOCKS))
    total = np.rint(clipped_class_sum(shown, K) * scale).astype(np.int64).ravel()
    means = released_class_means(total, BLOCKS, scale)
    weight = 1 / np.repeat(*(np.diff(np.append(examples.starts, len(examples.labels))),) * 2)
    centred = (examples.features - CENTRE[0]) * CENTRE[1]
    for label in range(K):
        of = examples.labels == label
        assert means[label, 12] == pytest.approx(weight[of].sum(), abs=0.05)
        assert np.allclose(
            means[label, HSI:12], np.average(centred[of, HSI:12], 0, weight[of]), atol=0.01
        )
    assert np.isfinite(released_class_means(np.full(K * D, -(2**31)), BLOCKS, scale)).all()


def test_an_owner_adds_the_other_modalitys_scores_at_its_class_means_and_none_of_its_own() -> None:
    rng = np.random.default_rng(1)
    weights, means = rng.standard_normal((2, K, D))
    means[:, [6, 12]] = 25
    none = np.zeros(D)
    for columns, mine in ((slice(HSI, 12), OF_HSI), (slice(0, 6), ~OF_HSI)):
        direct = means[:, columns] @ weights[:, columns].T
        direct -= direct.mean(axis=1, keepdims=True)
        assert np.allclose(class_scores(weights, means, none, BLOCKS, mine), direct)
        shifted = weights + rng.standard_normal(D)  # the same softmax
        assert np.allclose(class_scores(shifted, means, none, BLOCKS, mine), direct)
    assert not class_scores(weights, means, none, BLOCKS, np.ones(D, bool)).any()


def test_class_scores_that_are_noise_are_taken_off_and_those_that_are_not_stay() -> None:
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((K, D))
    noise, tiles = np.full(D, 3.0), 30.0
    left, size = 0.0, 0.0
    for _ in range(400):
        means = noise / tiles * rng.standard_normal((K, D))
        means[:, [6, 12]] = tiles
        left += np.square(class_scores(weights, means, noise, BLOCKS, OF_HSI)).sum()
        size += np.square(class_scores(weights, means, noise * 0, BLOCKS, OF_HSI)).sum()
    assert left < 0.15 * size  # James and Stein's own factor leaves 0.3
    means = 10 * rng.standard_normal((K, D))
    means[:, [6, 12]] = tiles
    kept = class_scores(weights, means, noise, BLOCKS, OF_HSI)
    whole = class_scores(weights, means, noise * 0, BLOCKS, OF_HSI)
    assert np.allclose(kept, whole, rtol=0.02)


def test_the_gradient_is_of_the_fused_softmax_with_the_other_modality_at_its_class_mean() -> None:
    examples = held("hsi", 4, tiles=5)
    rng = np.random.default_rng(4)
    weights, besides = rng.standard_normal((K, D)), rng.standard_normal((K, K))
    variable = torch.tensor(weights, requires_grad=True)
    scores = torch.tensor(examples.features) @ variable.T + torch.tensor(besides[examples.labels])
    loss = torch.nn.functional.cross_entropy(scores, torch.tensor(examples.labels), reduction="sum")
    (wanted,) = torch.autograd.grad(loss, variable)
    found = softmax_errors(examples, weights, besides).T @ examples.features
    assert np.allclose(found, wanted.numpy())


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1e-3, 1.0, 1e6, 1e300]))
@settings(max_examples=40, deadline=None)
def test_whatever_class_means_are_shown_a_tile_is_clipped(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    examples = held("hsi", seed, tiles=1)
    means = rng.standard_normal((K, D)) * size
    with np.errstate(all="ignore"):
        besides = class_scores(
            rng.standard_normal((K, D)) * size, means, np.ones(D), BLOCKS, OF_HSI
        )
        found = clipped_sum(examples, rng.standard_normal((K, D)), 0.25, np.ones(1, bool), besides)
    assert np.linalg.norm(found) <= 0.25


def test_only_split_plans_with_a_mean_release_class_means_and_from_epsilon_four_by_default() -> (
    None
):
    for epsilon_, released in (
        (1.0, False),
        (2.0, False),
        (4.0, True),
        (8.0, True),
        (math.inf, False),
    ):
        assert RunConfig(topology="split", epsilon=epsilon_).releases_class_means is released
    assert RunConfig(topology="split", epsilon=1.0, class_means=True).releases_class_means
    assert not RunConfig(topology="split", class_means=False).releases_class_means
    assert not RunConfig().releases_class_means
    assert not RunConfig(topology="split", centring=False).releases_class_means
    for wrong in ({"topology": "mixed"}, {"topology": "split", "centring": False}):
        with pytest.raises(UsageError, match="class_means"):
            RunConfig(class_means=True, **wrong)  # type: ignore[arg-type]  # one dict of options
    plan = plan_of(epsilon=8.0)
    assert list(plan.phases) == ["mean", "classes", "train"]
    check_plan(plan)
    paired = replace(plan, topology="paired", holds=None, hsi_features=None)
    with pytest.raises(ValueError, match="class means with topology paired"):
        check_plan(paired)
    with pytest.raises(ValueError, match="class means"):
        check_plan(replace(plan, blocks=None, mean_share_std=None))


def test_owners_refuse_class_means_with_less_noise_than_their_epsilon_needs() -> None:
    plan = plan_of(epsilon=8.0)
    assert plan.class_share_std is not None
    realised = epsilon(plan.events(), shares=plan.calibrated_shares, delta=plan.delta)
    assert 0.99 * 8 <= realised <= 8
    alone = epsilon([plan.event("classes", 1)], shares=1, delta=plan.delta)
    assert 1 < alone < 4  # a tenth of μ²
    with pytest.raises(ValueError, match="epsilon is"):
        check_plan(replace(plan, class_share_std=plan.class_share_std / 2))
    with pytest.raises(ValueError, match="class share"):
        check_plan(replace(plan, class_share_std=0.0))


def test_the_ground_counts_both_owners_releases_of_the_class_means() -> None:
    plan = plan_of(epsilon=8.0)
    rows = [
        ground_row(plan, [event for event in plan.events() if event.phase != left_out])
        for left_out in ("", "classes")
    ]
    assert rows[0] is not None
    assert rows[1] is not None
    assert rows[0].epsilon > rows[1].epsilon


@pytest.mark.parametrize("owners", [2, 4])
def test_class_means_of_a_modality_have_noise_of_their_own_in_its_columns(owners: int) -> None:
    plan = plan_of(owners, epsilon=8.0)
    first, whole = plan.owner_noise("owner-001", "classes"), plan.total_noise("classes")
    assert isinstance(first, np.ndarray)
    assert first.shape == whole.shape == (K * D,)
    for row in range(K):
        of_lidar = slice(row * D + HSI, (row + 1) * D)
        assert first[of_lidar].any() == (owners == 4)  # a single holder's columns are its own
    event = plan.event("classes", 1)
    assert whole.min() >= event.share_std * math.sqrt(plan.calibrated_shares) * (1 - 1e-12)


def test_no_two_releases_share_a_context() -> None:
    plan = plan_of(epsilon=8.0, nominal_tiles=None)
    origin = np.zeros((1, 1))
    contexts = [round_context(plan, p, (r, 0), origin).round_index for p, r in releases(plan)]
    assert len(set(contexts)) == len(contexts) == 3 + plan.rounds


def test_every_way_of_summing_gives_the_same_model_with_class_means() -> None:
    made = [
        trained(plan_of(epsilon=math.inf, class_means=True, aggregation=way))[0].weights
        for way in ("plain", "masked", "encrypted")
    ]
    assert all(np.array_equal(weights, made[0]) for weights in made[1:])
    without = trained(plan_of(epsilon=math.inf))[0].weights
    assert not np.allclose(without, made[0])


def test_owners_are_shown_the_class_means_that_the_sum_gives() -> None:
    plan = plan_of(epsilon=math.inf, class_means=True)
    _, federation = trained(plan)
    queries = [
        sent.request
        for sent in federation.exchange.replies("train")
        if sent.request["phase"] == "train"
    ]
    shown = queries[0]["weights"]
    assert isinstance(shown, np.ndarray)
    assert shown.shape == plan.query_shape("train") == (2 * K + 2, D)
    found = split_query(shown, plan)
    assert found.centre is not None
    assert found.means is not None
    for modality, columns, constant in (("hsi", slice(0, 6), 6), ("lidar", slice(HSI, 12), 12)):
        examples = held(modality, 0)
        centred = with_constants(examples.features, found.centre, BLOCKS)
        direct = clipped_class_sum(examples.with_features(centred), K)
        tiles = direct[:, constant] / math.sqrt(0.05)
        assert np.allclose(found.means[:, constant], tiles, atol=0.05)
        assert np.allclose(found.means[:, columns], direct[:, columns] / tiles[:, None], atol=1e-3)


def test_a_model_goes_on_from_its_state_after_the_class_means_and_not_without_them() -> None:
    plan = plan_of(epsilon=math.inf, class_means=True)
    model, rng = LocalModel(plan), np.random.default_rng(5)
    totals = {p: rng.integers(-900, 900, plan.grid(p).dimension) for p in plan.phases}
    for phase, wrong in (("mean", "classes"), ("classes", "train"), ("train", "classes")):
        assert model.in_step(phase, 0)
        assert not model.in_step(wrong, 0)
        model.apply(totals[phase], phase)
        again = LocalModel.restored(plan, model.state())
        assert np.array_equal(again.query, model.query)
    state = model.state()
    rest = {name: array for name, array in state.arrays.items() if name != "class_means"}
    with pytest.raises(ValueError, match="class means"):
        LocalModel.restored(plan, replace(state, arrays=rest))
    less = plan_of(epsilon=math.inf)
    with pytest.raises(ValueError, match="arrays"):
        LocalModel.restored(less, state)


def test_each_part_learns_what_the_other_leaves_undecided() -> None:
    """Classes 2 and 3 look alike in HSI: knowing that LiDAR tells them, HSI does not guess."""
    apart = plan_of(epsilon=math.inf, rounds=40)
    together = plan_of(epsilon=math.inf, rounds=40, class_means=True)
    test = [held(modality, 9, tiles=400) for modality in ("hsi", "lidar")]
    losses = []
    for plan in (apart, together):
        weights = trained(plan)[0].weights
        scores = sum(part.features @ weights.T for part in test)
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        losses.append(-scores[np.arange(len(scores)), test[0].labels].mean())
    assert losses[1] < losses[0]


def test_the_noise_of_the_fused_score_is_the_rules_where_class_means_are_released() -> None:
    def kappa(plan: Plan) -> float:
        rule = update_rule(plan, 120)
        effective = rule.step_size * plan.clip / (1 - rule.momentum)
        return effective * plan.noise_multiplier * math.sqrt(plan.rounds) / rule.denominator

    noisy = plan_of(epsilon=8.0, rounds=60)
    assert kappa(noisy) == pytest.approx(1.25)
    alone = plan_of(epsilon=8.0, rounds=60, class_means=False)
    assert kappa(alone) == pytest.approx(1.25 * math.sqrt(2))
