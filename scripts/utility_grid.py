"""Accuracy over ε, noise, owners and tile side: one JSON line a row, mean and deviation over seeds.

    python -m scripts.utility_grid --data FILE [--folds 5] [--seeds 3] [--epsilons inf,8,4,2,1]
        [--owners 4,16] [--tiles 1] [--noise c0,c1,local]

`c0` and `c1` are distributed noise for no and for one colluder. At ε = ∞ there is one row without
noise. Rows that the file given with --done already has are left out, so that a grid can be stopped
and gone on with. Everything else is the default of `feddiff-secure run`; nothing is tuned per row.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scripts.accuracy_table import one

NOISE: dict[str, dict[str, Any]] = {
    "c0": {"noise": "distributed", "colluders": 0},
    "c1": {"noise": "distributed", "colluders": 1},
    "local": {"noise": "local"},
    "none": {"noise": "none"},
}
KEYS = ("owners", "tile", "epsilon", "noise")


def grid(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows asked for."""
    for owners in map(int, given.owners.split(",")):
        for tile in map(int, given.tiles.split(",")):
            for epsilon in given.epsilons.split(","):
                kinds = given.noise.split(",") if math.isfinite(float(epsilon)) else ["none"]
                for noise in kinds:
                    yield {"owners": owners, "tile": tile, "epsilon": epsilon, "noise": noise}


def row(given: argparse.Namespace, asked: dict[str, Any]) -> dict[str, Any]:
    """One row, measured."""
    options = {
        "data": given.data,
        "owners": asked["owners"],
        "tile": asked["tile"],
        "epsilon": float(asked["epsilon"]),
        **NOISE[asked["noise"]],
    }
    runs = [one(options, given.folds, seed) for seed in range(given.seeds)]
    found = dict(asked)
    for name in ("oa", "aa", "kappa"):
        values = [run[name] for run in runs]
        found[name] = round(float(np.mean(values)), 4)
        found[f"{name}_sd"] = round(float(np.std(values, ddof=1)), 4) if len(runs) > 1 else None
    return found


def main() -> None:
    """Print a line a row as it is done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", default="inf,8,4,2,1")
    parser.add_argument("--owners", default="4,16")
    parser.add_argument("--tiles", default="1")
    parser.add_argument("--noise", default="c0,c1,local")
    parser.add_argument("--done", type=Path, help="JSON lines of rows that are not run again")
    given = parser.parse_args()
    done = []
    if given.done is not None and given.done.is_file():
        lines = given.done.read_text(encoding="utf-8").splitlines()
        done = [tuple(json.loads(line)[key] for key in KEYS) for line in lines]
    for asked in grid(given):
        if tuple(asked[key] for key in KEYS) not in done:
            print(json.dumps(row(given, asked)), flush=True)


if __name__ == "__main__":
    main()
