"""The run directory: written beside its final name, renamed when everything is in it.

A directory that exists under its final name is complete. While a run is under way its files are
in `DIR.partial`; input that is refused leaves neither.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feddiff_privacy.card import deployment_card
from feddiff_privacy.ledger.reading import read_ledger
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import (
    DataError,
    FeddiffError,
    OutputError,
    ProtocolAbortedError,
    UsageError,
)
from feddiff_secure.federation.resume_folder import RunLock
from feddiff_secure.federation.run import RunResult
from feddiff_secure.model.model_file import model_bytes
from feddiff_secure.model.prior import FOLDER, prior_files
from feddiff_secure.public_log import log_release
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.run_map import write_run_maps
from feddiff_secure.report.run_page import PAGE, run_page
from feddiff_secure.transcript.files import ATTESTATION, PARTIAL, RESUME

METRICS_LOG = "metrics.jsonl"
_CHANGED = "the directory was changed since the run stopped; nothing in it goes on from here"


class RunDirectory:
    """The files of one run.

    Args:
        out: the final path; it and `out.partial` must not exist.
        resumed: whether to go on with a run that was interrupted: `out.partial` must then exist.

    Raises:
        UsageError: a path exists that must not, or the other way round.
    """

    def __init__(self, out: Path, *, resumed: bool = False) -> None:
        self.out = out
        self.partial = out.with_name(out.name + PARTIAL)
        self.ledgers = self.partial / "ledger"
        self._lock: RunLock | None = None
        for path in (self.out,) if resumed else (self.out, self.partial):
            if path.exists():
                raise UsageError(f"out: {path} exists", "give another --out, or remove it")
        if resumed and not self.partial.is_dir():
            raise UsageError(
                f"{self.partial} is not a directory", "give the DIR.partial of an interrupted run"
            )

    def open(self, config: RunConfig) -> None:
        """Create the partial directory with the resolved configuration.

        Raises:
            UsageError: the directory cannot be created.
        """
        try:
            self.partial.mkdir(parents=True)
        except OSError as error:
            raise UsageError(
                f"out: {self.partial}: {error.strerror}", "give a path that can be written"
            ) from error
        self._write("config.toml", dump_config(config).encode())

    def lock(self) -> None:
        """Keep other processes out until `release`.

        Raises:
            UsageError: another one is at it.
        """
        self._lock = RunLock(self.partial)

    def release(self) -> None:
        """Let other processes in."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def kept_on_record(self, *, is_new: bool = True) -> Iterator[None]:
        """A block that runs the run: however it ends, what was released stays on record.

        The partial directory is removed only where a new run was refused before its first release.

        Args:
            is_new: whether the run does not go on from an earlier process.
        """
        try:
            yield
        except ProtocolAbortedError:
            raise  # releases may have been made: DIR.partial records them
        except OutputError:  # perhaps after a release: its record is not removed for lack of space
            if is_new and not self.has_releases:
                self.discard()
            raise
        except FeddiffError:
            if is_new:
                self.discard()
            raise
        except BaseException:  # interrupted, a bug, or the machine
            if not self.records_releases:
                self.discard()
            raise

    def cut_log(self, lines: int) -> None:
        """Take off `metrics.jsonl` what was written after its first `lines` lines.

        Raises:
            DataError: it has fewer, or cannot be read.
        """
        path = self.partial / METRICS_LOG
        if not lines:
            path.unlink(missing_ok=True)
            return
        try:
            found = path.read_bytes().splitlines(keepends=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}", _CHANGED) from None
        if len(found) < lines or not found[lines - 1].endswith(b"\n"):
            raise DataError(f"{path}: {len(found)} lines of {lines} releases", _CHANGED)
        os.truncate(path, sum(map(len, found[:lines])))

    @property
    def can_go_on(self) -> bool:
        """Whether a later process can go on with the run."""
        return (self.partial / RESUME / "checkpoint").exists()

    @property
    def is_attested(self) -> bool:
        """Whether every file is written, the last one too."""
        return (self.partial / ATTESTATION).exists()

    def complete(self) -> None:
        """Give a directory that is attested its name."""
        shutil.rmtree(self.partial / RESUME, ignore_errors=True)
        self.partial.rename(self.out)

    def record(self, name: str) -> dict[str, Any]:
        """The JSON object in a file of the directory.

        Raises:
            DataError: it is none.
        """
        path = self.partial / name
        try:
            value = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: {str(error)[:80]}", _CHANGED) from None
        if not isinstance(value, dict):
            raise DataError(f"{path}: no object", _CHANGED)
        return value

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`, on disk before the next release begins."""
        with (self.partial / METRICS_LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        log_release(line)

    def finish(self, result: RunResult) -> dict[str, Any]:
        """Write everything else and rename; returns the content of `metrics.json`."""
        transcript = result.transcript
        if transcript is not None and transcript.is_complete:  # stopped after the last leaf
            metrics = self.record("metrics.json")
        else:
            metrics = run_metrics(result)
            self._write_all(result, metrics)
        if transcript is not None:
            transcript.finish()  # last: it names the hash of every file
        self.partial.rename(self.out)
        return metrics

    def _write_all(self, result: RunResult, metrics: dict[str, Any]) -> None:
        statement = result.statement
        self._write("model.safetensors", model_bytes(result.model))
        self._write("metrics.json", _json(metrics))
        self._write("privacy.json", _json(statement.to_json()))
        self._write("privacy.md", statement.to_markdown().encode())
        self._write("privacy_card.json", _json(deployment_card(statement)))
        self._keep_priors(result)
        write_run_maps(result, self.partial)
        self._write(PAGE, _page(result, metrics))

    def _keep_priors(self, result: RunResult) -> None:
        """Copy the branches that are not the shipped ones beside the model that needs them."""
        for modality, path in prior_files(result.config.prior).items():
            if modality in result.model.features.priors:
                (self.partial / FOLDER).mkdir(exist_ok=True)
                self._write(f"{FOLDER}/{modality}.safetensors", path.read_bytes())

    def discard(self) -> None:
        """Remove the partial directory of a run whose input or budget was refused."""
        shutil.rmtree(self.partial, ignore_errors=True)

    @property
    def records_releases(self) -> bool:
        """Whether it holds the only record of what may have been released."""
        if self.can_go_on or (self.partial / METRICS_LOG).exists():
            return True
        return any(read_ledger(path).plans for path in sorted(self.ledgers.glob("*.jsonl")))

    @property
    def has_releases(self) -> bool:
        """Whether anything was released, or charged in the ledgers that are kept here."""
        if (self.partial / METRICS_LOG).exists():
            return True
        return any(read_ledger(path).attempts for path in sorted(self.ledgers.glob("*.jsonl")))

    def _write(self, name: str, content: bytes) -> None:
        (self.partial / name).write_bytes(content)


def _page(result: RunResult, metrics: dict[str, Any]) -> bytes:
    plan = result.plan
    setting = {name: getattr(plan, name) for name in ("topology", "aggregation", "noise")}
    return run_page(
        metrics,
        result.statement.to_json(),
        {**setting, "releases": sum(plan.phases.values())},
        accuracy=run_accuracy(result),
        prepared=result.prepared,
        maps=result.maps,
    )


def run_accuracy(result: RunResult) -> Accuracy:
    """Accuracy on the test pixels."""
    return Accuracy.from_labels(result.test_true, result.test_predicted, result.model.classes)


def run_metrics(result: RunResult) -> dict[str, Any]:
    """The object of `metrics.json`."""
    accuracy = run_accuracy(result)
    return {
        "oa": accuracy.oa,
        "aa": accuracy.aa,
        "kappa": accuracy.kappa,
        "per_class": dict(zip(accuracy.classes, accuracy.per_class, strict=True)),
        "n_test": accuracy.n_test,
        "test": result.prepared.how,
        "seconds": {name: round(value, 3) for name, value in result.seconds.items()},
        "bytes_up_per_owner_per_round": round(result.bytes_up),
        "communication_parameters": int(result.model.weights.size),
        "tiles": result.trained.tiles,
        "owners": len(result.prepared.names),
        "tile": result.prepared.tile,
        "epsilon_target": result.plan.epsilon,
        "deployment": result.statement.deployment,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
