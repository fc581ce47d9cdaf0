"""Accuracy with part of the LiDAR missing, against all of it, by topology and ε.

    python -m scripts.missing_lidar --data FILE [--missing 0.1] [--seeds 2] [--folds 2]

The file is a table with LiDAR and regions. Pixels are drawn at random by the seed; they are missing
for training and for testing. Owners are two, four in mixed, as in scripts/topology_table.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError
from scripts.accuracy_table import one

OWNERS = {"paired": 2, "split": 2, "mixed": 4}


def with_gaps(path: Path, share: float, seed: int, folder: Path) -> Path:
    """A copy of a table in which a share of the pixels has no LiDAR."""
    table = read_dataset(path).table
    if table is None or "lidar" not in table.modalities:
        raise DataError(f"{path}: no table with LiDAR", "give a table of both modalities")
    lidar = table.modalities["lidar"]
    valid = np.random.default_rng(seed).random(table.n_pixels) >= share
    values = np.where(valid[:, None], lidar.values, np.float32(0))
    gappy = dataclasses.replace(lidar, values=values, valid=valid)
    modalities = {**table.modalities, "lidar": gappy}
    written = folder / f"missing-{seed}.h5"
    write_scene(written, Dataset(table=dataclasses.replace(table, modalities=modalities)))
    return written


def measured(
    data: Path, share: float, options: dict[str, Any], folds: int, seeds: int
) -> list[float]:
    """Overall accuracy, one a seed."""
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(prefix="missing-") as folder:
            used = with_gaps(data, share, seed, Path(folder)) if share else data
            found.append(one({**options, "data": str(used)}, folds, seed)["oa"])
    return found


def main() -> None:
    """Print one line a topology and ε."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--missing", type=float, default=0.1)
    parser.add_argument("--topologies", default="paired,split,mixed")
    parser.add_argument("--epsilons", default="inf,8")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--folds", type=int, default=2)
    given = parser.parse_args()
    for topology in given.topologies.split(","):
        for epsilon in map(float, given.epsilons.split(",")):
            options = {"topology": topology, "owners": OWNERS[topology], "epsilon": epsilon}
            line: dict[str, Any] = {"topology": topology, "epsilon": str(epsilon)}
            for name, share in (("all", 0.0), ("missing", given.missing)):
                line[name] = measured(given.data, share, options, given.folds, given.seeds)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
