"""Results of a benchmark that nobody had to wait for: records made of drawn labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.grid import DataSource, Grid
from feddiff_secure.bench.jobs import Job, jobs_of
from feddiff_secure.bench.record import run_record, to_bytes, write_whole
from feddiff_secure.bench.results import gathered
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.report.accuracy import Accuracy
from scripts.make_tiny_table import tiny_table

HOSTILE = (
    "<script>alert(1)</script>",
    'roof" onload="x',
    "$x^2$ & co",
    "a name of a class that is long",
)
GRID = Grid(
    epsilons=(float("inf"), 8.0, 1.0),
    seeds=3,
    owners=(4,),
    data=(DataSource(name="simulated scene"), DataSource(name="other")),
)


def statement(epsilon: float) -> dict[str, Any]:
    row = {"name": "outsider", "epsilon": epsilon, "epsilon_replace_one": 2 * epsilon}
    return {
        "code_version": "0.1.0", "deployment": "simulated", "epsilon_target": epsilon,
        "epsilon": 0.999 * epsilon, "delta": 1e-5, "tile": 4,
        "adversaries": [{**row, "assumption": "sees <b>the model</b>"}],
        "assumptions": ["<i>an assumption</i>"], "not_covered": ["maps"],
    }  # fmt: skip


def drawn_record(job: Job, classes: tuple[str, ...]) -> dict[str, Any]:
    """A record whose accuracy falls with ε and differs by seed."""
    config = job.config
    kinds = ("federated", "alone", "centralised", "paper")
    rng = np.random.default_rng([config.seed, kinds.index(job.kind), len(job.source.name)])
    true = rng.integers(1, len(classes) + 1, 400).astype(np.int16)
    right = 0.9 if not config.is_private else 0.5 + 0.04 * config.epsilon
    right -= 0.05 * (config.noise_mode == "local")
    random = rng.integers(1, len(classes) + 1, 400)
    predicted = np.where(rng.random(400) < right, true, random).astype(np.int16)
    reached = 0.999 * config.epsilon if config.is_private else None
    return run_record(
        job,
        Accuracy.from_labels(true, predicted, classes),
        numbers={
            "bytes_up_per_owner_per_round": 1000 + config.seed,
            "releases": 62,
            "communication_parameters": 4000,
            "tile": 4,
            "test": "region",
        },
        parts=[{"oa": 0.5, "n_test": 400, "epsilon": reached}],
        privacy=statement(config.epsilon) if config.is_private else None,
        seconds={"data": 0.5, "rounds": 2.0 + config.seed},
        wall_seconds=3.0,
    )


@pytest.fixture(scope="session")
def drawn() -> Callable[[Path, tuple[str, ...]], tuple[dict[str, Any], BenchFiles]]:
    """`drawn(folder, classes)` fills a folder with records and returns what they come to."""

    def make(folder: Path, classes: tuple[str, ...]) -> tuple[dict[str, Any], BenchFiles]:
        files = BenchFiles(folder)
        files.claim(GRID)
        jobs, left_out = jobs_of(GRID)
        for job in jobs:
            write_whole(files.record(job.digest), to_bytes(drawn_record(job, classes)))
        content = gathered(GRID, jobs, left_out, files)
        write_whole(files.results, to_bytes(content))
        return content, files

    return make


@pytest.fixture(scope="session")
def results(
    drawn: Callable[[Path, tuple[str, ...]], tuple[dict[str, Any], BenchFiles]],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], BenchFiles]:
    return drawn(tmp_path_factory.mktemp("drawn") / "bench", HOSTILE)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=12, seed=0))
    return path
