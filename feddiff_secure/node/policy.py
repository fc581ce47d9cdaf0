"""What an owner agrees to be asked for, and the check of a job against it.

A policy speaks of public numbers only: those of the plan and of the configuration. So do its
reasons, which go back to whoever submitted the job: a fixed code each and, where the owner agreed
to show its bounds, the number asked for and the bound it broke. Nothing of the data is in them.

The checks:

1. The configuration is of the private profile, on the list where the policy has one, its numbers
   within the bounds, its choices among the allowed ones (`check_config`: as a job is deployed).
2. The plan names that configuration and departs from it in nothing: so that a list of allowed
   configurations means what it says.
3. The plan's numbers are within the bounds too (`check_job`: before a plan is accepted).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from feddiff_secure.config.bounds import MOST_OWNERS, MOST_ROUNDS
from feddiff_secure.config.load import config_digest
from feddiff_secure.config.schema import RunConfig

if TYPE_CHECKING:  # a site's own process checks configurations and needs nothing of a plan
    from feddiff_secure.federation.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePolicy:
    """The bounds of one owner.

    Attributes:
        largest_epsilon: ε of one run, towards the observer of the calibrated row, that is not
            exceeded; `inf` also lets runs without noise in.
        lifetime_epsilon: ε of all runs on the holding together; None for no limit. The ledger
            keeps it.
        largest_delta: δ of one run; also the δ of a new ledger.
        smallest_owners: least number of owners.
        least_colluders: c that a plan must allow for, at least.
        most_colluders: c that a plan may allow for.
        most_dropouts: d that a plan may allow for.
        most_rounds: rounds of training.
        smallest_tile: least side of a tile, pixels: a larger tile is a larger unit.
        aggregations, noises, mechanisms, topologies, key_agreements, units: allowed choices.
        allowed_configs: digests of configurations; empty for any within the bounds.
        show_bounds: whether reasons carry the numbers.
    """

    largest_epsilon: float
    lifetime_epsilon: float | None
    largest_delta: float = 1e-5
    smallest_owners: int = 3
    least_colluders: int = 1
    most_colluders: int = MOST_OWNERS
    most_dropouts: int = MOST_OWNERS
    most_rounds: int = MOST_ROUNDS
    smallest_tile: int = 1
    aggregations: tuple[str, ...] = ("masked", "encrypted")
    noises: tuple[str, ...] = ("distributed", "local")
    mechanisms: tuple[str, ...] = ("discrete_gaussian", "skellam")
    topologies: tuple[str, ...] = ("paired", "mixed", "split")
    key_agreements: tuple[str, ...] = ("x25519", "hybrid")
    units: tuple[str, ...] = ("tile", "pixel")
    allowed_configs: tuple[str, ...] = field(default=())
    show_bounds: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a job is refused.

    Attributes:
        code: one of the fixed words of docs/deploy.md.
        detail: what was asked for against the bound; shown only where the owner agreed to.
    """

    code: str
    detail: str = ""

    def shown(self, *, bounds: bool) -> str:
        """The reason as it leaves the node."""
        return f"{self.code}: {self.detail}" if bounds and self.detail else self.code


def check_config(policy: NodePolicy, config: RunConfig) -> list[Reason]:
    """What in a configuration alone breaks the policy: enough to refuse a job as it is deployed.

    Numbers that the configuration leaves to the data, or to who takes part, are not judged; the
    plan has them (`check_job`).

    Args:
        policy: of this owner.
        config: that the job carries.
    """
    reasons = []
    if config.profile != "private":
        reasons.append(Reason("profile_not_allowed", config.profile))
    if policy.allowed_configs and config_digest(config) not in policy.allowed_configs:
        reasons.append(Reason("config_not_allowed"))
    owners = config.owner_count
    asked = _Asked(
        epsilon=config.epsilon,
        delta=config.delta,
        owners=owners,
        colluders=None if owners is None else config.colluders_for(owners),
        dropouts=config.dropouts,
        rounds=config.rounds,
        tile=config.tile,
    )
    return [*reasons, *_bounds(policy, asked), *_choices(policy, config)]


def check_job(policy: NodePolicy, config: RunConfig, plan: Plan) -> list[Reason]:
    """Everything in a job that breaks the policy; empty for a job that may run.

    Args:
        policy: of this owner.
        config: what the job carries.
        plan: the plan that the owner was offered, already checked by `check_plan`.
    """
    if plan.config_digest != config_digest(config):
        return [Reason("config_mismatch")]
    reasons = [Reason("plan_not_of_config", name) for name in _departures(config, plan)]
    asked = _Asked(
        epsilon=math.inf if plan.epsilon is None else plan.epsilon,
        delta=plan.delta,
        owners=len(plan.owners),
        colluders=plan.colluders,
        dropouts=plan.dropouts,
        rounds=plan.rounds,
        tile=plan.tile,
    )
    found = [*check_config(policy, config), *_bounds(policy, asked)]
    return [*reasons, *dict.fromkeys(found)]


def refusal(reasons: list[Reason], *, bounds: bool) -> str:
    """The refusal that leaves the node: `policy_refused` and every reason."""
    return "policy_refused: " + ", ".join(reason.shown(bounds=bounds) for reason in reasons)


def _departures(config: RunConfig, plan: Plan) -> Iterator[str]:
    """Numbers of the plan that the configuration fixes otherwise."""
    owners = len(plan.owners)
    fixed = {
        "owners": config.owner_count or owners,
        "topology": config.topology,
        "holds": config.holds_for(owners),
        "dropouts": config.dropouts,
        "colluders": config.colluders_for(owners),
        "aggregation": config.aggregation,
        "key_agreement": config.key_agreement,
        "rounding": config.rounding,
        "ring_bits": config.ring_bits,
        "noise": config.noise_mode,
        "mechanism": config.mechanism,
        "epsilon": config.epsilon if config.is_private else None,
        "delta": config.delta,
        "tile": config.tile or plan.tile,
        "rounds": config.rounds,
        "sampling_rate": config.sampling_rate,
        "clip": config.clip_norm,
        "nominal_tiles": config.nominal_tiles,
    }
    asked = {name: getattr(plan, name) for name in fixed} | {"owners": owners}
    yield from (name for name, value in fixed.items() if asked[name] != value)
    if (plan.custodian is not None) != config.custodian:
        yield "custodian"
    if plan.blocks is not None and not config.centring:
        yield "centring"
    if plan.class_share_std is not None and not config.releases_class_means:
        yield "class_means"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The public numbers of a configuration or a plan; None where it leaves one open."""

    epsilon: float
    delta: float
    owners: int | None
    colluders: int | None
    dropouts: int
    rounds: int
    tile: int | None


def _bounds(policy: NodePolicy, asked: _Asked) -> Iterator[Reason]:
    most = {
        "epsilon": policy.largest_epsilon,
        "delta": policy.largest_delta,
        "colluders": policy.most_colluders,
        "dropouts": policy.most_dropouts,
        "rounds": policy.most_rounds,
    }
    least = {
        "owners": policy.smallest_owners,
        "colluders": policy.least_colluders,
        "tile": policy.smallest_tile,
    }
    for name, bound in most.items():
        value = getattr(asked, name)
        if value is not None and value > bound:
            yield Reason(f"{name}_over_policy", f"{value:g} > {bound:g}")
    for name, bound in least.items():
        value = getattr(asked, name)
        if value is not None and value < bound:
            yield Reason(f"{name}_under_policy", f"{value:g} < {bound:g}")


def _choices(policy: NodePolicy, config: RunConfig) -> Iterator[Reason]:
    """Choices that the policy lacks; a plan has the configuration's (`_departures`)."""
    # Without noise there is nothing to allow: that ε is infinite is refused, or allowed, above.
    noises = (*policy.noises, "none") if math.isinf(policy.largest_epsilon) else policy.noises
    choices = [
        ("aggregation", config.aggregation, policy.aggregations),
        ("noise", config.noise_mode, noises),
        ("mechanism", config.mechanism, policy.mechanisms),
        ("topology", config.topology, policy.topologies),
        ("key_agreement", config.key_agreement, policy.key_agreements),
        ("unit", config.unit, policy.units),
    ]
    for name, asked, allowed in choices:
        if asked not in allowed:
            yield Reason(f"{name}_not_allowed", f"{asked} not in {'|'.join(allowed)}")
