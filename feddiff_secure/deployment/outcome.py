"""What the process that started a federation learns of the run: its progress, and how it ended.

Two files in the coordinator's work folder, written by its job process and read by the starter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_secure.errors import (
    BudgetError,
    DataError,
    FeddiffError,
    ProtocolAbortedError,
    UsageError,
    VerificationError,
)
from feddiff_secure.federation.progress import Progress

PROGRESS_FILE: Final = "progress.jsonl"
OUTCOME_FILE: Final = "outcome.json"
_ERRORS: Final = {
    kind.__name__: kind
    for kind in (UsageError, DataError, ProtocolAbortedError, BudgetError, VerificationError)
}


class ProgressWriter:
    """Writes stages and steps, one JSON line each.

    Args:
        folder: the work folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS_FILE

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""
        self._write({"stage": name, "total": total})

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current stage are done."""
        self._write({"advance": steps})

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class ProgressReader:
    """Repeats what a `ProgressWriter` wrote.

    Args:
        folder: the work folder.
        progress: to whom.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._path, self._progress = folder / PROGRESS_FILE, progress
        self._read = 0

    def catch_up(self) -> None:
        """Repeat the whole lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in map(json.loads, whole.splitlines()):
            if "stage" in line:
                self._progress.stage(line["stage"], line["total"])
            else:
                self._progress.advance(line["advance"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: with results, or with an error.

    Attributes:
        metrics: the object of `metrics.json`; None after an error.
        privacy: the object of `privacy.json`; likewise.
        error: kind, message and hint; None after a success.
    """

    metrics: dict[str, Any] | None = None
    privacy: dict[str, Any] | None = None
    error: tuple[str, str, str] | None = None

    @classmethod
    def of_error(cls, error: Exception) -> Outcome:
        """A failure; a bug is one too, without its text."""
        kind = type(error).__name__
        if isinstance(error, FeddiffError):
            return cls(error=(kind, str(error), error.hint))
        return cls(error=(kind, f"the coordinator failed: {kind}", "see its log"))

    def write(self, folder: Path) -> None:
        """Write into the work folder, whole or not at all."""
        fields = {"metrics": self.metrics, "privacy": self.privacy, "error": self.error}
        beside = folder / f"{OUTCOME_FILE}.new"
        beside.write_text(json.dumps(fields, allow_nan=False), encoding="utf-8")
        beside.rename(folder / OUTCOME_FILE)

    @classmethod
    def read(cls, folder: Path) -> Outcome | None:
        """What is in the work folder; None where the run did not come to an end."""
        path = folder / OUTCOME_FILE
        if not path.exists():
            return None
        fields = json.loads(path.read_text(encoding="utf-8"))
        error = fields["error"]
        return cls(fields["metrics"], fields["privacy"], None if error is None else tuple(error))

    def results(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metrics and privacy.

        Raises:
            FeddiffError: the error that ended the run.
        """
        if self.error is not None:
            kind, message, hint = self.error
            raise _ERRORS.get(kind, ProtocolAbortedError)(message, hint)
        assert self.metrics is not None
        assert self.privacy is not None
        return self.metrics, self.privacy
