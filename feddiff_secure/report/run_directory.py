"""The run directory: written beside its final name, renamed when everything is in it.

A directory that exists under its final name is complete. While a run is under way its files are
in `DIR.partial`; input that is refused leaves neither.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from feddiff_privacy.card import deployment_card
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.run import RunResult
from feddiff_secure.model.model_file import model_bytes
from feddiff_secure.model.prior import FOLDER, prior_files
from feddiff_secure.public_log import log_release
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.run_map import write_run_maps
from feddiff_secure.report.run_page import PAGE, run_page


class RunDirectory:
    """The files of one run.

    Args:
        out: the final path; it and `out.partial` must not exist.

    Raises:
        UsageError: one of them exists, or the parent cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.partial = out.with_name(out.name + ".partial")
        self.ledgers = self.partial / "ledger"
        for path in (self.out, self.partial):
            if path.exists():
                raise UsageError(f"out: {path} exists", "give another --out, or remove it")

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

    def log(self, line: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`, on disk before the next release begins."""
        with (self.partial / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        log_release(line)

    def finish(self, result: RunResult) -> dict[str, Any]:
        """Write everything else and rename; returns the content of `metrics.json`."""
        statement = result.statement
        metrics = run_metrics(result)
        self._write("model.safetensors", model_bytes(result.model))
        self._write("metrics.json", _json(metrics))
        self._write("privacy.json", _json(statement.to_json()))
        self._write("privacy.md", statement.to_markdown().encode())
        self._write("privacy_card.json", _json(deployment_card(statement)))
        self._keep_priors(result)
        write_run_maps(result, self.partial)
        self._write(PAGE, _page(result, metrics))
        if result.transcript is not None:
            result.transcript.finish()  # last: it names the hash of every file
        self.partial.rename(self.out)
        return metrics

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
        return self.ledgers.exists() or (self.partial / "metrics.jsonl").exists()

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
