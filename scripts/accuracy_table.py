"""The accuracy table of the README: OA, AA and kappa by ε and noise, mean and deviation over seeds.

    python -m scripts.accuracy_table [--data FILE …] [--seeds 3] [--epsilons inf,8,1] [--folds 5]
        [--prior simulated]

Without --data it uses the simulated scene. Every row is made of runs through the same path as
`feddiff-secure run`, with its defaults. With --folds (tables with regions) the regions are dealt
into folds, every fold is tested once on a model trained on the others, and a seed's figure is
over the pixels of all folds; classes that live in one region are trained on but not tested.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset, PixelTable
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.remembered import Remembered
from feddiff_secure.federation.run import FeatureMaker, default_features, simulate
from feddiff_secure.report.accuracy import Accuracy

_remembered = Remembered()


def one(
    options: dict[str, Any], folds: int, seed: int, feature_map: FeatureMaker = default_features
) -> dict[str, float]:
    """The metrics of one run, or of the pooled test pixels of one run a fold."""
    with divided(options["data"], folds, seed) as parts:
        return _pooled(options, parts, seed, feature_map)


@contextmanager
def divided(
    data: str | None, folds: int, seed: int
) -> Iterator[list[tuple[str | None, str | None]]]:
    """(training data, test file) of every fold; without folds the data and no file."""
    with tempfile.TemporaryDirectory(prefix="folds-") as folder:  # copies of data: not left behind
        yield (
            [(data, None)]
            if not folds
            else list(_folds(Path(str(data)), Path(folder), folds, seed))
        )


def _pooled(
    options: dict[str, Any],
    parts: list[tuple[str | None, str | None]],
    seed: int,
    feature_map: FeatureMaker,
) -> dict[str, float]:
    """The metrics over the test pixels of all parts."""
    true, predicted = [], []
    for train, test in parts:
        with tempfile.TemporaryDirectory(prefix="ledgers-") as ledgers:  # each counts for itself
            result = simulate(
                RunConfig(**{**options, "data": train, "test": test, "seed": seed}),
                log=lambda _line: None,
                progress=Silent(),
                on_ready=lambda _plan: None,
                describer=_remembered,
                feature_map=feature_map,
                ledgers=Path(ledgers),
            )
        true.append(result.test_true)
        predicted.append(result.test_predicted)
    found = Accuracy.from_labels(
        np.concatenate(true), np.concatenate(predicted), result.model.classes
    )
    return {"oa": found.oa, "aa": found.aa, "kappa": found.kappa, "n_test": found.n_test}


def _folds(data: Path, folder: Path, folds: int, seed: int) -> list[tuple[str, str]]:
    """(training file, test file) of every fold, split by region within each class."""
    table = read_dataset(data).table
    if table is None or table.region is None:
        sys.exit(f"{data}: --folds needs a table with regions")
    rng = np.random.default_rng(seed)
    fold = np.full(table.n_pixels, -1)
    for label in np.unique(table.label[table.label > 0]):
        regions = rng.permutation(np.unique(table.region[table.label == label]))
        for number, region in enumerate(regions if len(regions) > 1 else []):
            fold[(table.region == region) & (table.label == label)] = number % folds
    files = []
    for number in range(folds):
        pair = (folder / f"train-{number}.h5", folder / f"test-{number}.h5")
        for path, rows in zip(pair, (fold != number, fold == number), strict=True):
            write_scene(path, Dataset(table=_rows(table, rows)))
        files.append((str(pair[0]), str(pair[1])))
    return files


def _rows(table: PixelTable, rows: NDArray[np.bool_]) -> PixelTable:
    return dataclasses.replace(
        table,
        modalities={name: held.pick(rows) for name, held in table.modalities.items()},
        label=table.label[rows],
        **{
            name: None if getattr(table, name) is None else getattr(table, name)[rows]
            for name in ("region", "group", "site", "row_col")
        },
    )


def rows(
    data: str | None, seeds: int, epsilons: list[float], folds: int, extra: dict[str, Any]
) -> list[Any]:
    """One row an ε and noise mode."""
    found = []
    for epsilon in epsilons:
        for noise in ("distributed", "local") if np.isfinite(epsilon) else ("none",):
            options = {"data": data, "epsilon": epsilon, "noise": noise, **extra}
            runs = [one(options, folds, seed) for seed in range(seeds)]
            row: dict[str, Any] = {"data": data or "simulated", "epsilon": str(epsilon)}
            row["noise"] = noise
            for name in ("oa", "aa", "kappa"):
                values = [run[name] for run in runs]
                row[name] = float(np.mean(values))
                row[f"{name}_sd"] = float(np.std(values, ddof=1)) if seeds > 1 else 0.0
            row["n_test"] = runs[0]["n_test"]
            found.append(row)
            print(
                f"| {row['epsilon']} | {noise} | {row['oa']:.3f} ± {row['oa_sd']:.3f} | "
                f"{row['aa']:.3f} ± {row['aa_sd']:.3f} | {row['kappa']:.3f} |",
                file=sys.stderr,
                flush=True,
            )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilons", default="inf,8,1")
    parser.add_argument("--partition", default="iid")
    parser.add_argument("--owners", type=int)
    parser.add_argument("--prior", default="simulated")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    epsilons = [float(text) for text in given.epsilons.split(",")]
    extra = {"partition": given.partition, "owners": given.owners, "prior": given.prior}
    table = [
        row
        for data in given.data or [None]
        for row in rows(data, given.seeds, epsilons, given.folds, extra)
    ]
    if given.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
