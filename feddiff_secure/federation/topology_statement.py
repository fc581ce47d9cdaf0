"""What the statement adds where owners hold different modalities: ground held twice, and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from feddiff_privacy.accountant import epsilon
from feddiff_privacy.events import Event
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.statement import GroundRow
from feddiff_secure.config.holds import ALL_LABELS
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.holdings import Holdings
from feddiff_secure.federation.plan import Plan

COPIES = 2  # owners whose data a ground tile is in, in split: a holder of HSI, a holder of LiDAR


def ground_row(plan: Plan, events: Sequence[Event]) -> GroundRow | None:
    """ε for one tile of ground with its labels, in the data of two owners; None but in split.

    Towards the observer of the calibrated row, exactly as the two mechanisms compose: the owners'
    training vectors lie in different columns under independent noise, so a round releases two
    sums, each of sensitivity Δ; in the count both owners' numbers move by one, so its sensitivity
    is 2.
    """
    holdings = plan.holdings
    if plan.topology != "split" or plan.noise == "none" or holdings is None:
        return None
    released = [part for event in events for part in _parts(plan, holdings, event)]

    def value(adjacency: Adjacency) -> float:
        return epsilon(
            released, shares=plan.calibrated_shares, delta=plan.delta, adjacency=adjacency
        )

    return GroundRow(COPIES, value(Adjacency.ADD_REMOVE), value(Adjacency.REPLACE_ONE))


def _parts(plan: Plan, holdings: Holdings, event: Event) -> list[Event]:
    """What one event releases of a ground tile, as the calibrated observer faces it."""
    if event.phase == "count":
        return [replace(event, sensitivity=COPIES * event.sensitivity)]
    alone = plan.sole_std(event.phase) / plan.calibrated_shares**0.5
    stds = [alone if m in holdings.sole else event.share_std for m in ("hsi", "lidar")]
    return [replace(event, share_std=std) for std in stds]


def topology_assumptions(config: RunConfig, plan: Plan, alignment: str | None) -> list[str]:
    """Lines for the statement's assumptions; none in `paired`."""
    holdings = plan.holdings
    if holdings is None:
        return []
    counts = ", ".join(f"{m} {len(holdings.holders(m))}" for m in ("hsi", "lidar"))
    lines = [
        (
            f"Who holds which modality is public to the parties (owners that hold {counts} of "
            f"{len(plan.owners)}); it cannot be read off the masked vectors, which are all alike."
        ),
        *(
            f"{modality} has a single holder, {holder}: in its columns {holder} adds the whole "
            "noise and the others none, so its guarantee rests on its own noise there."
            for modality, holder in holdings.sole.items()
            if plan.noise != "none"
        ),
    ]
    if plan.topology != "split":
        return lines
    lines += [
        (
            f"Each tile of ground is in the data of {COPIES} owners, one of each modality. The "
            "table of adversaries is for one owner's tile; the row of the ground composes both."
        ),
        _labels(config.labels or ALL_LABELS),
        (
            "The grid of the ground, and where on it both modalities were measured, are public to "
            "the owners and the coordinator."
        ),
    ]
    if plan.class_share_std is not None:
        lines.append(
            "The mean of each modality's features in each class is released with noise, within "
            "epsilon: owners of the other modality train with it."
        )
    return [*lines, f"Alignment: {alignment}."] if alignment else lines


def topology_not_covered(plan: Plan) -> list[str]:
    """Lines for what lies outside ε; none but in split."""
    if plan.topology != "split":
        return []
    return [
        (
            "Prediction of ground whose modalities different owners hold: the fused class scores "
            "go to a named recipient without noise. A recipient that is one of two contributors to "
            "a tile gets the other's part by subtraction, which that owner has to consent to."
        ),
        (
            "Test metrics and maps of this run fuse the scores of both modalities' holders in one "
            "process."
        ),
    ]


def _labels(labels: str) -> str:
    if labels == ALL_LABELS:
        return (
            "Both holders of a tile use its labels. Each has them itself; where one gets them from "
            "the other, they are not protected from that owner."
        )
    return (
        f"Labels are held by {labels} and shared with the holder of the other modality of the same "
        "ground. They are not protected from whoever receives them."
    )
