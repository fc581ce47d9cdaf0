"""Prediction of a file with a trained model: read, describe, score, write one map."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from feddiff_secure.config.paper import NO_GUARANTEE
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.raster.assembly import open_scene
from feddiff_secure.data.read import raster_files, read_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.examples import describe, predicted_labels, steps
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.model_file import Model, load_model
from feddiff_secure.paper.paper_model_file import is_paper_model, load_paper_model
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.fused_file import Together, predict_fused, split_config
from feddiff_secure.report.run_map import Maps, draw, write_tif
from feddiff_secure.report.windowed_prediction import WINDOWED_LIMITS, predict_windows

SUFFIXES = (".png", ".tif", ".tiff", ".h5")


def predict_file(
    run: Path, data: Path, out: Path, progress: Progress, *, together: Together | None = None
) -> dict[str, Any]:
    """Predict the land cover of a file and write it as a map.

    Args:
        run: run directory or model file.
        data: data of the model's sensors; a modality may be missing. One raster is read, predicted
            and written by windows.
        out: a new file; its suffix decides the format.
        progress: receives one stage of tiles.
        together: for a run in split, who gets the fused scores; None for all others.

    Returns:
        `out`, `areas` (share of each class of what was predicted), `accuracy` (None without
        labels); for a fused prediction also `fused`, what it disclosed.

    Raises:
        UsageError: `out` exists or has another suffix, or a GeoTIFF is asked for without a CRS; a
            recipient for a run that is not split, none for one that is, or consent is missing.
        DataError: a model or data file that is missing, wrong, or of other sensors; no tile has two
            contributors.
        ProtocolAbortedError: a fused sum could not be completed.
    """
    _check_out(out)
    if is_paper_model(run):
        return _predict_paper(run, data, out, together)
    model = load_model(run)
    config = split_config(run, together)
    if config is not None and together is not None:
        found = predict_fused(
            model, config, data, together, progress, check=lambda ground: _check_place(out, ground)
        )
        return _written(out, found.dataset, found.maps, model.classes) | {"fused": found.disclosure}
    files = raster_files(data, WINDOWED_LIMITS)
    if files is not None:
        with open_scene(files, WINDOWED_LIMITS) as scene:
            return predict_windows(model, scene, out, progress, what=str(data))
    dataset = read_dataset(data, require_labels=False)
    model.features.layout.check_same(dataset.layout, str(data), allow_missing=True)
    _check_place(out, dataset)
    return _written(out, dataset, predict_maps(model, dataset, progress), model.classes)


def _predict_paper(run: Path, data: Path, out: Path, together: Together | None) -> dict[str, Any]:
    """The same for a model of the paper profile, whose summary says what it does not promise."""
    if together is not None:
        raise UsageError(
            "recipient with a model of profile paper: its scores are not summed over owners",
            "leave out --recipient",
        )
    model = load_paper_model(run)
    dataset = read_dataset(data, require_labels=False)
    model.layout.check_same(dataset.layout, str(data), allow_missing=True)
    _check_place(out, dataset)
    tiles = cut_tiles(dataset, 1 if dataset.is_table else model.tile)
    maps = tiles.paint(model.predicted_labels(tiles), np.int16(0))
    found = _written(out, dataset, maps, model.classes, title=NO_GUARANTEE)
    return found | {"guarantee": NO_GUARANTEE}


def _check_place(out: Path, dataset: Dataset) -> None:
    if out.suffix in {".tif", ".tiff"} and (
        len(dataset.scenes) != 1 or dataset.scenes[0].crs is None
    ):
        raise UsageError(f"out: {out.suffix} needs one scene with a CRS", "write a .png or .h5")


def _written(
    out: Path, dataset: Dataset, maps: Maps, classes: tuple[str, ...], title: str = ""
) -> dict[str, Any]:
    _write(out, dataset, maps, classes, title)
    flat = np.concatenate([part.ravel() for part in maps])
    counts = np.bincount(flat, minlength=len(classes) + 1)[1:]
    return {
        "out": str(out),
        "areas": dict(zip(classes, (counts / counts.sum()).tolist(), strict=True)),
        "accuracy": _accuracy(classes, dataset, maps),
    }


def predict_maps(model: Model, dataset: Dataset, progress: Progress) -> Maps:
    """Predicted labels 1..K of every pixel, one array a scene or one for a table."""
    tile = 1 if dataset.is_table else model.features.tile
    tiles = cut_tiles(dataset, tile)
    progress.stage("features", steps(tiles))
    described = describe(model.features, tiles, progress)
    values = predicted_labels(model.features, model.weights, described)
    return tiles.paint(values, np.int16(0))


def _check_out(out: Path) -> None:
    if out.suffix not in SUFFIXES:
        raise UsageError(f"out: {out} has no suffix of {', '.join(SUFFIXES)}", "choose a format")
    if out.exists():
        raise UsageError(f"out: {out} exists", "give another --out, or remove it")
    if not out.parent.is_dir():
        raise UsageError(f"out: {out.parent} is no directory", "create it first")


def _write(out: Path, dataset: Dataset, maps: Maps, classes: tuple[str, ...], title: str) -> None:
    if out.suffix == ".png":
        draw(out, dataset, maps, classes=classes, title=title)
    elif out.suffix == ".h5":
        if len({part.shape for part in maps}) > 1:
            raise UsageError("out: scenes of different size do not fit one .h5", "write a .png")
        with h5py.File(out, "w-") as file:
            labels = maps[0] if len(maps) == 1 else np.stack(maps)
            file.create_dataset("label", data=labels.astype(np.uint16), compression="gzip")
            file.attrs["classes"] = list(classes)
    else:
        write_tif(out, dataset, maps, classes, asked=True)


def _accuracy(classes: tuple[str, ...], dataset: Dataset, maps: Maps) -> dict[str, Any] | None:
    """Accuracy on the labelled pixels, where the file has labels of the model's classes."""
    parts = [dataset.table] if dataset.table is not None else list(dataset.scenes)
    # Pixels that were left unpredicted (0, fused prediction only) do not count.
    predicted = np.concatenate([part.ravel() for part in maps])
    true = np.where(predicted > 0, np.concatenate([part.label.ravel() for part in parts]), 0)
    if not true.any() or dataset.classes != classes:
        return None
    found = Accuracy.from_labels(true, predicted, classes)
    return {
        name: value
        for name, value in asdict(found).items()
        if name in {"oa", "aa", "kappa", "n_test"}
    }
