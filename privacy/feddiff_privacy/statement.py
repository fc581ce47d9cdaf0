"""The privacy statement: what a run guarantees, to whom, resting on what, in two forms.

`privacy.json` is for programs and `privacy.md` for the person who signs or refuses. Both are made
from one object, so they cannot disagree. An ε that is infinite or not claimed is `null` in JSON
and "none" in the text; it is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feddiff_privacy.events import NoisedSum

STATEMENT_VERSION = 1


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """What a second accountant says of the same events.

    Attributes:
        accountant: its name.
        epsilon: its ε.
        difference: its ε less the reported one.
        agrees: whether the difference lies in [0, 0.02].
    """

    accountant: str
    epsilon: float
    difference: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class AdversaryRow:
    """ε towards one adversary, under both adjacencies, and what that rests on."""

    name: str
    epsilon: float
    epsilon_replace: float
    assumption: str

    def to_json(self) -> dict[str, Any]:
        """The row of `privacy.json`; infinite is null."""
        return {
            "name": self.name,
            "epsilon": finite(self.epsilon),
            "epsilon_replace_one": finite(self.epsilon_replace),
            "assumption": self.assumption,
        }


@dataclass(frozen=True, slots=True)
class GroundRow:
    """ε of the calibrated row for ground that several owners hold, their releases composed.

    Attributes:
        copies: owners whose data one tile of ground is in.
        epsilon: adding or removing the tile, with its labels, from all of their data.
        epsilon_replace: changing it in all of their data.
    """

    copies: int
    epsilon: float
    epsilon_replace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything the statement says.

    Attributes:
        deployment: `simulated` where one process held every owner, else `distributed`.
        epsilon_target: what was asked for; None for a non-private run.
        epsilon: realised ε of the calibrated row.
        delta: δ.
        unit: unit of the headline.
        tile: side of a tile in pixels of the imported grid.
        mechanism: the mechanism, in words.
        noise: who adds how much.
        aggregation: how vectors are summed.
        noise_multiplier: facing the calibrated row.
        sampling_rate: of tiles in a training round.
        rounds: training rounds.
        owners: n. threshold: τ. honest_shares: h. colluders: c. dropouts: d.
        phases: the events released.
        cross_check: the second accountant's opinion, None where there is no noise.
        adversaries: the table; the calibrated row is named by `calibrated_row`.
        calibrated_row: name of the row that `epsilon` is.
        support: `pixel`, or `neighbourhood` where no pixel-level claim is possible.
        gaps: statistical distances outside (ε, δ), by name.
        assumptions: what all rows rest on.
        not_covered: what lies outside ε.
        lifetime_epsilon: ε of everything in an owner's ledger after this run, the largest over
            owners; None where no ledger was kept.
        ground: the composed row where each tile of ground is in the data of several owners by
            design; None otherwise.
    """

    deployment: str
    epsilon_target: float | None
    epsilon: float
    delta: float
    unit: str
    tile: int
    mechanism: str
    noise: str
    aggregation: str
    noise_multiplier: float
    sampling_rate: float
    rounds: int
    owners: int
    threshold: int
    honest_shares: int
    colluders: int
    dropouts: int
    phases: Sequence[NoisedSum]
    cross_check: CrossCheck | None
    adversaries: Sequence[AdversaryRow]
    calibrated_row: str
    support: str
    gaps: dict[str, float]
    assumptions: Sequence[str]
    not_covered: Sequence[str]
    code_version: str
    lifetime_epsilon: float | None = None
    ground: GroundRow | None = None

    @property
    def levels(self) -> dict[str, float | None]:
        """ε of the calibrated row by unit; None where nothing is claimed.

        Changing a record or a pixel replaces its tile by another, so both follow from the tile
        by replace-one; a pixel of ground that several owners hold, in all of their data. Features
        computed from a neighbourhood carry a pixel into other tiles.
        """
        row = next(row for row in self.adversaries if row.name == self.calibrated_row)
        replace = finite(row.epsilon_replace)
        ground = replace if self.ground is None else finite(self.ground.epsilon_replace)
        pixel = ground if self.support == "pixel" else None
        return {"record": replace, "tile": finite(row.epsilon), "pixel": pixel}

    def to_json(self) -> dict[str, Any]:
        """The object of `privacy.json`."""
        check = self.cross_check
        return {
            "version": STATEMENT_VERSION,
            "code_version": self.code_version,
            "deployment": self.deployment,
            "epsilon_target": self.epsilon_target,
            "epsilon": finite(self.epsilon),
            "delta": self.delta,
            "unit": self.unit,
            "tile": self.tile,
            "adjacency": "add_remove",
            "mechanism": self.mechanism,
            "noise": self.noise,
            "aggregation": self.aggregation,
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.sampling_rate,
            "rounds": self.rounds,
            "policy": {
                "owners": self.owners,
                "threshold": self.threshold,
                "honest_shares": self.honest_shares,
                "colluders": self.colluders,
                "dropouts": self.dropouts,
            },
            "phases": [event.to_json() for event in self.phases],
            "accountant": "pld (dp-accounting)",
            "cross_check": None
            if check is None
            else {
                "accountant": check.accountant,
                "epsilon": check.epsilon,
                "difference": check.difference,
                "agrees": check.agrees,
            },
            "adversaries": [row.to_json() for row in self.adversaries],
            "calibrated_row": self.calibrated_row,
            "levels": self.levels,
            "ground": None
            if self.ground is None
            else {
                "copies": self.ground.copies,
                "epsilon": finite(self.ground.epsilon),
                "epsilon_replace_one": finite(self.ground.epsilon_replace),
            },
            "lifetime_epsilon": None
            if self.lifetime_epsilon is None
            else finite(self.lifetime_epsilon),
            "gaps": self.gaps,
            "assumptions": list(self.assumptions),
            "not_covered": list(self.not_covered),
        }

    def to_markdown(self) -> str:
        """The text of `privacy.md`."""
        hypothetical = self.deployment == "simulated"
        lines = [
            "# Privacy statement",
            "",
            _headline(self),
            "",
            *(
                [
                    (
                        "**Deployment: simulated.** One process held every owner's data. The rows "
                        "below say what each adversary *would* learn in a deployment across "
                        "organisations; they are hypothetical."
                    ),
                    "",
                ]
                if hypothetical
                else []
            ),
            "## Who could learn how much",
            "",
            (
                f"ε at δ = {self.delta:g}, for one tile of side {self.tile}. "
                f"The noise was calibrated to the row `{self.calibrated_row}`."
            ),
            "",
            "| adversary | ε, add/remove | ε, replace-one | rests on |",
            "|---|---:|---:|---|",
            *(
                f"| {row.name}{' (hypothetical)' if hypothetical else ''} | "
                f"{_number(row.epsilon)} | {_number(row.epsilon_replace)} | {row.assumption} |"
                for row in self.adversaries
            ),
            "",
            "## By unit",
            "",
            "| unit | ε of the calibrated row | how |",
            "|---|---:|---|",
            f"| tile | {_level(self.levels['tile'])} | add or remove one tile |",
            f"| record | {_level(self.levels['record'])} | changing it replaces its tile |",
            f"| pixel | {_level(self.levels['pixel'])} | {_pixel_reason(self)} |",
            *_ground_lines(self.ground),
            "",
            "## What was released",
            "",
            "| phase | releases | sampling | coordinates | sensitivity | noise share (one owner) |",
            "|---|---:|---|---:|---:|---:|",
            *(
                f"| {e.phase} | {e.attempts} | {e.sampler}, {e.sampling_rate:g} | {e.dimension} | "
                f"{e.sensitivity:.6g} | {e.share_std:.6g} |"
                for e in self.phases
            ),
            "",
            (
                f"{self.mechanism} Sensitivity and noise are in grid units. "
                f"Owners n = {self.owners}, smallest survivor set τ = {self.threshold}, "
                f"honest shares h = {self.honest_shares}, colluders c = {self.colluders}, "
                f"tolerated dropouts d = {self.dropouts}. "
                f"{_checked(self.cross_check)}"
            ),
            "",
            "## Outside (ε, δ), bounded",
            "",
            *(f"- {name}: {value:.3g}" for name, value in self.gaps.items()),
            "",
            "## Assumptions",
            "",
            *(f"- {text}" for text in self.assumptions),
            "",
            "## Not covered",
            "",
            *(f"- {text}" for text in self.not_covered),
            "",
            f"Code version {self.code_version}.",
            "",
        ]
        return "\n".join(lines)


def finite(value: float) -> float | None:
    """The value, or None (JSON null) where it is infinite."""
    return value if math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"


def _level(value: float | None) -> str:
    return "not claimed" if value is None else f"{value:.4g}"


def _headline(statement: Statement) -> str:
    if statement.epsilon_target is None:
        return (
            "**No privacy guarantee.** This run added no noise; it is a non-private baseline and "
            "its model must be treated like the data."
        )
    return (
        f"**ε = {statement.epsilon:.4g} at δ = {statement.delta:g}** (target "
        f"{statement.epsilon_target:g}), for adding or removing one {statement.unit} of one "
        f"owner, towards the coordinator together with {statement.colluders} colluding owner(s)."
    )


def _ground_lines(ground: GroundRow | None) -> list[str]:
    if ground is None:
        return []
    return [
        (
            f"| ground tile with its labels | {_number(ground.epsilon)} (replace-one "
            f"{_number(ground.epsilon_replace)}) | in {ground.copies} owners' data, composed |"
        )
    ]


def _pixel_reason(statement: Statement) -> str:
    if statement.support == "pixel" and statement.ground is not None:
        return f"changing it replaces its tile in the data of {statement.ground.copies} owners"
    if statement.support == "pixel":
        return "changing it replaces its tile"
    return "features were computed from a neighbourhood, so a pixel reaches other tiles"


def _checked(check: CrossCheck | None) -> str:
    if check is None:
        return "No accountant applies."
    verdict = "agrees" if check.agrees else "DISAGREES"
    return (
        f"ε is by privacy loss distributions (dp-accounting); {check.accountant} {verdict}: "
        f"{check.epsilon:.4f} (difference {check.difference:+.4f}, expected 0 to 0.02)."
    )
