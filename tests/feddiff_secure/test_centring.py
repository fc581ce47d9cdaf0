"""The mean of ψ as a release of its own: what is computed from it, and what it must not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.clipping import TileExamples, clipped_mean_sum
from feddiff_secure.aggregation.centring import (
    Block,
    centred,
    check_blocks,
    folded,
    released_centre,
)
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.context import round_context
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.local_model import LocalModel
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.releases import releases
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.topology_statement import ground_row
from feddiff_secure.federation.training import Trained, train
from tests.support.federations import CLASSES, Federation

BLOCKS = (
    Block("hsi", 6, 0.45, constant=False),
    Block("hsi", 4, 0.2, constant=False),
    Block("hsi", 1, 0.05, constant=True),
    Block("lidar", 5, 0.25, constant=False),
    Block("lidar", 1, 0.05, constant=True),
)
FEATURES = 17
LIDAR = slice(11, 17)


def psi(rng: np.random.Generator, examples: int, lidar: bool = True) -> np.ndarray:
    """ψ of pixels with a common mean, every block of its public norm."""
    found, start = np.zeros((examples, FEATURES)), 0
    shift = np.random.default_rng(99).standard_normal(FEATURES)
    for block in BLOCKS:
        at = slice(start, start + block.columns)
        start = at.stop
        if block.constant:
            found[:, at] = np.sqrt(block.share)
            continue
        values = shift[at] + rng.standard_normal((examples, block.columns))
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        found[:, at] = values / norms * np.sqrt(block.share)
    if not lidar:
        found[:, LIDAR] = 0
    return found


def held(seed: int, tiles: int = 40, lidar: bool = True) -> TileExamples:
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(tiles), rng.integers(1, 4, tiles))
    return TileExamples.group(psi(rng, len(tile), lidar), rng.integers(0, CLASSES, len(tile)), tile)


def plan_of(**options: object) -> Plan:
    config = RunConfig(**{"rounds": 3, "delta": 1e-4, **options})  # type: ignore[arg-type]  # one dict
    return make_plan(
        config,
        session=bytes(16),
        owners=tuple(f"owner-{i:03d}" for i in range(1, 5)),
        tile=1,
        classes=CLASSES,
        features=FEATURES,
        hsi_features=11,
        blocks=BLOCKS,
    )


def trained(plan: Plan, data: list[TileExamples]) -> tuple[Trained, Federation]:
    federation = Federation.of(plan, data)
    quiet = {"log": lambda _line: None, "progress": Silent()}
    if plan.aggregation == "encrypted":
        events = train_encrypted(federation.exchange, federation.registry, plan, **quiet)
        return delivered_model(list(federation.owners.values()), plan, events), federation
    made = train(
        federation.exchange, federation.registry, plan, check_count=lambda _tiles: None, **quiet
    )
    return made, federation


@given(seed=st.integers(0, 2**32 - 1), tiles=st.integers(1, 30))
@settings(max_examples=50, deadline=None)
def test_one_tile_moves_the_sum_of_means_by_at_most_one(seed: int, tiles: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((3 * tiles, FEATURES)) * rng.choice([0.1, 1, 100])
    tile = np.repeat(np.arange(tiles), 3)
    labels = np.zeros(3 * tiles, dtype=np.int64)
    whole = clipped_mean_sum(TileExamples.group(features, labels, tile))
    rest = clipped_mean_sum(TileExamples.group(features[3:], labels[3:], tile[3:]))
    assert np.linalg.norm(whole - rest) <= 1.0 + 1e-12


def test_a_tile_that_is_not_finite_adds_nothing_to_the_mean() -> None:
    features = psi(np.random.default_rng(0), 4)
    features[1, 3] = np.nan
    tile, labels = np.array([0, 0, 1, 1]), np.zeros(4, dtype=np.int64)
    whole = clipped_mean_sum(TileExamples.group(features, labels, tile))
    assert np.allclose(whole, features[2:].mean(axis=0))
    assert not clipped_mean_sum(TileExamples.group(features[:0], labels[:0], tile[:0])).any()


def test_without_noise_centred_features_have_mean_zero_and_norm_of_the_blocks() -> None:
    features = psi(np.random.default_rng(1), 500)
    total = np.rint(features.sum(axis=0) * 1e6).astype(np.int64)
    centre = released_centre(total, BLOCKS, 1e6, np.zeros(FEATURES))
    out = centred(features, centre, BLOCKS)
    assert np.abs(out.mean(axis=0)).max() < 1e-6
    squares = np.square(out).mean(axis=0)
    for block, at in zip(BLOCKS, (slice(0, 6), slice(6, 10), slice(10, 11), LIDAR), strict=False):
        if not block.constant and block.modality == "hsi":
            assert squares[at].sum() == pytest.approx(block.share, rel=1e-4)
    assert not out[:, 10].any()  # nothing is learnt from a constant


def test_the_mean_is_over_the_tiles_that_have_the_modality() -> None:
    rng = np.random.default_rng(2)
    both, alone = psi(rng, 100), psi(rng, 300, lidar=False)
    total = np.rint(np.concatenate([both, alone]).sum(axis=0) * 1e6).astype(np.int64)
    centre = released_centre(total, BLOCKS, 1e6, np.zeros(FEATURES))
    assert np.allclose(centre[0, 11:16], both[:, 11:16].mean(axis=0), atol=1e-6)
    assert not centred(alone, centre, BLOCKS)[:, LIDAR].any()  # what is absent stays absent


@given(seed=st.integers(0, 2**32 - 1), lidar=st.booleans())
@settings(max_examples=50, deadline=None)
def test_folded_weights_give_the_scores_of_centred_features(seed: int, lidar: bool) -> None:
    rng = np.random.default_rng(seed)
    features = psi(rng, 20, lidar)
    centre = np.stack([rng.standard_normal(FEATURES), rng.uniform(0.5, 4, FEATURES)])
    centre[:, [10, 16]] = 0
    weights = rng.standard_normal((CLASSES, FEATURES))
    expected = centred(features, centre, BLOCKS) @ weights.T
    assert np.allclose(features @ folded(weights, centre, BLOCKS).T, expected)


def test_a_mean_that_is_mostly_noise_is_shrunk_to_nothing() -> None:
    rng = np.random.default_rng(3)
    features = psi(rng, 50)
    noise_std = np.full(FEATURES, 1e6 * 50.0)
    total = np.rint(features.sum(axis=0) * 1e6 + rng.normal(0, 1e6, FEATURES)).astype(np.int64)
    centre = released_centre(total, BLOCKS, 1e6, noise_std)
    assert not centre[0].any()
    assert np.isfinite(centre).all()
    wild = released_centre(np.full(FEATURES, -(2**40)), BLOCKS, 1.0, np.zeros(FEATURES))
    assert np.isfinite(wild).all()
    assert wild[1].max() <= np.sqrt(20) + 1e-9


@pytest.mark.parametrize("aggregation", ["plain", "encrypted"])
def test_without_noise_every_way_of_summing_centres_alike(aggregation: str) -> None:
    data = [held(i) for i in range(4)]
    masked, _ = trained(plan_of(epsilon=float("inf")), data)
    other, _ = trained(plan_of(epsilon=float("inf"), aggregation=aggregation), data)
    assert masked.weights.tobytes() == other.weights.tobytes()
    assert [event.phase for event in other.events] == ["count", "mean", "train"]


def test_the_plan_accounts_for_the_mean() -> None:
    plan = plan_of(epsilon=8.0)
    assert [event.phase for event in plan.events()] == ["count", "mean", "train"]
    without = [event for event in plan.events() if event.phase != "mean"]
    shares = plan.calibrated_shares
    joint = epsilon(plan.events(), shares=shares, delta=plan.delta)
    assert 0.99 * 8 <= joint <= 8
    assert epsilon(without, shares=shares, delta=plan.delta) < 0.97 * joint
    assert plan.most_attempts("mean") == 1
    assert not plan.allows("mean", 1, 0)


def test_the_released_mean_has_the_noise_that_the_plan_names() -> None:
    plan = plan_of(epsilon=1.0, nominal_tiles=160)
    data = [held(i) for i in range(4)]
    exact = sum(clipped_mean_sum(part) for part in data)
    errors = []
    for _ in range(30):
        federation = Federation.of(plan, data)
        federation.agree()
        origin = np.zeros((CLASSES, FEATURES))
        total = secure_sum(
            federation.exchange, federation.registry, plan, Attempt("mean", 0, 0, origin)
        )
        errors.append(total - exact * plan.grid("mean").scale)
    expected = plan.total_noise("mean")
    assert expected == pytest.approx(np.full(FEATURES, 2 * plan.share("mean")))
    # 510 samples: the deviation of their deviation is 3 %.
    assert np.std(errors) == pytest.approx(expected[0], rel=0.15)


def test_an_owner_is_charged_for_the_mean_and_answers_once() -> None:
    plan = plan_of(epsilon=8.0)
    _, federation = trained(plan, [held(i) for i in range(4)])
    for owner in federation.owners.values():
        assert dict(owner.charged) == {"count": 1, "mean": 1, "train": 3}
    message = {"phase": "mean", "round": 0, "attempt": 0, "weights": np.zeros((CLASSES, FEATURES))}
    owner = next(iter(federation.owners.values()))
    assert owner.handle("train", message) == {"refused": "attempt_refused"}


def test_training_refuses_weights_without_a_centre() -> None:
    plan = plan_of(epsilon=8.0)
    federation = Federation.of(plan, [held(i) for i in range(4)])
    federation.agree()
    owner = federation.owners["owner-001"]
    message = {"phase": "train", "round": 0, "attempt": 0, "weights": np.zeros((CLASSES, FEATURES))}
    assert owner.handle("train", message) == {"refused": "weights_refused"}


def test_whatever_centre_is_shown_a_tile_is_clipped() -> None:
    plan = plan_of(epsilon=float("inf"), clip=0.5)
    data = [held(i, tiles=1) for i in range(4)]
    federation = Federation.of(plan, data)
    federation.agree()
    centre = np.stack([np.full(FEATURES, 1e3), np.full(FEATURES, 1e6)])
    query = np.concatenate([np.zeros((CLASSES, FEATURES)), centre])
    total = secure_sum(
        federation.exchange, federation.registry, plan, Attempt("train", 0, 0, query)
    )
    assert np.linalg.norm(total) <= 4 * 0.5 * plan.scale * 1.02


def test_a_single_holders_columns_of_the_mean_carry_its_own_noise() -> None:
    plan = plan_of(epsilon=8.0, topology="mixed", holds="hsi,hsi,hsi,lidar")
    own = np.asarray(plan.owner_noise("owner-004", "mean"))
    other = np.asarray(plan.owner_noise("owner-001", "mean"))
    assert not other[LIDAR].any()
    assert np.allclose(own[LIDAR], plan.sole_std("mean"))
    assert np.allclose(plan.total_noise("mean")[LIDAR], plan.sole_std("mean"))
    assert plan.grid("mean").dimension == FEATURES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mean_share_std": None}, "neither"),
        ({"mean_share_std": 0.5}, "mean share"),
        ({"blocks": BLOCKS[:-1]}, "columns"),
        ({"hsi_features": 10, "topology": "mixed", "holds": ("both",) * 4}, "columns of HSI"),
    ],
)
def test_a_plan_whose_mean_is_not_what_it_says_is_refused(
    change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        check_plan(replace(plan_of(epsilon=8.0), **change))  # type: ignore[arg-type]  # wrong on purpose


def test_less_noise_in_the_mean_is_noticed_by_the_owner() -> None:
    plan = plan_of(epsilon=8.0)
    assert plan.mean_share_std is not None
    check_plan(plan)
    with pytest.raises(ValueError, match="epsilon"):
        check_plan(replace(plan, mean_share_std=plan.mean_share_std / 4))


def test_blocks_are_checked() -> None:
    check_blocks(BLOCKS, FEATURES)
    for wrong, says in (
        ((*BLOCKS[:-1], Block("lidar", 1, 0.05, constant=False)), "one constant"),
        ((*BLOCKS[3:], *BLOCKS[:3]), "order"),
        ((replace(BLOCKS[0], share=0.9), *BLOCKS[1:]), "at most 1"),
        ((*BLOCKS[:2], *BLOCKS[3:], Block("lidar", 1, 0.01, constant=True)), "one constant"),
    ):
        with pytest.raises(ValueError, match=says):
            check_blocks(wrong, sum(block.columns for block in wrong))


def test_a_plan_with_blocks_is_read_back() -> None:
    plan = plan_of(epsilon=8.0)
    assert Plan.from_json(plan.to_json()) == plan
    text = plan.to_json().decode().replace('"columns":6', '"columns":6.5')
    with pytest.raises(ValueError, match="blocks"):
        Plan.from_json(text.encode())


def test_no_two_releases_of_a_plan_share_a_context() -> None:
    plan = plan_of(epsilon=8.0)
    found = {
        round_context(plan, phase, (index, 0), np.zeros((1, 1))).round_index
        for phase, index in releases(plan)
    }
    assert len(found) == 1 + 1 + plan.rounds


def test_split_ground_counts_both_owners_releases_of_the_mean() -> None:
    plan = plan_of(epsilon=8.0, topology="split")
    row, without = (
        ground_row(plan, [event for event in plan.events() if event.phase != left_out])
        for left_out in ("", "mean")
    )
    assert row is not None
    assert without is not None
    assert row.epsilon > without.epsilon


def test_the_ground_row_takes_the_mean_as_two_sums_of_disjoint_columns() -> None:
    plan = plan_of(epsilon=8.0, topology="split", owners=4)
    mean = [plan.event("mean", 1)]
    row = ground_row(plan, mean)
    assert row is not None
    twice = epsilon(mean * 2, shares=plan.calibrated_shares, delta=plan.delta)
    assert row.epsilon == pytest.approx(twice, rel=1e-6)


def test_the_sensitivity_of_the_mean_is_one_tile_of_norm_one_and_its_rounding() -> None:
    plan = plan_of(epsilon=8.0)
    grid = plan.grid("mean")
    assert plan.event("mean", 1).sensitivity == grid.sensitivity
    assert grid.sensitivity >= grid.scale + np.sqrt(FEATURES)
    data = [held(i, tiles=1) for i in range(4)]
    wild = [part.with_features(part.features * 1e3) for part in data]
    federation = Federation.of(plan_of(epsilon=float("inf")), wild)
    federation.agree()
    attempt = Attempt("mean", 0, 0, np.zeros((CLASSES, FEATURES)))
    total = secure_sum(federation.exchange, federation.registry, federation.plan, attempt)
    assert np.linalg.norm(total) <= 4 * grid.sensitivity


def test_observers_of_more_shares_face_a_single_holders_own_noise_in_the_mean() -> None:
    plan = plan_of(epsilon=8.0, topology="mixed", holds="hsi,hsi,hsi,lidar")
    assert plan.sole_std("mean") == plan.share("mean") * np.sqrt(plan.calibrated_shares)
    shares = plan.calibrated_shares + 1
    for event in plan.faced(plan.events(), shares):
        alone = plan.sole_std(event.phase) / np.sqrt(shares)
        expected = plan.share(event.phase) if event.phase == "count" else alone
        assert event.share_std == expected


def test_a_tile_that_is_not_finite_stays_out_of_centred_training() -> None:
    features = psi(np.random.default_rng(0), 6)
    features[0, 2] = np.nan
    tile = np.array([0, 0, 1, 1, 2, 2])
    examples = TileExamples.group(features, np.zeros(6, dtype=np.int64), tile)
    moved = examples.with_features(examples.features + 1.0)
    assert list(moved.finite) == [False, True, True]
    assert np.array_equal(moved.labels, examples.labels)


def test_an_owner_of_the_model_is_out_of_step_until_it_has_the_mean() -> None:
    model = LocalModel(plan_of(epsilon=8.0))
    assert model.in_step("count", 0)
    model.apply(np.array([160]), "count")
    assert model.in_step("mean", 0)
    assert not model.in_step("train", 0)
    model.apply(np.zeros(FEATURES, dtype=np.int64), "mean")
    assert model.in_step("train", 0)
    assert model.query.shape == (CLASSES + 2, FEATURES)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_centre_and_folding_are_the_same_bits_in_any_order_of_columns(seed: int) -> None:
    # What BLAS or a vectorised sum would give depends on the machine: owners would fall apart.
    rng = np.random.default_rng(seed)
    blocks = (Block("hsi", 300, 0.9, constant=False), Block("hsi", 1, 0.1, constant=True))
    order = np.append(rng.permutation(300), 300)
    total = rng.integers(-(10**6), 10**6, 301)
    total[300] = 10**7
    noise = rng.uniform(0, 1e3, 301)
    weights = rng.standard_normal((CLASSES, 301))
    one = released_centre(total, blocks, 1e4, noise)
    other = released_centre(total[order], blocks, 1e4, noise[order])
    assert one[:, order].tobytes() == other.tobytes()
    ahead = folded(weights, one, blocks)[:, order]
    assert ahead.tobytes() == folded(weights[:, order], other, blocks).tobytes()
