"""The phase `prior`: its noise, its place in a plan, its secure rounds, and the public rule."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.guarantee import Adjacency
from feddiff_secure.aggregation.adapting import (
    DECAY,
    STEP,
    Adaptation,
    AdapterState,
    from_rows,
    to_rows,
)
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.adversaries import CALIBRATED, adversaries
from feddiff_secure.federation.context import round_context
from feddiff_secure.federation.local_model import LocalModel, split_query
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.federation.private_values import PrivateValues
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.releases import Course, releases
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.training import Trained, train
from tests.support.federations import BLOCKS, CLASSES, FEATURES, Federation, examples

Array = NDArray[np.float64]
SIZE = 19  # three rows of 8 columns, the last not full
CLIP = 0.05


class Few(AdaptableTiles):
    """Tiles whose gradients are known, and whose ψ an adapter turns a little."""

    def __init__(self, held: TileExamples, seed: int) -> None:
        self.held = held
        self.gradients = np.random.default_rng(seed).normal(0, 1, (50, SIZE))
        self.shown: list[bytes] = []

    @property
    def size(self) -> int:
        return SIZE

    def examples(self, adapter: Array) -> TileExamples:
        self.shown.append(adapter.tobytes())
        return self.held.with_features(self.held.features * (1 - 0.1 * np.tanh(adapter[0])))

    def clipped_gradients(self, adapter: Array, clip: float, round_index: int) -> Array:
        del round_index
        found = self.gradients - adapter
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray((found * np.minimum(1, clip / norms)).sum(axis=0))


@functools.cache
def plan_of(owners: int = 4, size: int = SIZE, **options: Any) -> Plan:
    given: dict[str, Any] = {"rounds": 3, "prior_rounds": 4, "delta": 1e-4, **options}
    topology = {} if given.get("topology", "paired") == "paired" else {"hsi_features": 7}
    return make_plan(
        RunConfig(prior="dp", **given),
        session=bytes(16),
        owners=tuple(f"owner-{i:03d}" for i in range(1, owners + 1)),
        tile=1,
        classes=CLASSES,
        features=FEATURES,
        blocks=BLOCKS if given.get("topology", "paired") == "paired" else None,
        adapter=size,
        **topology,
    )


def federation_of(plan: Plan) -> Federation:
    """Owners that hold tiles to adapt to."""
    federation = Federation.of(plan)
    for seed, owner in enumerate(federation.owners.values()):
        held = examples(seed)
        owner._values = PrivateValues(held, Few(held, seed))
    return federation


def trained(federation: Federation, lines: list[dict[str, Any]] | None = None) -> Trained:
    return train(
        federation.exchange,
        federation.registry,
        federation.plan,
        check_count=lambda _tiles: None,
        log=(lambda _line: None) if lines is None else lines.append,
        progress=Silent(),
    )


def tiles_of(owner: Owner) -> Few:
    held = owner._values._adaptable
    assert isinstance(held, Few)
    return held


@pytest.mark.parametrize("target", [1.0, 8.0])
@pytest.mark.parametrize("noise", ["distributed", "local"])
def test_the_whole_plan_meets_the_target_and_never_exceeds_it(target: float, noise: Any) -> None:
    plan, rounds = plan_of(epsilon=target, noise=noise), 4
    check_plan(plan)
    assert [event.phase for event in plan.events()] == ["count", "prior", "mean", "train"]
    assert plan.event("prior", rounds) in plan.events()
    assert plan.event("prior", 1).sensitivity == plan.grid("prior").sensitivity
    faced = next(row for row in adversaries(plan, plan.events()) if row.name == CALIBRATED)
    assert 0.99 * target <= faced.epsilon <= target
    replaced = faced.epsilon_replace
    assert replaced == pytest.approx(
        epsilon(
            plan.events(),
            shares=plan.calibrated_shares,
            delta=plan.delta,
            adjacency=Adjacency.REPLACE_ONE,
        )
    )
    assert replaced > faced.epsilon


def test_the_phase_takes_its_part_of_the_budget() -> None:
    def alone(fraction: float) -> float:
        plan = plan_of(epsilon=8.0, prior_fraction=fraction)
        events = [event for event in plan.events() if event.phase == "prior"]
        return epsilon(events, shares=plan.calibrated_shares, delta=plan.delta)

    assert 0.5 < alone(0.02) < alone(0.1) < 4
    with_it, without = plan_of(epsilon=8.0), replace(plan_of(epsilon=8.0), prior=None)
    left_out = epsilon(without.events(), shares=with_it.calibrated_shares, delta=1e-4)
    assert left_out < 0.99 * 8  # so a plan that did not charge it would be refused
    with pytest.raises(ValueError, match="epsilon is"):
        check_plan(without)


def test_an_owner_refuses_less_noise_or_none_and_what_does_not_go_with_it() -> None:
    plan = plan_of(epsilon=8.0)
    assert plan.prior is not None
    halved = replace(plan, prior=replace(plan.prior, share_std=plan.prior.share_std / 2))
    with pytest.raises(ValueError, match="epsilon is"):
        check_plan(halved)
    more = replace(plan, prior=replace(plan.prior, rounds=5))
    with pytest.raises(ValueError, match="epsilon is"):
        check_plan(more)
    with pytest.raises(ValueError, match="prior share 0"):
        check_plan(replace(plan, prior=replace(plan.prior, share_std=0.0)))
    with pytest.raises(ValueError, match="an adapter with encrypted sums"):
        check_plan(replace(plan, aggregation="encrypted"))


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"size": 2**20}, {"rounds": 0}, {"clip": 0}, {"share_std": -1}, {"x": 1}]
)
def test_a_plan_with_another_phase_cannot_be_read(wrong: dict[str, float]) -> None:
    plan = plan_of(epsilon=8.0)
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.prior is not None
    fields = {**plan.prior.__class__.__dataclass_fields__}
    values = {name: getattr(plan.prior, name) for name in fields} | wrong
    if "x" in wrong:
        data = plan.to_json().replace(b'"prior":{', b'"prior":{"x":1,')
    else:
        data = replace(plan, prior=Adaptation(**values)).to_json()
    with pytest.raises(ValueError, match="not a plan: prior"):
        Plan.from_json(data)


@pytest.mark.parametrize(
    ("name", "value"),
    [("aggregation", "encrypted"), ("topology", "split"), ("engine", "flare")],
)
def test_what_it_does_not_go_with_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"prior dp with {name} {value}"):
        RunConfig(prior="dp", **{name: value})  # type: ignore[arg-type]  # a choice, as text


def test_no_two_releases_share_a_context_and_their_order_is_fixed() -> None:
    plan, origin = plan_of(epsilon=8.0), np.zeros((CLASSES, FEATURES))
    order = releases(plan)
    assert [phase for phase, _ in order] == ["count", *["prior"] * 4, "mean", *["train"] * 3]
    made = [round_context(plan, phase, (index, 0), origin) for phase, index in order]
    assert len({context.round_index for context in made}) == len(order)


@pytest.mark.parametrize("noise", ["distributed", None])
def test_the_masked_sum_is_the_plain_sum_bit_for_bit(
    noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feddiff_secure.federation import owner as module  # noqa: PLC0415

    sent = []
    original = module.contribution

    def spy(*arguments: Any, **options: Any) -> Any:
        made = original(*arguments, **options)
        sent.append(made.vector)
        return made

    monkeypatch.setattr(module, "contribution", spy)
    plan = plan_of(epsilon=float("inf") if noise is None else 8.0)
    federation = federation_of(plan)
    federation.agree()
    at = np.random.default_rng(0).normal(0, 0.1, SIZE)
    shown = np.concatenate([np.zeros((CLASSES, FEATURES)), to_rows(at, FEATURES)])
    total = secure_sum(
        federation.exchange, federation.registry, plan, Attempt("prior", 0, 0, shown)
    )
    ring = plan.grid("prior").ring
    assert np.array_equal(total, ring.from_ring(sum(sent[1:], sent[0])))
    exact = sum(
        tiles_of(owner).clipped_gradients(at, CLIP, 0) for owner in federation.owners.values()
    )
    error = total - exact * plan.grid("prior").scale
    limit = 6 * np.max(plan.total_noise("prior")) + 4
    assert np.abs(error).max() <= limit
    if noise is not None:
        assert np.std(error) > 0.5 * np.mean(plan.total_noise("prior"))


def test_a_run_charges_every_round_and_trains_on_the_released_adapter() -> None:
    federation, lines = federation_of(plan_of(epsilon=8.0)), list[dict[str, Any]]()
    found = trained(federation, lines)
    assert [event.phase for event in found.events] == ["count", "prior", "mean", "train"]
    assert [line["phase"] for line in lines][1:5] == ["prior"] * 4
    assert all(line["noised_gradient_norm"] > 0 for line in lines[1:5])
    assert found.adapter is not None
    for owner in federation.owners.values():
        assert dict(owner.charged) == {"count": 1, "prior": 4, "mean": 1, "train": 3}
        assert set(tiles_of(owner).shown) == {found.adapter.tobytes()}
    message: dict[str, Any] = {"phase": "prior", "round": 0, "attempt": 1}
    message["weights"] = np.zeros((CLASSES + 3, FEATURES))
    for reply in federation.exchange.exchange(
        "train", dict.fromkeys(federation.plan.owners, message), 1.0
    ).values():
        assert reply == {"refused": "budget_refused"}


def test_owners_that_hold_no_such_branch_or_are_shown_more_refuse() -> None:
    plan = plan_of(epsilon=8.0)
    bare = Federation.of(plan)
    assert {r["refused"] for r in bare.agree().values()} == {"prior_refused"}
    other = federation_of(plan_of(epsilon=8.0, size=SIZE + 1))
    assert {r["refused"] for r in other.agree().values()} == {"prior_refused"}
    federation = federation_of(plan)
    federation.agree()
    query = np.zeros((CLASSES + 3, FEATURES))
    for spoilt, place in ((query[:-1], None), (query.copy(), (-1, -1))):
        if place is not None:
            spoilt[place] = 1.0  # behind the 19 numbers
        message = {"phase": "prior", "round": 0, "attempt": 0, "weights": spoilt}
        replies = federation.exchange.exchange("train", dict.fromkeys(plan.owners, message), 1.0)
        assert {r["refused"] for r in replies.values()} == {"weights_refused"}


def test_in_mixed_every_owner_adds_its_share_to_every_number() -> None:
    plan = plan_of(3, epsilon=8.0, topology="mixed", holds="hsi,hsi,lidar", centring=False)
    check_plan(plan)
    assert plan.prior is not None
    for owner in plan.owners:
        assert plan.owner_noise(owner, "prior") == plan.prior.share_std
    assert np.allclose(plan.total_noise("prior"), plan.prior.share_std * np.sqrt(3))
    event = plan.event("prior", 4)
    assert plan.faced([event], 1) == [event]


def test_a_step_has_the_direction_of_the_sum_and_shrinks_with_the_rounds() -> None:
    total, quiet = np.array([300, -400, 0]), np.zeros(3)
    first = AdapterState.begun(3).after(total, quiet, rounds=2)
    assert np.allclose(first.values, [-0.6 * STEP, 0.8 * STEP, 0])
    assert np.allclose(first.average, first.values * (1 - DECAY))
    last = first.after(total, quiet, rounds=2)
    assert np.allclose(last.values, 1.5 * first.values)
    assert np.allclose(last.average, DECAY * first.average + (1 - DECAY) * last.values)
    assert last.rounds == 2


def test_where_the_sum_is_all_noise_the_branch_stays_as_shipped() -> None:
    rng, std = np.random.default_rng(0), np.full(SIZE, 100.0)
    moved = []
    for _ in range(50):
        total = np.round(rng.normal(0, 100, SIZE)).astype(np.int64)
        moved.append(np.linalg.norm(AdapterState.begun(SIZE).after(total, std, 1).values))
    assert np.mean(np.array(moved) == 0) > 0.4
    assert np.mean(moved) < 0.25 * STEP
    assert not AdapterState.begun(2).after(np.zeros(2, np.int64), np.zeros(2), 1).values.any()


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 40), columns=st.integers(1, 9))
def test_an_adapter_goes_into_rows_and_back(size: int, columns: int) -> None:
    adapter = np.random.default_rng(size).normal(size=size)
    rows = to_rows(adapter, columns)
    assert rows.shape == (-(-size // columns), columns)
    assert np.array_equal(from_rows(rows, size), adapter)
    if rows.size > size:
        rows[-1, -1] = 1e-300
        with pytest.raises(ValueError, match="behind the adapter"):
            from_rows(rows, size)


def test_a_model_is_in_step_phase_by_phase_and_shows_what_is_released() -> None:
    plan = plan_of(epsilon=8.0)
    model = LocalModel(plan)
    model.apply(np.array([160]), "count")
    ahead = np.full(SIZE, 10**6)
    for index in range(4):
        assert model.in_step("prior", index)
        assert not model.in_step("mean", 0) or index
        assert model.query_for("prior").shape == plan.query_shape("prior")
        model.apply(ahead, "prior")
    assert not model.in_step("prior", 4)
    assert model.adapter is not None
    shown = split_query(model.query_for("mean"), plan)
    assert np.array_equal(shown.adapter, model.adapter)
    assert not np.array_equal(model.query_for("prior"), model.query_for("mean"))
    model.apply(np.zeros(FEATURES, np.int64), "mean")
    assert model.in_step("train", 0)
    assert not model.in_step("prior", 3)
    again = LocalModel.restored(plan, model.state())
    assert np.array_equal(again.query_for("train"), model.query_for("train"))
    assert model.query_for("train").shape == plan.query_shape("train")
    for spoilt in ({"prior_rounds": 5}, {"arrays": {}}):
        with pytest.raises(ValueError, match=r"round 5 of 4|arrays \[\]"):
            LocalModel.restored(plan, replace(model.state(), **spoilt))  # type: ignore[arg-type]


def test_a_lost_attempt_ends_the_phase_a_round_short() -> None:
    course = Course(plan_of(epsilon=8.0))
    course.complete()
    for step in (course.complete, course.lose, course.complete, course.complete):
        step()
    assert course.rounds("prior") == 3
    due = course.next
    assert due is not None
    assert due.phase == "mean"
    assert course.attempts("prior") == 4
