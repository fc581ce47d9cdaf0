"""Where the files of a benchmark lie: its grid, a record a job, pictures, the two results.

A directory belongs to one grid for good, so that records of two cannot be mixed up.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from feddiff_secure.bench.grid import MOST_BYTES, Grid
from feddiff_secure.bench.record import read_json, to_bytes, write_whole
from feddiff_secure.errors import UsageError

GRID_VERSION: Final = 1
_HINT: Final = "give another --out, or the grid that this folder was begun with"


@dataclass(frozen=True, slots=True)
class BenchFiles:
    """The files of one directory."""

    directory: Path

    @property
    def grid(self) -> Path:
        """What is run."""
        return self.directory / "grid.json"

    @property
    def results(self) -> Path:
        """All records and what they come to."""
        return self.directory / "bench.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.directory / "report.html"

    @property
    def figure(self) -> Path:
        """The main figure, as a file of its own."""
        return self.directory / "utility.svg"

    def record(self, digest: str) -> Path:
        """The record of a job."""
        return self.directory / "runs" / f"{digest}.json"

    def map(self, digest: str, panel: str) -> Path:
        """A picture of a job's map, `predicted` or `reference`."""
        return self.directory / "maps" / f"{digest}-{panel}.png"

    def claim(self, grid: Grid) -> None:
        """Take the directory for a grid, or go on with the same one.

        Raises:
            UsageError: it belongs to another grid, holds something else, or cannot be written.
            DataError: its grid file is damaged.
        """
        wanted = grid.to_json()
        if self.grid.exists():
            if self.read_grid() != wanted:
                raise UsageError(f"out: {self.directory} holds the runs of another grid", _HINT)
            return
        if self.directory.exists() and any(self.directory.iterdir()):
            raise UsageError(f"out: {self.directory} exists and holds no grid", _HINT)
        content = {"version": GRID_VERSION, "digest": _digest(wanted), "grid": wanted}
        write_whole(self.grid, to_bytes(content))

    def read_grid(self) -> dict[str, Any]:
        """The values of the grid file.

        Raises:
            DataError: missing or damaged. UsageError: edited, or of another version.
        """
        found = read_json(self.grid, MOST_BYTES, _HINT)
        values = found.get("grid")
        if found.get("version") != GRID_VERSION or not isinstance(values, dict):
            raise UsageError(f"{self.grid}: no grid of version {GRID_VERSION}", _HINT)
        if found.get("digest") != _digest(values):
            raise UsageError(f"{self.grid}: was edited, its digest does not match", _HINT)
        return values


def grid_values(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored grid as a TOML file would give it: numbers for `inf`, no fields that are null."""
    return {
        **stored,
        "epsilons": [math.inf if value == "inf" else value for value in stored["epsilons"]],
        "data": [
            {name: value for name, value in entry.items() if value is not None}
            for entry in stored["data"]
        ],
    }


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(rfc8785.dumps(values)).hexdigest()
