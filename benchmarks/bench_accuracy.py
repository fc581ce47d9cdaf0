"""Accuracy on real data by region folds (`accuracy`, `shared noise`; with --data-dir only).

One seed a row, over the test pixels of five folds: enough to notice what breaks, not to tell two
recipes apart. `make bench` has the seeds and the intervals.
"""

from __future__ import annotations

import math
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import DATA, measure, record, row
from feddiff_secure.bench.grid import DataSource, Grid
from feddiff_secure.bench.jobs import jobs_of
from feddiff_secure.bench.one_run import run_job
from feddiff_secure.federation.remembered import Remembered

FILES: Final = {"Houston": "houston2013_pixels.h5", "forest": "idtrees_plots.h5"}
FOLDS: Final = 5
HARDER: Final = f"{FOLDS} folds by region of the shared file, not the design's other regions"
_remembered = Remembered()


@cache
def metrics(name: str, epsilon: float, noise: str) -> dict[str, Any]:
    """The metrics of one seed, over all folds."""
    folder = os.environ.get(DATA)
    path = Path(folder or ".") / FILES[name]
    if not folder or not path.is_file():
        pytest.skip(f"{FILES[name]} is not in --data-dir")
    grid = Grid(
        epsilons=(epsilon,),
        noises=(noise,),
        seeds=1,
        data=(DataSource(name=name, path=str(path), folds=FOLDS),),
        comparisons=(),
    )
    ((job,), _) = jobs_of(grid)
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, Any] = run_job(job, _remembered, Path(scratch))[0]["metrics"]
    return found


def _accuracy(benchmark: BenchmarkFixture, name: str, epsilon: float, metric: str) -> None:
    found = measure(benchmark, metrics, (name, epsilon, "distributed"), rounds=1)
    record(benchmark, metric.upper(), value=found[metric], reference=HARDER)


def _gain(benchmark: BenchmarkFixture, epsilon: float) -> None:
    local = measure(benchmark, metrics, ("Houston", epsilon, "local"), rounds=1)
    shared = metrics("Houston", epsilon, "distributed")
    points = 100 * (shared["oa"] - local["oa"])
    record(benchmark, "points of OA", value=points, reference=f"{HARDER}; local {local['oa']:.3f}")


@row("accuracy Houston folds ε=inf")
def bench_houston_without_privacy(benchmark: BenchmarkFixture) -> None:
    _accuracy(benchmark, "Houston", math.inf, "oa")


@row("accuracy Houston folds ε=8")
def bench_houston_at_8(benchmark: BenchmarkFixture) -> None:
    _accuracy(benchmark, "Houston", 8.0, "oa")


@row("accuracy Houston folds ε=1")
def bench_houston_at_1(benchmark: BenchmarkFixture) -> None:
    _accuracy(benchmark, "Houston", 1.0, "oa")


@row("shared noise Houston folds ε=8")
def bench_shared_noise_at_8(benchmark: BenchmarkFixture) -> None:
    _gain(benchmark, 8.0)


@row("shared noise Houston folds ε=1")
def bench_shared_noise_at_1(benchmark: BenchmarkFixture) -> None:
    _gain(benchmark, 1.0)


@row("accuracy forest folds ε=inf")
def bench_forest_without_privacy(benchmark: BenchmarkFixture) -> None:
    _accuracy(benchmark, "forest", math.inf, "aa")


@row("accuracy forest folds ε=8")
def bench_forest_at_8(benchmark: BenchmarkFixture) -> None:
    _accuracy(benchmark, "forest", 8.0, "aa")
