"""Two benchmarks, or two runs, side by side: the points they share and how their metrics differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_secure.bench.grid import SIMULATED, named
from feddiff_secure.bench.record import read_json
from feddiff_secure.bench.results import read_bench
from feddiff_secure.bench.summary import METRICS, spread
from feddiff_secure.config.load import load_config
from feddiff_secure.errors import DataError, UsageError

FORMAT: Final = "feddiff-secure difference"
VERSION: Final = 1
AXES: Final = ("kind", "data", "epsilon", "topology", "aggregation", "noise", "owners")
NUMBERS: Final = ("epsilon_reached", "bytes_up_per_owner_per_round", "communication_parameters")
_MOST_BYTES: Final = 1 << 22
_HINT: Final = "give the folder or bench.json of a benchmark, or a run directory"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        path: as it was given. is_run: a run directory, not a benchmark.
        points: as `bench.json` has them, the fields that are compared.
        settings: of a run, its resolved configuration.
    """

    path: Path
    is_run: bool
    points: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]


def read_side(path: Path) -> Side:
    """Read what a path means.

    Raises:
        UsageError: nothing is there. DataError: it is neither, or damaged.
    """
    if not path.exists():
        raise UsageError(f"{path}: does not exist", _HINT)
    if path.is_file():
        return Side(path, False, tuple(read_bench(path)["points"]), {})
    if (path / "bench.json").is_file():
        return Side(path, False, tuple(read_bench(path / "bench.json")["points"]), {})
    if (path / "config.toml").is_file():
        return _run(path)
    raise DataError(f"{path}: holds neither bench.json nor config.toml", _HINT)


def compared(a: Side, b: Side) -> dict[str, Any]:
    """The object of a comparison: B less A.

    Args:
        a: the older, or the baseline. b: the other, of the same kind.

    Raises:
        UsageError: a run and a benchmark, or nothing in common.
    """
    if a.is_run != b.is_run:
        raise UsageError(
            f"{a.path} and {b.path}: one is a run, the other a benchmark",
            "compare two of a kind",
        )
    if a.is_run:
        pairs = [(a.points[0], b.points[0])]
        only: dict[str, list[dict[str, Any]]] = {"only_a": [], "only_b": []}
    else:
        ours, theirs = ({_key(p): p for p in side.points} for side in (a, b))
        pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
        only = {
            "only_a": [_axes(p) for key, p in ours.items() if key not in theirs],
            "only_b": [_axes(p) for key, p in theirs.items() if key not in ours],
        }
    if not pairs:
        raise UsageError(f"{a.path} and {b.path} have no point in common", "see their bench.json")
    return {
        "format": FORMAT,
        "version": VERSION,
        "a": str(a.path),
        "b": str(b.path),
        "rows": [_row(one, other) for one, other in pairs],
        **only,
        "settings": [
            {"name": name, "a": a.settings.get(name), "b": b.settings.get(name)}
            for name in sorted(a.settings.keys() | b.settings.keys())
            if a.settings.get(name) != b.settings.get(name)
        ],
    }


def _run(path: Path) -> Side:
    config = load_config(path / "config.toml", {})
    metrics = read_json(path / "metrics.json", _MOST_BYTES, _HINT)
    privacy = read_json(path / "privacy.json", _MOST_BYTES, _HINT)
    for name in METRICS:
        value = metrics.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
            raise DataError(f"{path / 'metrics.json'}: {name} is {value!r}, not in −1…1", _HINT)
    settings = {**config.to_dict(), "epsilon": named(config.epsilon)}
    point = {
        "kind": "paper" if config.profile == "paper" else "federated",
        "data": SIMULATED if config.data is None else Path(config.data).name,
        **{name: settings.get(name) for name in AXES[2:]},
        "noise": config.noise_mode,
        "owners": _number(metrics, "owners", path),
        "seeds": [config.seed],
        **{name: spread([metrics[name]]) for name in METRICS},
        **{name: _number(metrics, name, path) for name in NUMBERS[1:]},
        "epsilon_reached": _number(privacy, "epsilon", path),
    }
    return Side(path, True, (point,), settings)


def _number(values: Mapping[str, Any], name: str, path: Path) -> float | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise DataError(f"{path}: {name} is {str(value)[:40]!r}, not a number", _HINT)
    return value


def _key(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(point[name] for name in AXES)


def _axes(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: point[name] for name in AXES}


def _row(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_axes(b),
        **{name: _metric(a, b, name) for name in METRICS},
        **{name: {"a": a[name], "b": b[name]} for name in NUMBERS},
    }


def _metric(a: Mapping[str, Any], b: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Both means and their difference, seed by seed where both have the same seeds."""
    ours, theirs = a[name], b[name]
    if a["seeds"] == b["seeds"]:
        pairs = zip(ours["values"], theirs["values"], strict=True)
        change = spread([other - one for one, other in pairs])
    else:
        change = spread([theirs["mean"] - ours["mean"]])
    return {"a": ours["mean"], "b": theirs["mean"], "change": change}
