"""The privacy statement: what a run guarantees, to whom, resting on what, in two forms.

`privacy.json` is for programs and `privacy.md` for the person who signs or refuses. Both are made
from one object, so they cannot disagree. An ε that is infinite or not claimed is `null` in JSON
and "none" in the text; it is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from feddiff_privacy.events import Event

STATEMENT_VERSION = 1
ACCOUNTANT = "pld (dp-accounting)"


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


@dataclass(frozen=True, slots=True)
class GroupRow:
    """ε of `tiles` tiles that change together: ground of several owners, or a thing in several."""

    tiles: int
    epsilon: float
    epsilon_replace: float

    def to_json(self) -> dict[str, Any]:
        """The row of `privacy.json`; infinite is null."""
        return {
            "tiles": self.tiles,
            "epsilon": finite(self.epsilon),
            "epsilon_replace_one": finite(self.epsilon_replace),
        }


@dataclass(frozen=True, slots=True)
class PhaseSampling:
    """How the batches of a phase were accounted for, and how they were drawn."""

    phase: str
    assumed: str
    executed: str


@dataclass(frozen=True, slots=True)
class DataAccess:
    """Something that read private data.

    Attributes:
        what: in words.
        covered: whether ε covers it.
        how: why, or what stands in its place.
    """

    what: str
    covered: bool
    how: str


SIMULATED = "simulated"
ONE_MACHINE = "flare, one machine"
ACROSS = "flare"
DEPLOYMENTS = (SIMULATED, ONE_MACHINE, ACROSS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything the statement says.

    Attributes:
        deployment: `simulated` where one process held every owner, `flare, one machine` where
            owners were processes of one machine, else `flare`.
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
        accountant: what made the numbers, in words.
        groups: ε of the calibrated row for tiles that change together.
        sampling: for each phase how batches were accounted for and how they were drawn.
        data_accesses: everything that read private data, and whether ε covers it.
        random_source: of noise, sampling and keys.
        libraries: versions of what computed ε and the noise.
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
    phases: Sequence[Event]
    cross_check: CrossCheck | None
    adversaries: Sequence[AdversaryRow]
    calibrated_row: str
    support: str
    accountant: str = ACCOUNTANT
    groups: Sequence[GroupRow] = ()
    sampling: Sequence[PhaseSampling] = ()
    data_accesses: Sequence[DataAccess] = ()
    random_source: str = "not stated"
    libraries: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, float]
    assumptions: Sequence[str]
    not_covered: Sequence[str]
    code_version: str
    lifetime_epsilon: float | None = None
    ground: GroundRow | None = None

    def units(self, row: AdversaryRow) -> dict[str, dict[str, float | None]]:
        """ε of a row by unit and adjacency; None where nothing is claimed.

        Changing, adding or removing a record or a pixel leaves its tile with other content, or
        makes or empties it: replacing the tile bounds them all. Features computed from a
        neighbourhood carry a pixel into other tiles, of which nothing is claimed. A pixel of ground
        that several owners hold is composed over them, for the calibrated row alone.
        """
        added, replaced = finite(row.epsilon), finite(row.epsilon_replace)
        # Replace-one bounds add/remove of a tile too wherever both are finite.
        inside = None if added is None or replaced is None else max(added, replaced)
        if self.ground is not None:
            composed = finite(self.ground.epsilon_replace)
            pixel = composed if row.name == self.calibrated_row else None
        else:
            pixel = inside
        pixel = pixel if self.support == "pixel" else None
        return {
            "tile": {"add_remove": added, "replace_one": replaced},
            "record": {"add_remove": inside, "replace_one": inside},
            "pixel": {"add_remove": pixel, "replace_one": pixel},
        }

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
            "accountant": self.accountant,
            "cross_check": None
            if check is None
            else {
                "accountant": check.accountant,
                "epsilon": check.epsilon,
                "difference": check.difference,
                "agrees": check.agrees,
            },
            "adversaries": [
                {**row.to_json(), "units": self.units(row)} for row in self.adversaries
            ],
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
            "groups": [row.to_json() for row in self.groups],
            "sampling": [asdict(row) for row in self.sampling],
            "data_accesses": [asdict(row) for row in self.data_accesses],
            "random_source": self.random_source,
            "libraries": self.libraries,
            "gaps": self.gaps,
            "assumptions": list(self.assumptions),
            "not_covered": list(self.not_covered),
        }

    def to_markdown(self) -> str:
        """The text of `privacy.md`."""
        from feddiff_privacy.statement_text import markdown  # noqa: PLC0415  # it needs this class

        return markdown(self)


def finite(value: float) -> float | None:
    """The value, or None (JSON null) where it is infinite."""
    return value if math.isfinite(value) else None
