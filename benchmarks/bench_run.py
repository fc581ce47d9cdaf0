"""The main job, as a user starts it (`run`): wall-clock seconds and peak memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row


def _run(out: Path) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "feddiff_secure", "run", "--epsilon", "8", "--quiet"]
    subprocess.run([*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


@row("run seconds")
def bench_run_seconds(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """`run --epsilon 8` with its defaults, from the command to the finished directory."""
    seconds = measure(benchmark, _run, (tmp_path / "timed",), rounds=1)
    record(benchmark, "s", value=seconds, reference="simulated scene, 128 × 128")


@row("run memory")
def bench_run_memory(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The most memory that a run (the largest child of this process so far) held at once."""
    measure(benchmark, _run, (tmp_path / "weighed",), rounds=1)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # KiB on Linux
    record(benchmark, "GiB", value=peak, reference="resident, 2 GB")
