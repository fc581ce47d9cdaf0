"""The record of one job: a JSON file under the digest of the job, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from feddiff_secure.bench.jobs import Job
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.transcript.attestation import code_digest
from feddiff_secure.version import __version__

RECORD_VERSION: Final = 1
MOST_BYTES: Final = 1 << 22
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "version": (int,),
    "digest": (str,),
    "job": (dict,),
    "classes": (list,),
    "metrics": (dict,),
    "numbers": (dict,),
    "parts": (list,),
    "privacy": (dict, type(None)),
    "seconds": (dict,),
    "wall_seconds": (int, float),
    "code": (dict,),
}
_METRICS: Final = ("oa", "aa", "kappa", "per_class", "confusion", "n_test")


def run_record(
    job: Job,
    accuracy: Accuracy,
    *,
    numbers: dict[str, Any],
    parts: list[dict[str, Any]],
    privacy: dict[str, Any] | None,
    seconds: dict[str, float],
    wall_seconds: float,
) -> dict[str, Any]:
    """The object of a record.

    Args:
        job: what was run.
        accuracy: over the test pixels of all parts.
        numbers: bytes, releases, parameters and tiles of a run.
        parts: one object a fold, or an owner and fold: its accuracy and its ε.
        privacy: the statement of the first fold.
        seconds: by stage, over all parts. wall_seconds: of the whole job.
    """
    return {
        "version": RECORD_VERSION,
        "digest": job.digest,
        "job": job.to_json(),
        "classes": list(accuracy.classes),
        "metrics": accuracy.to_dict(),
        "numbers": numbers,
        "parts": parts,
        "privacy": privacy,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "wall_seconds": round(wall_seconds, 3),
        "code": {"version": __version__, "sha256": _code()},
    }


@cache
def _code() -> str:
    """The digest of the code when it was first asked for: later edits are not what runs."""
    return code_digest().hex()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    Raises:
        UsageError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror}", "give a folder that can be written") from None


def to_bytes(value: Mapping[str, Any]) -> bytes:
    """An object as the JSON that files hold."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def read_json(path: Path, most: int, hint: str) -> dict[str, Any]:
    """One JSON object of at most `most` bytes, without a number that is none.

    Raises:
        DataError: missing, larger, or something else.
    """

    def refuse(name: str) -> float:
        raise ValueError(f"the number {name}")

    try:
        if path.stat().st_size > most:
            raise DataError(f"{path}: larger than {most} bytes", hint)
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {str(error)[:80]}", hint) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: not a JSON object", hint)
    return value


def read_record(path: Path, digest: str) -> dict[str, Any]:
    """A record, checked: the fields it must have, and that it is of the job its name says.

    Raises:
        DataError: naming what is wrong.
    """
    hint = f"remove {path.name}: its run is made again"
    found = read_json(path, MOST_BYTES, hint)
    check_record(found, str(path), hint)
    if found["digest"] != digest:
        raise DataError(f"{path}: holds the run {found['digest'][:16]}, not {digest[:16]}", hint)
    return found


def check_record(found: Mapping[str, Any], where: str, hint: str) -> None:
    """Refuse an object that is no record of this version.

    Raises:
        DataError: naming the field.
    """
    for name, kinds in _FIELDS.items():
        if name not in found or not isinstance(found[name], kinds):
            raise DataError(f"{where}: field {name} is missing or of another type", hint)
    if set(found) != set(_FIELDS) or found["version"] != RECORD_VERSION:
        raise DataError(f"{where}: no record of version {RECORD_VERSION}", hint)
    metrics, classes = found["metrics"], found["classes"]
    if set(metrics) != set(_METRICS):
        raise DataError(f"{where}: metrics has {sorted(metrics)}", hint)
    for name in ("oa", "aa", "kappa"):
        value = metrics[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
            raise DataError(f"{where}: metrics.{name} is {value!r}, not in −1…1", hint)
    confusion = metrics["confusion"]
    square = isinstance(confusion, list) and len(confusion) == len(classes)
    if not square or any(not _counts(row, len(classes)) for row in confusion):
        raise DataError(f"{where}: metrics.confusion is not {len(classes)} rows of counts", hint)
    if math.fsum(map(math.fsum, confusion)) != metrics["n_test"]:
        raise DataError(f"{where}: metrics.n_test is not the sum of the confusion matrix", hint)


def _counts(row: Any, length: int) -> bool:
    return (
        isinstance(row, list)
        and len(row) == length
        and all(type(value) is int and value >= 0 for value in row)
    )
