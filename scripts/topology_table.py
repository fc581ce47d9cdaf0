"""Accuracy by topology: each modality alone, split, mixed and paired, by ε.

    python -m scripts.topology_table [--data FILE …] [--seeds 3] [--epsilons inf,8,1] [--folds 5]
        [--rows split,paired]

Every row is made of runs through the same path as `feddiff-secure run` (scripts/accuracy_table.py
says what folds and seeds do). Alone, split and paired have two owners, so that a sum has the noise
of its calibrated observer in all of them; mixed has four, two of each modality, each with a quarter
of the ground. Test pixels have both modalities but in the rows of one modality alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Dataset, PixelTable, Scene
from feddiff_secure.federation.prepare import load
from scripts.accuracy_table import one

ROWS: dict[str, dict[str, Any]] = {
    "HSI alone": {"owners": 2, "only": "hsi"},
    "LiDAR alone": {"owners": 2, "only": "lidar"},
    "split": {"owners": 2, "topology": "split"},
    "mixed": {"owners": 4, "topology": "mixed"},
    "paired": {"owners": 2},
}
Part = TypeVar("Part", PixelTable, Scene)
METRICS = ("oa", "aa", "kappa")


def row(data: str | None, name: str, epsilon: float, folds: int, seeds: int) -> dict[str, Any]:
    """Mean and deviation over seeds of one topology at one ε."""
    options = dict(ROWS[name])
    only = options.pop("only", None)
    runs = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(prefix="topology-") as folder:
            used = data if only is None else single(data, seed, only, Path(folder))
            runs.append(one({**options, "data": used, "epsilon": epsilon}, folds, seed))
    found: dict[str, Any] = {"data": data or "simulated", "topology": name, "epsilon": str(epsilon)}
    for metric in METRICS:
        values = [run[metric] for run in runs]
        found[metric] = float(np.mean(values))
        found[f"{metric}_sd"] = float(np.std(values, ddof=1)) if seeds > 1 else 0.0
    return found | {"n_test": runs[0]["n_test"]}


def single(data: str | None, seed: int, modality: str, folder: Path) -> str:
    """A copy of the data that holds one modality."""
    dataset = load(data, seed)
    path = folder / f"{modality}.h5"
    if dataset.table is not None:
        write_scene(path, Dataset(table=_only(dataset.table, modality)))
    else:
        scenes = tuple(_only(scene, modality) for scene in dataset.scenes)
        write_scene(path, Dataset(scenes=scenes))
    return str(path)


def _only(part: Part, modality: str) -> Part:
    return dataclasses.replace(part, modalities={modality: part.modalities[modality]})


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", default="inf,8,1")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    table = []
    for data in given.data or [None]:
        for epsilon in [float(text) for text in given.epsilons.split(",")]:
            for name in given.rows.split(","):
                found = row(data, name, epsilon, given.folds, given.seeds)
                table.append(found)
                cells = [f"{found[m]:.3f} ± {found[f'{m}_sd']:.3f}" for m in METRICS]
                line = f"| {name} | {found['epsilon']} | {' | '.join(cells)} |"
                print(line, file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
