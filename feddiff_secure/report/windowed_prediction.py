"""Prediction of scenes larger than memory: read, described and scored by windows.

A window's sides are multiples of the model's tile, and features are closed at a tile's edge, so the
map is, label for label, that of the scene predicted at once. What is in memory is one window and,
for a picture, the thinned map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.raster.assembly import Assembly
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.examples import describe, predicted_labels
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.model_file import Model
from feddiff_secure.report.accuracy import Accuracy
from feddiff_secure.report.map_sinks import NO_CRS, NO_CRS_HINT, MapFrame, open_sink

WINDOW_SIDE = 256  # pixels: 65,536 of 144 bands are 38 MB
WINDOWED_LIMITS = replace(DEFAULT_LIMITS, file_bytes=2**42, array_bytes=2**30)  # of one window


@dataclass
class _Tally:
    """What is counted window by window.

    Attributes:
        areas: int64 (K,), pixels predicted of each class.
        confusion: int64 (K, K), reference by row, predicted by column.
    """

    classes: int
    areas: NDArray[np.int64] = field(init=False)
    confusion: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.areas = np.zeros(self.classes, dtype=np.int64)
        self.confusion = np.zeros((self.classes, self.classes), dtype=np.int64)

    def add(self, predicted: NDArray[np.int16], reference: NDArray[np.int16] | None) -> None:
        self.areas += np.bincount(predicted.ravel(), minlength=self.classes + 1)[1:]
        if reference is not None:
            both = (predicted > 0) & (reference > 0)
            np.add.at(self.confusion, (reference[both] - 1, predicted[both] - 1), 1)


def predict_windows(
    model: Model,
    scene: Assembly,
    out: Path,
    progress: Progress,
    *,
    what: str,
    side: int = WINDOW_SIDE,
) -> dict[str, Any]:
    """Predict a scene and write its map by windows.

    Args:
        model: the model.
        scene: opened; a modality may be missing.
        out: the map; its suffix decides the format.
        progress: receives one stage of tiles.
        what: the data's name, for messages.
        side: of a window, pixels; rounded down to whole tiles, at least one.

    Returns:
        `out`, `areas` and `accuracy`, as `predict_file`.

    Raises:
        UsageError: a GeoTIFF of a scene without a CRS.
        DataError: data of other sensors, or that is damaged; a map that cannot be written.
    """
    tile = model.features.tile
    classes = scene.named_classes()
    first = scene.window(slice(0, 1), slice(0, 1), classes)
    model.features.layout.check_same(first.layout, what, allow_missing=True)
    compared = classes == model.classes
    frame = _frame(scene, first, model.classes, colours=first.colours if compared else None)
    if out.suffix in {".tif", ".tiff"} and frame.crs is None:
        raise UsageError(NO_CRS.format(out.suffix), NO_CRS_HINT)
    tally = _Tally(len(model.classes))
    progress.stage("features", math.prod(-(-length // tile) for length in scene.shape))
    with open_sink(out, frame) as sink:
        for rows, cols in windows(scene.shape, max(tile, side // tile * tile)):
            part = scene.window(rows, cols, classes)
            predicted = _predicted(model, part, progress)
            reference = part.scenes[0].label if compared else None
            sink.write(rows.start, cols.start, predicted, reference)
            tally.add(predicted, reference)
    shares = tally.areas / max(1, int(tally.areas.sum()))
    return {
        "out": str(out),
        "areas": dict(zip(model.classes, shares.tolist(), strict=True)),
        "accuracy": _accuracy(tally, model.classes),
    }


def windows(shape: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """Squares of a side, row by row; smaller ones at the right and lower edge."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def _predicted(model: Model, part: Dataset, progress: Progress) -> NDArray[np.int16]:
    tiles = cut_tiles(part, model.features.tile)
    described = describe(model.features, tiles, progress)
    labels = predicted_labels(model.features, model.weights, described)
    return tiles.paint(labels, np.int16(0))[0]


def _frame(
    scene: Assembly,
    first: Dataset,
    classes: tuple[str, ...],
    *,
    colours: tuple[tuple[int, int, int], ...] | None,
) -> MapFrame:
    corner = first.scenes[0]
    return MapFrame(scene.shape, classes, colours, corner.crs, scene.transform, corner.name)


def _accuracy(tally: _Tally, classes: tuple[str, ...]) -> dict[str, Any] | None:
    if not tally.confusion.any():
        return None
    found = asdict(Accuracy.from_confusion(tally.confusion, classes))
    return {name: found[name] for name in ("oa", "aa", "kappa", "n_test")}
