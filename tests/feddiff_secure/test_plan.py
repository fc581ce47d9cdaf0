"""The plan is calibrated for the owners that remain, and owners check it for themselves."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from feddiff_privacy.accountant import epsilon
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.adversaries import CALIBRATED, adversaries
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.federation.plan_making import check_room
from tests.support.federations import Federation, plan_for, with_shares_for


@pytest.mark.parametrize("target", [0.5, 1.0, 8.0, 20.0])
@pytest.mark.parametrize("owners", [2, 4, 16])
@pytest.mark.parametrize("noise", ["distributed", "local"])
def test_the_calibrated_row_is_just_below_the_target(
    target: float, owners: int, noise: str
) -> None:
    plan = plan_for(RunConfig(epsilon=target, noise=noise), owners)
    rows = {row.name: row for row in adversaries(plan, plan.events())}
    assert 0.99 * target <= rows[CALIBRATED].epsilon <= target
    assert rows["outsider"].epsilon <= rows[CALIBRATED].epsilon <= rows["masks_broken"].epsilon


def test_noise_is_sized_for_the_honest_shares_that_remain() -> None:
    """n = 4, c = 1: a colluder subtracts its own share, so three shares must do."""
    plan = plan_for(RunConfig(epsilon=8.0))
    assert plan.policy.honest_shares == 3
    grid = plan.train_grid
    assert plan.train_share_std * math.sqrt(3) == pytest.approx(
        plan.noise_multiplier * grid.sensitivity
    )
    assert plan.noise_factor == pytest.approx(math.sqrt(4 / 3))


@pytest.mark.parametrize(
    ("owners", "options", "tau", "honest"),
    [
        (2, {}, 2, 2),
        (2, {"colluders": 1}, 2, 1),
        (4, {}, 4, 3),
        (4, {"dropouts": 1}, 3, 2),
        (10, {"dropouts": 3, "colluders": 2}, 7, 5),
    ],
)
def test_dropouts_and_colluders_are_subtracted(
    owners: int, options: dict[str, int], tau: int, honest: int
) -> None:
    plan = plan_for(RunConfig(epsilon=8.0, **options), owners)
    assert (plan.policy.threshold, plan.policy.honest_shares) == (tau, honest)
    realised = epsilon(plan.events(), shares=honest, delta=plan.delta)
    assert 0.99 * 8 <= realised <= 8


def test_two_owners_see_each_other_as_if_there_were_no_masks() -> None:
    plan = plan_for(RunConfig(epsilon=8.0), 2)
    rows = {row.name: row for row in adversaries(plan, plan.events())}
    assert rows["curious_owner"].epsilon == rows["masks_broken"].epsilon > 8
    assert "two owners" in rows["curious_owner"].assumption


def test_an_owner_refuses_a_share_sized_for_n_instead_of_h() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    check_plan(plan)
    wrong = with_shares_for(plan, honest=4)
    with pytest.raises(ValueError, match="epsilon"):
        check_plan(wrong)
    replies = Federation.of(plan).agree(wrong)
    assert {reply["refused"] for reply in replies.values()} == {"plan_refused"}


@pytest.mark.parametrize("counted_on", ["survivors", "roster"])
@pytest.mark.parametrize(
    ("owners", "options"),
    [(4, {}), (10, {"dropouts": 3, "colluders": 2}), (2, {"colluders": 1})],
)
def test_an_owner_refuses_a_share_sized_for_more_than_the_honest_owners(
    owners: int, options: dict[str, int], counted_on: str
) -> None:
    """Neither the n on the roster nor the τ that survive: colluders subtract what they added."""
    plan = plan_for(RunConfig(epsilon=4.0, **options), owners)
    honest = owners if counted_on == "roster" else plan.policy.threshold
    assert honest > plan.policy.honest_shares
    with pytest.raises(ValueError, match="epsilon"):
        check_plan(with_shares_for(plan, honest=honest))


@pytest.mark.parametrize(
    "change",
    [
        {"train_share_std": 0.5},
        {"count_share_std": 0.1},
        {"rounds": 120},
        {"attempts": 120},
        {"rounds": 120, "attempts": 120},
        {"scale": 1.0},
        {"noise": "none"},
        {"clip": 3.0},
        {"colluders": 3},
        {"delta": 1e-9},
        {"nominal_tiles": 0},
        {"sampling_rate": 2.0},
        {"aggregation": "trusted"},
        {"classes": 0},
        {"rounds": 10**9},
    ],
)
def test_an_owner_refuses_a_plan_that_was_tampered_with(change: dict[str, object]) -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    wrong = replace(plan, **change)  # type: ignore[arg-type]
    replies = Federation.of(plan).agree(wrong)
    assert {reply["refused"] for reply in replies.values()} == {"plan_refused"}


def test_an_owner_accepts_one_plan_only() -> None:
    federation = Federation.of(plan_for(RunConfig(epsilon=8.0)))
    assert all("accepted" in reply for reply in federation.agree().values())
    assert all(reply["refused"] == "plan_already_accepted" for reply in federation.agree().values())


def test_a_plan_survives_its_json_and_nothing_else_is_read() -> None:
    plan = plan_for(RunConfig(epsilon=2.0, dropouts=1))
    data = plan.to_json()
    assert Plan.from_json(data) == plan
    for bad in (
        data + b" ",
        data[:-1],
        b"{}",
        b"[]",
        data.replace(b'"rounds":60', b'"rounds":"60"'),
        data.replace(b'"rounds":60', b'"rounds":60.5'),
        data.replace(b'"rounds":60', b'"rounds":NaN'),
        data.replace(b'"rounds":60', b'"rounds":60.0'),
        data.replace(b'"dropouts":1', b'"dropouts":true'),
    ):
        with pytest.raises(ValueError, match=r"not a plan|JSON|Extra|Expecting|Unterminated"):
            Plan.from_json(bad)


@pytest.mark.parametrize(
    "options",
    [{"colluders": 4}, {"colluders": 3, "dropouts": 1}, {"dropouts": 4}],
)
def test_numbers_that_leave_no_honest_share_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for(RunConfig(epsilon=8.0, **options))
    assert caught.value.exit_code == 2


def test_tiles_that_could_leave_the_ring_are_refused_before_any_release() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    check_room(plan, 100_000)
    with pytest.raises(UsageError, match="ring"):
        check_room(plan, 10**8)
    with pytest.raises(UsageError, match="ring"):
        plan_for(RunConfig(epsilon=8.0, delta=1e-12, nominal_tiles=10**8))


def test_rounding_adds_at_most_one_percent_to_the_sensitivity() -> None:
    for clip in (0.01, 0.3, 7.0):
        grid = plan_for(RunConfig(epsilon=8.0, clip=clip)).train_grid
        assert grid.scale * clip < grid.sensitivity <= 1.0101 * grid.scale * clip
        assert grid.sensitivity >= grid.scale * clip + math.sqrt(grid.dimension)
