"""`run --track`: only released numbers are handed on, and a missing package is named at once."""

from __future__ import annotations

import json
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.cli.main import run_cli
from feddiff_secure.report import tracking
from feddiff_secure.report.tracking import check_tracker, track

METRICS = {
    "oa": 0.75, "aa": 0.5, "kappa": 0.25, "n_test": 100, "bytes_up_per_owner_per_round": 640,
    "per_class": {"a secret class": 0.5}, "test": "file /private/place.h5",
}  # fmt: skip
LINES: list[dict[str, Any]] = [
    {"phase": "count", "round": 0, "attempt": 0, "tiles": 57},
    {"phase": "train", "round": 0, "attempt": 0, "noised_gradient_norm": 0.5, "seconds": 0.25},
    {"phase": "train", "round": 1, "attempt": 0, "noised_gradient_norm": 0.375, "seconds": 0.25},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return folder


def test_an_unknown_tracker_and_a_missing_package_are_refused_before_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run_cli(["run", "--track", "notebook", "--out", str(out)]) == 2
    assert "use tensorboard or mlflow" in capsys.readouterr().err
    monkeypatch.setattr(tracking, "find_spec", lambda _name: None)
    assert run_cli(["run", "--track", "mlflow", "--out", str(out)]) == 2
    assert "install feddiff-secure[track]" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_gets_the_released_numbers_and_nothing_else(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tracking.MLFLOW_ADDRESS, raising=False)
    check_tracker("mlflow")
    where = track("mlflow", run, METRICS, 7.99)
    assert where.startswith("file://")
    folder = run.parent / "mlruns"
    values = {
        path.relative_to(path.parents[1]).as_posix(): [
            float(line.split()[1]) for line in path.read_text().splitlines()
        ]
        for path in folder.rglob("metrics/*/*")
    }
    assert values == {
        "count/tiles": [57.0],
        "train/noised_gradient_norm": [0.5, 0.375],
        "train/seconds": [0.25, 0.25],
        "final/oa": [0.75],
        "final/aa": [0.5],
        "final/kappa": [0.25],
        "final/n_test": [100.0],
        "final/bytes_up_per_owner_per_round": [640.0],
        "final/epsilon": [7.99],
    }
    said = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    for secret in ("secret class", "place.h5", socket.gethostname()):
        assert secret not in said.replace(str(run.parent), "")
    assert [path.name for path in run.iterdir()] == ["metrics.jsonl"]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_gets_the_released_numbers_beside_the_run(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )

    named = run.with_name("tensorboard")
    run.rename(named)
    where = track("tensorboard", named, METRICS, None)
    assert where == str(named.with_name("tensorboard.tensorboard"))
    found = EventAccumulator(where)
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        "count/tiles", "train/noised_gradient_norm", "train/seconds", "final/oa", "final/aa",
        "final/kappa", "final/n_test", "final/bytes_up_per_owner_per_round",
    }  # fmt: skip
    norms = found.Scalars("train/noised_gradient_norm")
    assert [(event.step, event.value) for event in norms] == [(0, 0.5), (1, 0.375)]
    assert [path.name for path in named.iterdir()] == ["metrics.jsonl"]
