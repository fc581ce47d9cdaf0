"""A whole benchmark: claim the directory, run what is missing, write results and report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.grid import Grid
from feddiff_secure.bench.jobs import Job, jobs_of
from feddiff_secure.bench.record import read_record, to_bytes, write_whole
from feddiff_secure.bench.results import gathered
from feddiff_secure.bench.workers import run_jobs
from feddiff_secure.errors import UsageError

MOST_WORKERS = 64
# Beside a run of its grid, how long a job of a kind takes, until one has been measured.
_WEIGHT = {"federated": 1.0, "alone": 1.0, "centralised": 0.6, "paper": 8.0}


class BenchProgress(Protocol):
    """Receives how far a benchmark is."""

    def begun(self, done: int, total: int) -> None:
        """Of `total` runs `done` were there already."""
        ...

    def advanced(self, done: int, total: int, seconds_left: float, what: str) -> None:
        """One more run is done; about how long the others take."""
        ...


@dataclass(slots=True)
class TimeLeft:
    """Estimates the time left from the runs done so far, kind by kind.

    Args:
        jobs: those to be run. workers: how many at once.
    """

    jobs: Sequence[Job]
    workers: int
    _spent: dict[str, list[float]] = field(default_factory=dict)
    _done: set[str] = field(default_factory=set)

    def add(self, job: Job, seconds: float) -> float:
        """Take in a finished job; the seconds that are left, by the means of each kind."""
        self._done.add(job.digest)
        key = f"{job.kind} {job.source.name}"
        self._spent.setdefault(key, []).append(seconds)
        left = [j for j in self.jobs if j.digest not in self._done]
        return sum(self._expected(j) for j in left) / min(self.workers, max(1, len(left)))

    def _expected(self, job: Job) -> float:
        known = self._spent.get(f"{job.kind} {job.source.name}")
        if known:
            return sum(known) / len(known)
        units = [s / _WEIGHT[key.split()[0]] for key, many in self._spent.items() for s in many]
        return _WEIGHT[job.kind] * sum(units) / len(units)


def run_bench(
    grid: Grid, out: Path, *, workers: int | None, progress: BenchProgress
) -> tuple[dict[str, Any], BenchFiles]:
    """Run what the directory lacks of a grid; the object of `bench.json`, which is written.

    Args:
        grid: what to run.
        out: the directory: new, empty, or of the same grid, whose finished runs are kept.
        workers: processes; None for one a core, at most two.
        progress: receives every finished run.

    Raises:
        UsageError: a directory of another grid, or one that cannot be written.
        FeddiffError: what a run refuses.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"jobs is {workers}", f"give 1 to {MOST_WORKERS}")
    jobs, left_out = jobs_of(grid)
    files = BenchFiles(out)
    files.claim(grid)
    waiting = [job for job in jobs if not _is_done(job, files)]
    workers = min(workers or min(2, os.cpu_count() or 1), max(1, len(waiting)))
    left, done = TimeLeft(waiting, workers), len(jobs) - len(waiting)
    progress.begun(done, len(jobs))

    def finished(job: Job, seconds: float) -> None:
        nonlocal done
        done += 1
        progress.advanced(done, len(jobs), left.add(job, seconds), in_words(job))

    run_jobs(out, waiting, workers=workers, done=finished)
    content = gathered(grid, jobs, left_out, files)
    write_whole(files.results, to_bytes(content))
    return content, files


def in_words(job: Job) -> str:
    """A job, for a line of progress."""
    config = job.config
    what = {
        "federated": f"{config.topology}, {config.aggregation}, {config.noise_mode} noise, "
        f"{config.owner_count} owners",
        "alone": f"each of {config.owner_count} owners alone ({config.topology})",
        "centralised": "one trusted holder",
        "paper": "FedDiff as published",
    }[job.kind]
    return f"{job.source.name}: ε {config.epsilon:g}, {what}, seed {config.seed}"


def _is_done(job: Job, files: BenchFiles) -> bool:
    path = files.record(job.digest)
    if not path.exists():
        return False
    read_record(path, job.digest)  # a damaged one is said at once, not after hours
    return True
