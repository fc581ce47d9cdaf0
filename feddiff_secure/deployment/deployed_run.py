"""What a coordinator without data writes: the files of a run, with metrics where a test is public.

The files are those of any run but the map. `metrics.json` has null where nothing was measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from feddiff_privacy.card import deployment_card
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.deployment.coordinate import Coordinated
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.errors import DataError
from feddiff_secure.federation.evaluation import tested_labels
from feddiff_secure.federation.examples import describe
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.model_file import model_bytes
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.run_directory import RunDirectory

NO_TEST = "none: the coordinator holds no test data"


def read_test(path: Path, job: JobFiles) -> TileSet:
    """The tiles of a public test file, which must have the job's layout.

    Raises:
        DataError: it cannot be read, has no labels, or does not fit.
    """
    test = read_dataset(path)
    job.layout.check_same(test.layout, str(path))
    if test.classes != job.classes:
        raise DataError(f"{path}: its classes are not the job's", "give a test file of the job's")
    tiles = cut_tiles(test, job.tile)
    if len(tiles.labelled_units()) == 0:
        raise DataError(f"{path}: no labelled pixel", "give a test file with labels")
    return tiles


def finish_deployed(
    directory: RunDirectory,
    job: JobFiles,
    done: Coordinated,
    *,
    test: TileSet | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Write everything, close the transcript and rename; returns the content of `metrics.json`.

    Raises:
        ProtocolAbortedError: an owner refuses the last checkpoint.
    """
    metrics = _metrics(job, done, test, seconds)
    folder = directory.partial
    (folder / "model.safetensors").write_bytes(model_bytes(done.model))
    _write(folder / "metrics.json", metrics)
    _write(folder / "privacy.json", done.statement.to_json())
    (folder / "privacy.md").write_text(done.statement.to_markdown(), encoding="utf-8")
    _write(folder / "privacy_card.json", deployment_card(done.statement))
    done.transcript.finish()  # last: it names the hash of every file
    folder.rename(directory.out)
    return metrics


def _metrics(
    job: JobFiles, done: Coordinated, test: TileSet | None, seconds: dict[str, float]
) -> dict[str, Any]:
    accuracy = None
    if test is not None:
        described = describe(done.model.features, test, Silent())
        accuracy = Accuracy.from_labels(*tested_labels(done.model, described), job.classes)
    return {
        "oa": None if accuracy is None else accuracy.oa,
        "aa": None if accuracy is None else accuracy.aa,
        "kappa": None if accuracy is None else accuracy.kappa,
        "per_class": None
        if accuracy is None
        else dict(zip(job.classes, accuracy.per_class, strict=True)),
        "n_test": 0 if accuracy is None else accuracy.n_test,
        "test": NO_TEST if accuracy is None else "the coordinator's public file",
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "bytes_up_per_owner_per_round": round(done.bytes_up),
        "communication_parameters": int(done.model.weights.size),
        "tiles": done.trained.tiles,
        "owners": len(done.plan.owners),
        "tile": job.tile,
        "epsilon_target": done.plan.epsilon,
        "deployment": done.statement.deployment,
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
