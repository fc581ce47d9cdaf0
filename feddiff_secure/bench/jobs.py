"""From a grid to the runs it asks for: one job a point and seed, each with the name of its file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import rfc8785

from feddiff_secure.bench.grid import DataSource, Grid, named
from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import DataError, UsageError

JOB_VERSION: Final = 1
Kind = Literal["federated", "alone", "centralised", "paper"]
Values = dict[str, Any]
KINDS: Final = ("federated", "alone", "centralised", "paper")
MOST_JOBS: Final = 10_000
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """One point at one seed.

    Attributes:
        kind: `federated`, or a comparison: each owner `alone`, `centralised`, `paper`.
        source: the data set. config: the run.
        hashes: SHA-256 (hex) of the files of the data set, `data` and `test`.
        maps: whether its land-cover map is kept for the report.
    """

    kind: Kind
    source: DataSource
    config: RunConfig
    hashes: tuple[tuple[str, str], ...]
    maps: bool = False

    def to_json(self) -> dict[str, Any]:
        """What the job is: equal jobs are equal objects, whatever else the grid asks for."""
        config = {**self.config.to_dict(), "epsilon": named(self.config.epsilon)}
        return {
            "version": JOB_VERSION,
            "kind": self.kind,
            "data": {"name": self.source.name, "folds": self.source.folds, **dict(self.hashes)},
            "config": config,
        }

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON: the name of its file."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()

    @property
    def group(self) -> tuple[str, int]:
        """Jobs that share tiles, and so their descriptors."""
        return (self.source.name, -1 if self.source.path else self.config.seed)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A combination of the axes that no run allows, and why."""

    point: str
    reason: str


def jobs_of(grid: Grid) -> tuple[list[Job], list[LeftOut]]:
    """All jobs of a grid, and what was left out.

    Raises:
        DataError: a data file that cannot be read.
        UsageError: a value of an axis that no combination allows; too many jobs.
    """
    jobs: dict[str, Job] = {}
    left_out: list[LeftOut] = []
    refused: list[tuple[Values, str]] = []
    for source in grid.data:
        hashes = _hashes(source)
        for kind, values, maps in _points(grid):
            common = {"data": source.path, "test": source.test, **grid.run}
            if source.tile is not None:
                common["tile"] = source.tile
            if kind == "paper":
                common = {name: common[name] for name in ("data", "test", "tile") if name in common}
            try:
                config = RunConfig(**with_profile_defaults({**common, **values}))
            except UsageError as error:
                refused.append((values, str(error)))
                if values.get("seed") == 0:
                    left_out.append(LeftOut(_in_words(source, kind, values), str(error)))
                continue
            job = Job(kind, source, config, hashes, maps)
            jobs.setdefault(job.digest, job)
    _check_axes(grid, list(jobs.values()), refused)
    return list(jobs.values()), left_out


def _points(grid: Grid) -> Iterator[tuple[Kind, Values, bool]]:
    """Every point at every seed: its kind, the values of its axes, whether its map is kept."""
    for seed in range(grid.seeds):
        for epsilon in grid.epsilons:
            noises = grid.noises if math.isfinite(epsilon) else ("none",)
            base: Values = {"epsilon": epsilon, "seed": seed}
            own: Values = {"noise": "local" if math.isfinite(epsilon) else "none"}
            own |= {"colluders": 0, "dropouts": 0}
            for place, (topology, owners) in enumerate(
                (topology, owners) for topology in grid.topologies for owners in grid.owners
            ):
                where = {**base, "topology": topology, "owners": owners}
                for aggregation in grid.aggregations:
                    for noise in noises:
                        first = aggregation == grid.aggregations[0] and noise == noises[0]
                        values = {**where, "aggregation": aggregation, "noise": noise}
                        yield "federated", values, first and not place and not seed
                if "alone" in grid.comparisons:
                    yield "alone", {**where, **own}, False
            if "centralised" in grid.comparisons:
                yield "centralised", {**base, "topology": "paired", "owners": 2, **own}, False
    if "paper" in grid.comparisons:  # one seed: it takes minutes
        yield "paper", {"profile": "paper", "seed": 0}, False


def _check_axes(grid: Grid, jobs: list[Job], refused: list[tuple[Values, str]]) -> None:
    """A value that is in no job at all is a mistake, not a combination to leave out."""
    if len(jobs) > MOST_JOBS:
        raise UsageError(f"the grid has {len(jobs)} runs", f"give at most {MOST_JOBS}")
    made = [job.config for job in jobs if job.kind == "federated"]
    axes: dict[str, tuple[Any, ...]] = {
        "epsilon": grid.epsilons,
        "topology": grid.topologies,
        "aggregation": grid.aggregations,
        "owners": grid.owners,
    }
    for name, values in axes.items():
        for value in values:
            if not any(getattr(config, name) == value for config in made):
                # (by its text, as nan is not equal to itself)
                reason = next(why for tried, why in refused if str(tried.get(name)) == str(value))
                raise UsageError(f"grid: {name} {value}: {reason}", "take it out of the grid")


def _in_words(source: DataSource, kind: Kind, values: Values) -> str:
    shown = [f"{name} {value}" for name, value in values.items() if name != "seed"]
    return ", ".join([source.name, kind, *shown])


def _hashes(source: DataSource) -> tuple[tuple[str, str], ...]:
    paths = (("data", source.path), ("test", source.test))
    return tuple((name, _file_hash(Path(path))) for name, path in paths if path is not None)


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "give a readable data file") from error
    return digest.hexdigest()
