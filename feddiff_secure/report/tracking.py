"""Hands the numbers of a finished run to TensorBoard or MLflow: `run --track`.

What is handed on is what the run directory has in the open already: the lines of `metrics.jsonl`,
which are released sums and times, and the final metrics. No configuration, no file names, nothing
of the machine. It is written beside the run directory, whose own files are hashed by then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from feddiff_secure.errors import UsageError

TRACKERS: Final = ("tensorboard", "mlflow")
FINAL: Final = ("oa", "aa", "kappa", "n_test", "bytes_up_per_owner_per_round")
MLFLOW_ADDRESS: Final = "MLFLOW_TRACKING_URI"
_FILES_ALLOWED: Final = "MLFLOW_ALLOW_FILE_STORE"
_EXPERIMENT: Final = "feddiff-secure"
Number = tuple[str, float, int]


def check_tracker(name: str) -> None:
    """Refuse a tracker that is not known or not installed, before a run begins.

    Raises:
        UsageError: naming the extra that brings it.
    """
    if name not in TRACKERS:
        raise UsageError(f"track is {name!r}", f"use {' or '.join(TRACKERS)}")
    if find_spec(name) is None:
        raise UsageError(
            f"track {name}: the package {name} is not installed",
            "install feddiff-secure[track], or leave out --track",
        )


def track(name: str, run: Path, metrics: Mapping[str, Any], epsilon: float | None) -> str:
    """Hand a finished run on; says where.

    Args:
        name: a tracker that `check_tracker` accepted.
        run: the run directory.
        metrics: the object of `metrics.json`.
        epsilon: realised; None without a guarantee.

    Raises:
        UsageError: it cannot be written, or the server does not take it.
    """
    numbers = [*_released(run / "metrics.jsonl"), *_final(metrics, epsilon)]
    hand = _to_tensorboard if name == "tensorboard" else _to_mlflow
    try:
        return hand(numbers, run)
    except OSError as error:
        raise UsageError(
            f"track {name}: {error.strerror or error}", f"the run itself is complete: {run}"
        ) from error


def _released(path: Path) -> Iterator[Number]:
    """(name, value, step) of every number of every line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        phase, step = fields.pop("phase", "head"), fields.pop("round")
        fields.pop("attempt", None)
        for name, value in fields.items():
            if isinstance(value, int | float):
                yield f"{phase}/{name}", float(value), int(step)


def _final(metrics: Mapping[str, Any], epsilon: float | None) -> Iterator[Number]:
    for name in FINAL:
        yield f"final/{name}", float(metrics[name]), 0
    if epsilon is not None:
        yield "final/epsilon", epsilon, 0


def _to_tensorboard(numbers: list[Number], run: Path) -> str:
    from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # an extra

    folder = run.with_name(f"{run.name}.tensorboard")
    with SummaryWriter(str(folder)) as writer:
        for name, value, step in numbers:
            writer.add_scalar(name, value, step)
    return str(folder)


def _to_mlflow(numbers: list[Number], run: Path) -> str:
    """To the server of `MLFLOW_TRACKING_URI`, or else into files beside the run."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  # an extra

    address = os.environ.get(MLFLOW_ADDRESS)
    if address is None:
        os.environ.setdefault(_FILES_ALLOWED, "true")  # 3.x asks for it; only files need no server
        folder = run.parent / ("mlruns" if run.name != "mlruns" else "mlruns.mlflow")
        address = folder.resolve().as_uri()
    try:
        _log(address, numbers, run.name)
    except MlflowException as error:
        raise UsageError(
            f"track mlflow: {str(error)[:200]}", f"the run itself is complete: {run}"
        ) from error
    return address


def _log(address: str, numbers: list[Number], name: str) -> None:
    from mlflow import MlflowClient  # noqa: PLC0415  # an extra

    client = MlflowClient(tracking_uri=address)
    known = client.get_experiment_by_name(_EXPERIMENT)
    experiment = known.experiment_id if known else client.create_experiment(_EXPERIMENT)
    made = client.create_run(experiment, run_name=name)  # not start_run: that adds user and host
    for key, value, step in numbers:
        client.log_metric(made.info.run_id, key, value, step=step)
    client.set_terminated(made.info.run_id)
