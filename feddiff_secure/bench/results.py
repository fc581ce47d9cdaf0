"""`bench.json`: every record of a grid, and what they come to."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.grid import Grid
from feddiff_secure.bench.jobs import Job, LeftOut
from feddiff_secure.bench.record import check_record, read_json, read_record
from feddiff_secure.bench.summary import differences_of, points_of
from feddiff_secure.errors import DataError
from feddiff_secure.federation.disclosure import libraries

FORMAT: Final = "feddiff-secure bench"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 28
_FIELDS: Final = frozenset(
    {"format", "version", "grid", "environment", "left_out", "points", "differences", "runs"}
)
_HINT: Final = "give the bench.json that feddiff-secure bench wrote"


def gathered(
    grid: Grid, jobs: Sequence[Job], left_out: Sequence[LeftOut], files: BenchFiles
) -> dict[str, Any]:
    """The object of `bench.json`, from the records on disk.

    Raises:
        DataError: a record that is missing or damaged.
    """
    runs = [read_record(files.record(job.digest), job.digest) for job in jobs]
    points = points_of(runs)
    return {
        "format": FORMAT,
        "version": VERSION,
        "grid": grid.to_json(),
        "environment": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "libraries": libraries(),
            "code": sorted({f"{r['code']['version']} {r['code']['sha256'][:16]}" for r in runs}),
        },
        "left_out": [asdict(entry) for entry in left_out],
        "points": points,
        "differences": differences_of(points),
        "runs": runs,
    }


def read_bench(path: Path) -> dict[str, Any]:
    """A `bench.json`, checked: its fields, its records, and that its points follow from them.

    Raises:
        DataError: naming what is wrong.
    """
    found = read_json(path, MOST_BYTES, _HINT)
    if found.get("format") != FORMAT or found.get("version") != VERSION:
        raise DataError(f"{path}: not {FORMAT} of version {VERSION}", _HINT)
    if set(found) != _FIELDS or not isinstance(found["runs"], list):
        raise DataError(f"{path}: its fields are {sorted(found)}", _HINT)
    for number, run in enumerate(found["runs"]):
        if not isinstance(run, dict):
            raise DataError(f"{path}: runs/{number} is no object", _HINT)
        check_record(run, f"{path}: runs/{number}", _HINT)
    try:
        points = points_of(found["runs"])
        right = points == found["points"] and differences_of(points) == found["differences"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a record lacks {error}", _HINT) from error
    if not right:
        raise DataError(f"{path}: its points do not follow from its runs", _HINT)
    return found
