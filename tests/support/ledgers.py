"""Ledgers for tests: real ones, in folders that go away with the process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from feddiff_privacy.ledger.ledger import Ledger

_KEPT: list[tempfile.TemporaryDirectory[str]] = []
TILES = bytes(32)


def open_ledger(
    path: Path, *, lifetime: float | None = None, delta: float = 1e-5, tiles: bytes = TILES
) -> Ledger:
    """The ledger of `ann`'s holding `plots` in a file."""
    return Ledger.open(
        path,
        owner="ann",
        holding="plots",
        lifetime_epsilon=lifetime,
        delta=delta,
        tiles=tiles,
    )


def fresh_ledger(lifetime: float | None = None) -> Ledger:
    """A new ledger, by default without limit."""
    folder = tempfile.TemporaryDirectory(prefix="ledger-")
    _KEPT.append(folder)
    return open_ledger(Path(folder.name) / "ann.plots.jsonl", lifetime=lifetime)
