"""The accuracy table of the README: OA, AA and kappa by ε and noise, mean and deviation over seeds.

    python -m scripts.accuracy_table [--data FILE …] [--seeds 3] [--epsilons inf,8,1] [--folds 5]
        [--prior simulated]

Without --data it uses the simulated scene. Every row is made of runs through the same path as
`feddiff-secure run`, with its defaults. With --folds the ground (a table's regions within each
class, else the cells of `feddiff_secure.data.folds`) is dealt into folds, every fold is tested once
on a model trained on the others, and a seed's figure is over the pixels of all folds; classes that
live in one place are trained on but not tested.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.folds import fold_split
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Dataset, PixelTable
from feddiff_secure.federation.prepare import Splitter, load
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.remembered import Remembered
from feddiff_secure.federation.run import FeatureMaker, default_features, simulate
from feddiff_secure.report.accuracy import Accuracy

_remembered = Remembered()


class Part(NamedTuple):
    """What one run trains on and is tested on.

    Attributes:
        data: the data set; None for the simulated scene.
        test: a file of test data; None where a part of `data` is set aside.
        splitter: sets it aside; None for the default.
    """

    data: str | None
    test: str | None = None
    splitter: Splitter | None = None


def one(
    options: dict[str, Any], folds: int, seed: int, feature_map: FeatureMaker = default_features
) -> dict[str, float]:
    """The metrics of one run, or of the pooled test pixels of one run a fold."""
    with divided(options["data"], folds, seed) as parts:
        return _pooled(options, parts, seed, feature_map)


@contextmanager
def divided(data: str | None, folds: int, seed: int) -> Iterator[list[Part]]:
    """The parts, one a fold; without folds the data as it is."""
    with tempfile.TemporaryDirectory(prefix="folds-") as folder:  # copies of data: not left behind
        yield list(_parts(data, Path(folder), folds, seed)) if folds else [Part(data)]


def _pooled(
    options: dict[str, Any],
    parts: list[Part],
    seed: int,
    feature_map: FeatureMaker,
) -> dict[str, float]:
    """The metrics over the test pixels of all parts."""
    true, predicted = [], []
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="ledgers-") as ledgers:  # each counts for itself
            result = simulate(
                RunConfig(**{**options, "data": part.data, "test": part.test, "seed": seed}),
                log=lambda _line: None,
                progress=Silent(),
                on_ready=lambda _plan: None,
                describer=_remembered,
                feature_map=feature_map,
                splitter=part.splitter,
                ledgers=Path(ledgers),
            )
        true.append(result.test_true)
        predicted.append(result.test_predicted)
    found = Accuracy.from_labels(
        np.concatenate(true), np.concatenate(predicted), result.model.classes
    )
    return {"oa": found.oa, "aa": found.aa, "kappa": found.kappa, "n_test": found.n_test}


def _parts(data: str | None, folder: Path, folds: int, seed: int) -> Iterator[Part]:
    """A part a fold: files of a table's regions, or tiles of other ground."""
    table = load(data, seed).table
    if table is not None and table.region is not None:
        yield from _regions(table, table.region, folder, folds, seed)
        return
    for number in range(folds):
        splitter = partial(fold_split, folds=folds, number=number, seed=seed)
        yield Part(data, splitter=splitter)


def _regions(
    table: PixelTable, region: NDArray[np.int32], folder: Path, folds: int, seed: int
) -> Iterator[Part]:
    """Training and test file of every fold, split by region within each class."""
    rng = np.random.default_rng(seed)
    fold = np.full(table.n_pixels, -1)
    for label in np.unique(table.label[table.label > 0]):
        regions = rng.permutation(np.unique(region[table.label == label]))
        for number, found in enumerate(regions if len(regions) > 1 else []):
            fold[(region == found) & (table.label == label)] = number % folds
    for number in range(folds):
        train, test = (folder / f"{name}-{number}.h5" for name in ("train", "test"))
        for path, rows in ((train, fold != number), (test, fold == number)):
            write_scene(path, Dataset(table=_rows(table, rows)))
        yield Part(str(train), str(test))


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
