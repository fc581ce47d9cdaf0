"""Jobs spread over worker processes, each going on with the tiles it knows where it can.

A worker is a process of its own that reads digests and answers in JSON (`worker.py`): nothing is
pickled, and numerical libraries see one thread from the start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from feddiff_secure.bench.jobs import Job
from feddiff_secure.errors import (
    BudgetError,
    DataError,
    FeddiffError,
    ProtocolAbortedError,
    UsageError,
    VerificationError,
)

_ERRORS: dict[int, type[FeddiffError]] = {
    kind.exit_code: kind
    for kind in (UsageError, DataError, ProtocolAbortedError, BudgetError, VerificationError)
}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Done = Callable[[Job, float], None]


def run_jobs(directory: Path, jobs: Iterable[Job], *, workers: int, done: Done) -> None:
    """Run jobs; each leaves its record in the directory before it counts as done.

    Args:
        directory: of the benchmark, which holds the grid.
        jobs: of that grid.
        workers: processes, at least 1.
        done: called, from one thread at a time, with every finished job and its seconds.

    Raises:
        FeddiffError: the first error of a job; no new job is begun after it.
        RuntimeError: a worker ended by itself.
    """
    _Dispatch(directory, jobs, done).run(workers)


class _Dispatch:
    """What the threads, one a worker, share."""

    def __init__(self, directory: Path, jobs: Iterable[Job], done: Done) -> None:
        self._directory, self._done = directory, done
        self._waiting: dict[tuple[str, int], deque[Job]] = {}
        for job in jobs:
            self._waiting.setdefault(job.group, deque()).append(job)
        self._taken: dict[int, tuple[str, int]] = {}  # worker → the group it is at
        self._lock = threading.Lock()
        self._failed: Exception | None = None
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, workers: int) -> None:
        threads = [threading.Thread(target=self._serve, args=(i,)) for i in range(workers)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # interrupted: what runs is not waited for
            with self._lock:
                self._waiting.clear()
                for process in self._processes:
                    process.terminate()
            raise
        if self._failed is not None:
            raise self._failed

    def _next(self, worker: int) -> Job | None:
        """A job of the group the worker is at, else of one nobody is at, else of the largest."""
        with self._lock:
            left = {group: jobs for group, jobs in self._waiting.items() if jobs}
            if self._failed is not None or not left:
                return None
            group = self._taken.get(worker)
            if group not in left:
                others = {at for who, at in self._taken.items() if who != worker}
                free = [group for group in left if group not in others]
                group = max(free or left, key=lambda name: len(left[name]))
            assert group is not None
            self._taken[worker] = group
            return left[group].popleft()

    def _serve(self, worker: int) -> None:
        process: subprocess.Popen[str] | None = None
        try:
            while (job := self._next(worker)) is not None:
                process = process or self._start()
                began = time.perf_counter()
                _ask(process, job)
                with self._lock:
                    self._done(job, time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # handed to the thread that waits
            with self._lock:
                self._failed = self._failed or error
        finally:
            if process is not None:
                _end(process)

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        process = subprocess.Popen(  # noqa: S603  # this interpreter and our own module
            [sys.executable, "-m", "feddiff_secure.bench.worker", str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        with self._lock:
            self._processes.append(process)
        return process


def _ask(process: subprocess.Popen[str], job: Job) -> None:
    """Have one job done.

    Raises:
        FeddiffError: what the worker says of it. RuntimeError: it says nothing.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps({"digest": job.digest}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        raise RuntimeError(f"a worker ended with code {process.wait()} at {job.to_json()}")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        kind = _ERRORS.get(answer["exit_code"], FeddiffError)
        raise kind(f"{job.source.name}: {answer['error']}", answer["hint"])


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
