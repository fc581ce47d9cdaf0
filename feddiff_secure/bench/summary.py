"""What records come to: means over seeds with intervals, and differences seed by seed.

An interval is the two-sided 95 % interval of Student's t over the seeds, for the mean. A seed
decides partition, projections, folds and a simulated scene; noise is fresh in every run. So it
covers all of these, and nothing of how one data set differs from the next. One seed has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from scipy import stats

METRICS: Final = ("oa", "aa", "kappa")
CONFIDENCE: Final = 0.95
_AXES: Final = ("epsilon", "topology", "aggregation", "noise", "owners")
Record = Mapping[str, Any]
Point = dict[str, Any]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and interval of the values of all seeds; null where one has none."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": mean, "sd": None, "low": None, "high": None, "values": list(values)}
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * sd / math.sqrt(len(values))
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "values": list(values)}


def point_key(record: Record) -> tuple[Any, ...]:
    """What the records of one point have in common."""
    job = record["job"]
    return (job["kind"], job["data"]["name"], *(job["config"].get(name) for name in _AXES))


def points_of(records: Iterable[Record]) -> list[Point]:
    """One object a point, in the order of its first record."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(point_key(record), []).append(record)
    return [_point(key, group) for key, group in groups.items()]


def _point(key: tuple[Any, ...], group: list[Record]) -> Point:
    group = sorted(group, key=_seed)
    kind, data, *axes = key
    classes, numbers = group[0]["classes"], group[0]["numbers"]
    reached = [part["epsilon"] for record in group for part in record["parts"]]
    found: Point = {
        "kind": kind,
        "data": data,
        **dict(zip(_AXES, axes, strict=True)),
        "seeds": [_seed(record) for record in group],
        "epsilon_reached": None if None in reached else max(reached),
        "n_test": [record["metrics"]["n_test"] for record in group],
        "classes": classes,
        "per_class": {
            name: _mean(record["metrics"]["per_class"][name] for record in group)
            for name in classes
        },
        "confusion": np.sum([r["metrics"]["confusion"] for r in group], axis=0).tolist(),
        "seconds": _mean_by_stage(group),
        "wall_seconds": float(np.mean([record["wall_seconds"] for record in group])),
        "runs_a_seed": len(group[0]["parts"]),
        "test": numbers["test"],
        "tile": numbers["tile"],
    }
    for name in ("bytes_up_per_owner_per_round", "releases", "communication_parameters"):
        found[name] = numbers.get(name)
    return found | {name: spread([record["metrics"][name] for record in group]) for name in METRICS}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean_by_stage(group: list[Record]) -> dict[str, float]:
    """Mean seconds a seed, by stage."""
    stages = dict.fromkeys(stage for record in group for stage in record["seconds"])
    return {s: float(np.mean([r["seconds"].get(s, 0.0) for r in group])) for s in stages}


def _seed(record: Record) -> int:
    return int(record["job"]["config"]["seed"])


def differences_of(points: Sequence[Point]) -> list[dict[str, Any]]:
    """What each thing costs or gains: the differences of two points, seed by seed.

    * `privacy`: at a finite ε against the same federation without.
    * `shared noise`: distributed against local noise at the same ε.
    * `federation`: against each owner alone at the same ε.
    * `trust`: against one trusted holder of all tiles at the same ε.
    """
    found = []
    for point in points:
        if point["kind"] != "federated":
            continue
        same = {name: point[name] for name in ("data", "topology", "owners")}
        kept = {**same, "kind": "federated", "aggregation": point["aggregation"]}
        if point["epsilon"] != "inf":
            found += _against(points, point, "privacy", {**kept, "epsilon": "inf"})
        if point["noise"] == "distributed":
            local = {**kept, "epsilon": point["epsilon"], "noise": "local"}
            found += _against(points, point, "shared noise", local)
        alone = {**same, "kind": "alone", "epsilon": point["epsilon"]}
        found += _against(points, point, "federation", alone)
        central = {"data": point["data"], "kind": "centralised", "epsilon": point["epsilon"]}
        found += _against(points, point, "trust", central)
    return found


def _against(
    points: Sequence[Point], point: Point, what: str, wanted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    for other in points:
        if all(other[name] == value for name, value in wanted.items()):
            axes = {name: point[name] for name in ("data", *_AXES)}
            return [
                {"what": what, **axes, **{name: _paired(point, other, name) for name in METRICS}}
            ]
    return []


def _paired(point: Point, other: Point, metric: str) -> dict[str, Any]:
    ours = dict(zip(point["seeds"], point[metric]["values"], strict=True))
    theirs = dict(zip(other["seeds"], other[metric]["values"], strict=True))
    return spread([ours[seed] - theirs[seed] for seed in ours if seed in theirs])
