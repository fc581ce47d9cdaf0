"""`python -m feddiff_secure.bench.worker DIR`: runs the jobs that it is given on stdin.

A line in is a JSON object that names a job of the grid in DIR by its digest; a line out says that
its record is on disk, or which error a user has to mend. The end of the input ends the worker, so
one whose parent is gone stops after the run it is at. Descriptors are remembered from job to job of
one group, in memory only.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import torch

from feddiff_secure.bench.bench_files import BenchFiles, grid_values
from feddiff_secure.bench.grid import parse_grid
from feddiff_secure.bench.jobs import Job, jobs_of
from feddiff_secure.bench.one_run import run_job
from feddiff_secure.bench.record import to_bytes, write_whole
from feddiff_secure.errors import FeddiffError
from feddiff_secure.federation.remembered import Remembered


def main(directory: Path, asked: IO[str], answers: IO[str]) -> None:
    """Answer every line of `asked` with one of `answers`."""
    torch.set_num_threads(1)  # workers share the cores
    files = BenchFiles(directory)
    grid = parse_grid(grid_values(files.read_grid()), str(files.grid))
    jobs = {job.digest: job for job in jobs_of(grid)[0]}
    describer, group = Remembered(), None
    for line in asked:
        job = jobs[json.loads(line)["digest"]]
        if job.group != group:
            describer, group = Remembered(), job.group
        answers.write(json.dumps(_answer(job, files, describer)) + "\n")
        answers.flush()


def _answer(job: Job, files: BenchFiles, describer: Remembered) -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory(prefix="feddiff-bench-") as scratch:
            record, panels = run_job(job, describer, Path(scratch))
        for name, picture in panels.items():
            write_whole(files.map(job.digest, name), picture)
        write_whole(files.record(job.digest), to_bytes(record))  # last: it says that all is there
    except FeddiffError as error:
        return {"error": str(error), "hint": error.hint, "exit_code": error.exit_code}
    return {"done": job.digest}


if __name__ == "__main__":
    out = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    with contextlib.suppress(KeyboardInterrupt):  # the parent says that it was interrupted
        main(Path(sys.argv[1]), sys.stdin, out)
