"""Who could learn how much: one row of ε for every adversary, each with its assumption.

What distinguishes the rows is only how many noise shares stand between the data and the
observer. With distributed noise an observer of a sum faces the shares of all survivors but those
it knows; with local noise every owner's own share suffices, so the rows that would rely on
aggregation do not count on it. In the columns of a modality with a single holder every observer
faces that holder's own noise, whatever the shares; a row is the worse of its columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from feddiff_crypto.hybrid import KeyAgreement
from feddiff_privacy.accountant import epsilon
from feddiff_privacy.events import Event
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.statement import GroupRow
from feddiff_secure.federation.plan import Plan

CALIBRATED = "coordinator_and_colluders"
GROUPS = (2, 4)  # tiles that change together, of the statement's second table


@dataclass(frozen=True, slots=True)
class Adversary:
    """One row of the table.

    Attributes:
        name: stable identifier.
        shares: noise shares this observer faces in every sum.
        epsilon: ε under add/remove of one tile; `inf` where nothing is guaranteed.
        epsilon_replace: ε under replace-one.
        assumption: what the row rests on, in words.
    """

    name: str
    shares: int
    epsilon: float
    epsilon_replace: float
    assumption: str


def adversary_rows(plan: Plan) -> list[tuple[str, int, str]]:
    """(name, shares, assumption) of every row, in the order of the statement."""
    tau, h, c = plan.policy.threshold, plan.policy.honest_shares, plan.colluders
    n = len(plan.owners)
    if plan.noise == "none":
        reason = "no noise is added: nothing is guaranteed against anybody"
        names = ("outsider", "coordinator", "curious_owner", CALIBRATED, "masks_broken")
        return [(name, 0, reason) for name in names]
    if plan.agreement is KeyAgreement.HYBRID:
        masks = "pairwise masks hold (X25519 or ML-KEM-768, HKDF-SHA256, AES-256-CTR)"
        broken = "both X25519 and ML-KEM-768 broken, or AES"
    else:
        masks = "pairwise masks hold (X25519, HKDF-SHA256, AES-256-CTR)"
        broken = "X25519 or AES broken"
    rows = [
        (
            "outsider",
            tau,
            f"sees the published model only; at least {tau} of {n} owners added their noise",
        )
    ]
    if plan.is_local:
        own = "relies on no aggregation: every owner's own noise suffices"
        if plan.noise != "local":
            own = "relies on no aggregation: each modality has one holder, whose own noise suffices"
            rows = [("outsider", 1, f"sees the published model only; {own}")]
        return [
            *rows,
            ("coordinator", 1, own),
            ("curious_owner", 1, own),
            (CALIBRATED, 1, own),
            (
                "masks_broken",
                1,
                "every recorded vector is unmasked later; own noise remains",
            ),
        ]
    two = (
        "; with two owners the sum less one's own vector is the other's noised update"
        if n == 2
        else ""
    )
    masks += "".join(
        f"; in the columns of {modality}, its only holder {holder} adds the whole noise itself"
        for modality, holder in (plan.holdings.sole if plan.holdings else {}).items()
    )
    return [
        *rows,
        ("coordinator", tau, f"{masks}; colludes with nobody; at least {tau} owners survive"),
        (
            "curious_owner",
            tau - 1,
            f"one owner subtracts its own noise share from every sum; {masks}{two}",
        ),
        (
            CALIBRATED,
            h,
            (
                f"coordinator and {c} colluding owners subtract their {c} noise shares, with "
                f"{plan.policy.tolerated_dropouts} owners dropped out; {masks}"
            ),
        ),
        (
            "masks_broken",
            1,
            f"every recorded masked vector is opened later ({broken}): one noise share is left",
        ),
    ]


def adversaries(plan: Plan, events: Sequence[Event]) -> list[Adversary]:
    """The table for what was released."""
    cache: dict[tuple[int, Adjacency], float] = {}

    def value(shares: int, adjacency: Adjacency) -> float:
        if shares == 0:
            return math.inf
        if (shares, adjacency) not in cache:
            cache[shares, adjacency] = epsilon(
                plan.faced(events, shares), shares=shares, delta=plan.delta, adjacency=adjacency
            )
        return cache[shares, adjacency]

    return [
        Adversary(
            name=name,
            shares=shares,
            epsilon=value(shares, Adjacency.ADD_REMOVE),
            epsilon_replace=value(shares, Adjacency.REPLACE_ONE),
            assumption=assumption,
        )
        for name, shares, assumption in adversary_rows(plan)
    ]


def group_rows(plan: Plan, events: Sequence[Event]) -> list[GroupRow]:
    """ε of the calibrated row for groups of tiles; smaller groups where sampling makes it slow."""
    if plan.noise == "none":
        return []
    groups = GROUPS if plan.sampling_rate == 1 else GROUPS[:1]

    def value(group: int, adjacency: Adjacency) -> float:
        return epsilon(
            events,
            shares=plan.calibrated_shares,
            delta=plan.delta,
            adjacency=adjacency,
            group=group,
        )

    return [
        GroupRow(group, value(group, Adjacency.ADD_REMOVE), value(group, Adjacency.REPLACE_ONE))
        for group in groups
    ]
