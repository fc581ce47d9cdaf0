"""A job is held against an owner's policy: every bound, every choice, and the plan's own config."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from feddiff_secure.config.load import config_digest
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.node.policy import NodePolicy, check_job, refusal
from tests.support.federations import plan_for
from tests.support.topologies import topology_plan

CONFIG = RunConfig(epsilon=8.0, rounds=4, nominal_tiles=1000)
PLAN = plan_for(CONFIG)
POLICY = NodePolicy(largest_epsilon=8.0, lifetime_epsilon=16.0)


def codes(policy: NodePolicy, config: RunConfig = CONFIG, plan: Plan = PLAN) -> list[str]:
    return [reason.code for reason in check_job(policy, config, plan)]


def with_policy(**change: Any) -> NodePolicy:
    return replace(POLICY, **change)


def test_a_job_within_the_policy_has_no_reason() -> None:
    assert check_job(POLICY, CONFIG, PLAN) == []


@pytest.mark.parametrize(
    ("change", "code", "detail"),
    [
        ({"largest_epsilon": 4.0}, "epsilon_over_policy", "8 > 4"),
        ({"largest_delta": 1e-6}, "delta_over_policy", "1e-05 > 1e-06"),
        ({"smallest_owners": 5}, "owners_under_policy", "4 < 5"),
        ({"least_colluders": 2}, "colluders_under_policy", "1 < 2"),
        ({"most_colluders": 0, "least_colluders": 0}, "colluders_over_policy", "1 > 0"),
        ({"most_rounds": 3}, "rounds_over_policy", "4 > 3"),
        ({"smallest_tile": 2}, "tile_under_policy", "1 < 2"),
        ({"aggregations": ("encrypted",)}, "aggregation_not_allowed", "masked not in encrypted"),
        ({"noises": ("local",)}, "noise_not_allowed", "distributed not in local"),
        ({"mechanisms": ("skellam",)}, "mechanism_not_allowed", "discrete_gaussian not in skellam"),
        ({"topologies": ("split",)}, "topology_not_allowed", "paired not in split"),
        ({"key_agreements": ("hybrid",)}, "key_agreement_not_allowed", "x25519 not in hybrid"),
        ({"units": ("pixel",)}, "unit_not_allowed", "tile not in pixel"),
        ({"allowed_configs": ("0" * 64,)}, "config_not_allowed", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_bound_refuses_with_its_code(change: dict[str, Any], code: str, detail: str) -> None:
    (reason,) = check_job(with_policy(**change), CONFIG, PLAN)
    assert (reason.code, reason.detail) == (code, detail)


def test_dropouts_over_the_policy_are_refused() -> None:
    config = replace(CONFIG, owners=8, dropouts=2)
    plan = plan_for(config, owners=8)
    assert codes(with_policy(most_dropouts=1), config, plan) == ["dropouts_over_policy"]
    assert codes(POLICY, config, plan) == []


def test_a_run_without_noise_needs_a_policy_without_a_bound() -> None:
    config = replace(CONFIG, epsilon=math.inf)
    plan = plan_for(config)
    assert codes(POLICY, config, plan) == ["epsilon_over_policy", "noise_not_allowed"]
    assert codes(with_policy(largest_epsilon=math.inf), config, plan) == []


def test_a_plan_of_another_configuration_is_refused() -> None:
    assert codes(POLICY, replace(CONFIG, seed=1)) == ["config_mismatch"]


def test_a_plan_with_class_means_that_the_configuration_leaves_out_is_refused() -> None:
    config = RunConfig(epsilon=8.0, topology="split", nominal_tiles=1000, class_means=False)
    offered = topology_plan(replace(config, class_means=None), 2, means=True)
    forged = replace(offered, config_digest=config_digest(config))
    (reason,) = check_job(with_policy(smallest_owners=2, least_colluders=0), config, forged)
    assert (reason.code, reason.detail) == ("plan_not_of_config", "class_means")


def test_a_list_of_configurations_cannot_be_passed_with_a_plan_that_departs_from_one() -> None:
    """The plan names an allowed configuration and is calibrated for another ε."""
    other = plan_for(replace(CONFIG, epsilon=4.0))
    forged = replace(other, config_digest=config_digest(CONFIG))
    check_plan(forged)  # nothing else is wrong with it
    allowed = with_policy(allowed_configs=(config_digest(CONFIG),))
    (reason,) = check_job(allowed, CONFIG, forged)
    assert (reason.code, reason.detail) == ("plan_not_of_config", "epsilon")


def test_reasons_show_bounds_only_where_the_owner_agreed_to() -> None:
    reasons = check_job(with_policy(largest_epsilon=4.0, smallest_owners=5), CONFIG, PLAN)
    assert refusal(reasons, bounds=False) == (
        "policy_refused: epsilon_over_policy, owners_under_policy"
    )
    assert refusal(reasons, bounds=True) == (
        "policy_refused: epsilon_over_policy: 8 > 4, owners_under_policy: 4 < 5"
    )
