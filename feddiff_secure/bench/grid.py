"""The grid of a benchmark: its axes, its data sets, and the file they are read from.

Keys are strict, as everywhere; what a run has beside the axes is given once, for all of them.

    epsilons = [inf, 8, 1]            # order is kept in tables
    noises = ["distributed", "local"]  # of finite ε; at inf there is none
    seeds = 3                          # 0, 1, 2
    comparisons = ["alone", "centralised"]

    [[data]]
    name = "Houston"
    path = "houston2013_pixels.h5"
    folds = 5

    [run]
    rounds = 60
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from feddiff_secure.config.adaptation import DP
from feddiff_secure.config.load import check_keys
from feddiff_secure.config.schema import CHOICES, RunConfig
from feddiff_secure.data.folds import MOST_FOLDS
from feddiff_secure.errors import UsageError

COMPARISONS: Final = ("alone", "centralised", "paper")
SIMULATED: Final = "simulated scene"
MOST_SEEDS: Final = 100
MOST_BYTES: Final = 1 << 20  # of a grid file
_NAME: Final = re.compile(r"[^\W_][\w .()-]{0,39}")
_AXES: Final = ("epsilon", "topology", "aggregation", "noise", "owners", "seed")
_RUN_KEYS: Final = frozenset(
    {
        "delta", "partition", "holds", "labels", "key_agreement", "rounding", "mechanism",
        "colluders", "dropouts", "nominal_tiles", "count_fraction", "centring", "mean_fraction",
        "class_means", "class_fraction", "prior", "prior_rounds", "prior_fraction", "unit", "tile",
        "rounds", "sampling_rate", "clip", "spectra",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """One data set.

    Attributes:
        name: what tables call it, 1 to 40 characters.
        path: of the file; None for the built-in simulated scene.
        test: of a separate test file; None tests on a part of `path`.
        folds: in how many folds by region `path` is tested; 0 for one test part.
        tile: side of a tile; None for the default of the data's kind.
    """

    name: str
    path: str | None = None
    test: str | None = None
    folds: int = 0
    tile: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"data: name {self.name[:60]!r}",
                "use 1 to 40 letters, digits, spaces and . _ - ( ), a letter or digit first",
            )
        if self.folds != 0 and not 2 <= self.folds <= MOST_FOLDS:
            raise UsageError(
                f"data {self.name}: folds is {self.folds}",
                f"give 2 to {MOST_FOLDS}, or leave it out for one test part",
            )
        if self.test is not None and (self.folds or self.path is None):
            other = "folds" if self.folds else "the simulated scene"
            raise UsageError(
                f"data {self.name}: test with {other}", "give a test file of --data alone"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The axes and what is common to all points.

    Attributes:
        epsilons: target ε, `inf` for no privacy. topologies, aggregations, noises, owners: as
            `RunConfig` has them; noise counts where ε is finite.
        seeds: number of seeds, 0 … seeds − 1.
        data: the data sets.
        comparisons: what is run beside the federation: each owner `alone`, all data `centralised`,
            and FedDiff as published, `paper`.
        run: other options of `RunConfig`, the same for every point.
    """

    epsilons: tuple[float, ...] = (math.inf, 8.0, 1.0)
    topologies: tuple[str, ...] = ("paired",)
    aggregations: tuple[str, ...] = ("masked",)
    noises: tuple[str, ...] = ("distributed", "local")
    owners: tuple[int, ...] = (4,)
    seeds: int = 3
    data: tuple[DataSource, ...] = (DataSource(name=SIMULATED),)
    comparisons: tuple[str, ...] = ("alone", "centralised")
    run: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UsageError(f"seeds is {self.seeds}", f"give 1 to {MOST_SEEDS}")
        known = {
            "topologies": CHOICES["topology"],
            "aggregations": CHOICES["aggregation"],
            "noises": tuple(name for name in CHOICES["noise"] if name != "none"),
            "comparisons": COMPARISONS,
        }
        for name in ("epsilons", "topologies", "aggregations", "noises", "owners", "data"):
            if not getattr(self, name):
                raise UsageError(f"{name} is empty", "give at least one")
        for name, allowed in known.items():
            for value in getattr(self, name):
                if value not in allowed:
                    raise UsageError(f"{name}: {value!r}", nearest(str(value), allowed))
        for name in (*known, "epsilons", "owners"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise UsageError(f"{name}: {values} names one twice", "give each once")
        names = [source.name for source in self.data]
        if len(set(names)) != len(names):
            raise UsageError(f"data: {names} names one twice", "give each data set its own name")
        for key in self.run:
            if key not in _RUN_KEYS:
                raise UsageError(f"[run]: key {key!r}", _not_common(key))
        check_keys(self.run, "[run]")
        alone = [name for name in self.comparisons if name in {"alone", "centralised"}]
        if self.run.get("prior") == DP and alone:
            raise UsageError(
                f"[run]: prior dp with comparisons {alone[0]}: one holder alone adapts no branch",
                'give comparisons = [] or ["paper"], or leave out prior',
            )

    def to_json(self) -> dict[str, Any]:
        """All fields; infinity is the text `inf`."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        lists = {name: list(fields[name]) for name in ("topologies", "aggregations", "noises")}
        return {
            **fields,
            **lists,
            "epsilons": [named(value) for value in self.epsilons],
            "owners": list(self.owners),
            "comparisons": list(self.comparisons),
            "data": [dataclasses.asdict(source) for source in self.data],
            "run": dict(self.run),
        }


def named(epsilon: float) -> float | str:
    """ε as JSON has it: infinity is the text `inf`."""
    return "inf" if math.isinf(epsilon) else epsilon


def load_grid(path: Path, folder: Path | None = None) -> Grid:
    """Read a grid file strictly.

    Args:
        path: the file.
        folder: where relative names of data files are looked up; None for the working directory.

    Raises:
        UsageError: an unreadable file, an unknown key, a wrong type or value.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES} bytes", "give a TOML file")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", "see docs/bench.md") from error
    grid = parse_grid(values, str(path))
    if folder is None:
        return grid
    return dataclasses.replace(grid, data=tuple(_within(folder, entry) for entry in grid.data))


def _within(folder: Path, source: DataSource) -> DataSource:
    return dataclasses.replace(
        source,
        path=None if source.path is None else str(folder / source.path),
        test=None if source.test is None else str(folder / source.test),
    )


def parse_grid(values: Mapping[str, Any], source: str) -> Grid:
    """A grid from the values of a file.

    Raises:
        UsageError: an unknown key, with the nearest known one; a wrong type or value.
    """
    _check_names(values, [f.name for f in dataclasses.fields(Grid)], source)
    found: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{source}: {name}"
        if name == "data":
            found[name] = tuple(_source(entry, where) for entry in _list_of(value, dict, where))
        elif name == "run":
            found[name] = _one(value, dict, where)
        elif name == "seeds":
            found[name] = _one(value, int, where)
        elif name == "epsilons":
            found[name] = tuple(float(entry) for entry in _list_of(value, float, where))
        else:
            kind = int if name == "owners" else str
            found[name] = tuple(_list_of(value, kind, where))
    return Grid(**found)


def nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """A hint: the known name that is closest, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def _source(values: Mapping[str, Any], where: str) -> DataSource:
    fields = {f.name: str(f.type) for f in dataclasses.fields(DataSource)}
    _check_names(values, list(fields), where)
    if "name" not in values:
        raise UsageError(f"{where}: an entry without a name", 'give name = "…"')
    for name, value in values.items():
        _one(value, int if "int" in fields[name] else str, f"{where}: {name}")
    return DataSource(**values)


def _check_names(values: Mapping[str, Any], known: list[str], where: str) -> None:
    for name in values:
        if name not in known:
            raise UsageError(f"{where}: unknown key {name!r}", nearest(name, known))


def _list_of(value: Any, kind: type, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{where} is {value!r}", "give a list, [ … ]")
    return [_one(entry, kind, where) for entry in value]


def _one(value: Any, kind: type, where: str) -> Any:
    words = {int: "an integer", float: "a number", str: "text in quotes", dict: "a table"}
    allowed = (int, float) if kind is float else (kind,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise UsageError(f"{where}: {str(value)[:80]!r}", f"give {words[kind]}")
    return value


def _not_common(key: str) -> str:
    if key in _AXES or key in {"data", "test", "profile"}:
        return "this is an axis of the grid: give it outside [run]"
    if key in {f.name for f in dataclasses.fields(RunConfig)}:
        return "a benchmark sets this itself; leave it out"
    return nearest(key, sorted(_RUN_KEYS))
