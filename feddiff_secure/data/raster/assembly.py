"""A scene put together from its layers, whole or by windows.

The scene has the grid of one layer; the others are placed on it by georeference, or by shape where
they have none. What a pixel's values are follows from the files and the manifest alone, never from
the window that is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import check_finite
from feddiff_secure.data.ground_grid import moved
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.nodata import is_nan
from feddiff_secure.data.raster.grids import place_layers
from feddiff_secure.data.raster.joined_labels import JoinedLabels
from feddiff_secure.data.raster.layer import Colour, FieldName, Layer, LayerFacts
from feddiff_secure.data.raster.manifest import SceneFiles
from feddiff_secure.data.raster.open_layer import open_layer, with_overrides
from feddiff_secure.data.raster.placement import Placement
from feddiff_secure.data.raw_fields import RawFields, RawModality, build_dataset
from feddiff_secure.data.scaling import default_scaling
from feddiff_secure.data.scene import Dataset, numbered
from feddiff_secure.errors import DataError

MODALITIES: tuple[FieldName, ...] = ("hsi", "lidar")
SCAN_SIDE = 2048  # pixels; of the windows in which labels are looked through


class Assembly:
    """The opened layers of one scene; a context manager's work (`open_scene`).

    Attributes:
        files: what was asked for.
        shape: (H, W) of the scene.
        crs: of the scene, or None. transform: of the scene, or None.
        notes: what was assumed, converted or resampled, in words.
    """

    def __init__(self, files: SceneFiles, layers: dict[FieldName, Layer], limits: Limits) -> None:
        self.files = files
        self._layers, self._limits = layers, limits
        self._facts = {
            field: with_overrides(layer.facts, files.layers[field])
            for field, layer in layers.items()
        }
        base = self._facts[files.grid]
        self.shape, self.crs, self.transform = base.shape, base.crs, base.transform
        self._placed, notes = place_layers(self._facts, files.grid)
        for field, facts in self._facts.items():
            notes += [f"`{field}`: {note}" for note in facts.notes]
        self.notes = tuple(notes)
        self._check_labels()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names, as the manifest or else the labels' file has them; None if unnamed."""
        if self.files.classes is not None or "labels" not in self._facts:
            return self.files.classes
        return self._facts["labels"].classes

    def dataset(self, *, require_labels: bool) -> Dataset:
        """The whole scene.

        Raises:
            DataError: the data breaks the format; the message names the file and the field.
        """
        height, width = self.shape
        raw = self.fields(slice(0, height), slice(0, width))
        return build_dataset(raw, self._limits, require_labels=require_labels)

    def window(self, rows: slice, cols: slice, classes: tuple[str, ...] | None) -> Dataset:
        """A part of the scene, as the whole has it.

        Args:
            rows: of the scene. cols: of the scene.
            classes: class names (`named_classes`).

        Raises:
            DataError: as `dataset`.
        """
        raw = self.fields(rows, cols)
        raw.classes = classes
        return build_dataset(raw, self._limits, require_labels=False, window=True)

    def named_classes(self) -> tuple[str, ...] | None:
        """The class names, numbered up to the largest label where none are given."""
        if self.classes is not None or "labels" not in self._layers:
            return self.classes
        largest = 0
        for top in range(0, self.shape[0], SCAN_SIDE):
            for left in range(0, self.shape[1], SCAN_SIDE):
                rows = slice(top, min(top + SCAN_SIDE, self.shape[0]))
                cols = slice(left, min(left + SCAN_SIDE, self.shape[1]))
                largest = max(largest, int(self._labels(rows, cols).max()))
        return numbered("class", largest)

    def fields(self, rows: slice, cols: slice) -> RawFields:
        """The values of a window as stored, on the grid of the scene.

        Resampled values, and those of an integer layer that does not cover the grid and declares no
        nodata, are float32 with NaN where missing.

        Raises:
            DataError: a file is damaged, or a window exceeds the bound of one array.
        """
        raw = RawFields(self.files.path, {}, notes=list(self.notes))
        raw.files = {"label" if f == "labels" else f: x.path for f, x in self._facts.items()}
        for field in MODALITIES:
            if field in self._layers:
                raw.modalities[field] = self._modality(field, rows, cols)
        if "labels" in self._layers:
            raw.label = self._labels(rows, cols)
        raw.classes, raw.colours = self.classes, self._colours()
        if self.files.site is not None:
            raw.site = [self.files.site]
        raw.crs, raw.transform = self.crs, moved(self.transform, rows.start, cols.start)
        return raw

    def _modality(self, field: FieldName, rows: slice, cols: slice) -> RawModality:
        facts, placed = self._facts[field], self._placed[field]
        nodata, scale = facts.nodata, facts.scale
        if placed.is_pick:
            self._check_bytes(facts, rows, cols)
            keeps_type = placed.covers_all or nodata is not None
            values = placed.picked(_Cast(self._layers[field], keeps_type), rows, cols, _fill(facts))
            check_finite(values, _where(facts, field), allow_nan=_nan(facts, placed), channels=-1)
        else:
            down, across = placed.source_window(rows, cols)
            self._check_bytes(facts, down, across)
            keeps_type = False
            stored = self._layers[field].read(down, across)
            check_finite(stored, _where(facts, field), allow_nan=is_nan(nodata), channels=-1)
            values = placed.means(stored, rows, cols, nodata, _where(facts, field))
        if not keeps_type:
            nodata = np.nan if nodata is not None or not placed.covers_all else None
            # The default of the stored type, which the values no longer have.
            scale = scale or default_scaling(field, facts.dtype).factors or None
        return RawModality(
            values,
            facts.channels,
            facts.wavelengths_nm,
            scale,
            facts.support if placed.nested else "neighbourhood",
            nodata,
        )

    def _labels(self, rows: slice, cols: slice) -> NDArray[Any]:
        facts, placed = self._facts["labels"], self._placed["labels"]
        self._check_bytes(facts, *placed.source_window(rows, cols))
        values = placed.nearest(self._layers["labels"], rows, cols)
        if facts.nodata is not None:
            values[values == facts.nodata] = 0
        return values

    def _check_labels(self) -> None:
        facts = self._facts.get("labels")
        if facts is None:
            return
        if facts.bands != 1:
            raise DataError(
                f"{facts.path}: labels have {facts.bands} bands", "give one band of class numbers"
            )
        if facts.dtype.kind not in "iu":
            raise DataError(
                f"{facts.path}: labels are of type {facts.dtype}, not integers",
                "store labels as integers, 0 meaning unlabelled: gdal_translate -ot Byte",
            )
        if facts.palette and self.classes is None:
            raise DataError(
                f"{facts.path}: labels have a colour table of {facts.palette} colours, and no "
                "class names",
                "name the classes: `classes` in the manifest, or --classes",
            )

    def _colours(self) -> tuple[Colour, ...] | None:
        """The colours of the classes, where the labels' file has one for each."""
        facts, classes = self._facts.get("labels"), self.classes
        if facts is None or facts.colours is None or classes is None:
            return None
        return facts.colours[: len(classes)] if len(facts.colours) >= len(classes) else None

    def _check_bytes(self, facts: LayerFacts, rows: slice, cols: slice) -> None:
        size = (rows.stop - rows.start) * (cols.stop - cols.start) * facts.bands
        size *= facts.dtype.itemsize
        if size > self._limits.array_bytes:
            raise DataError(
                f"{facts.path}: {size} bytes at once exceed {self._limits.array_bytes}",
                "cut the scene into several for training; predict reads by windows",
            )


class _Cast:
    """A layer whose values are read in their own type, or as float32 that can hold NaN."""

    def __init__(self, layer: Layer, keeps_type: bool) -> None:
        self._layer, self._keeps_type = layer, keeps_type
        self.facts = layer.facts

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        values = self._layer.read(rows, cols)
        return values if self._keeps_type else values.astype(np.float32)

    def close(self) -> None:
        self._layer.close()


@contextmanager
def open_scene(files: SceneFiles, limits: Limits = DEFAULT_LIMITS) -> Iterator[Assembly]:
    """Opens the layers of a scene and places them on one grid.

    Raises:
        UsageError: rasterio is needed and not installed.
        DataError: a layer is missing, wrong, or cannot be placed.
    """
    with ExitStack() as stack:
        layers: dict[FieldName, Layer] = {}
        for field, source in files.layers.items():
            layers[field] = open_layer(source, field, limits)
            stack.callback(layers[field].close)
        if files.more_labels:
            first = [(layers["labels"], files.layers["labels"])]
            for source in files.more_labels:
                first.append((open_layer(source, "labels", limits), source))
                stack.callback(first[-1][0].close)
            layers["labels"] = JoinedLabels(first)
            # Each file's nodata is its own, and is gone from what was joined.
            joined = replace(files.layers["labels"], nodata=None)
            files = replace(files, layers={**files.layers, "labels": joined})
        yield Assembly(files, layers, limits)


def _fill(facts: LayerFacts) -> NDArray[Any]:
    """What stands where a layer has no pixel: its nodata, or NaN."""
    if facts.nodata is None:
        return np.array(np.nan, dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.array(facts.nodata).astype(facts.dtype)


def _nan(facts: LayerFacts, placed: Placement) -> bool:
    return is_nan(facts.nodata) or (facts.nodata is None and not placed.covers_all)


def _where(facts: LayerFacts, field: str) -> str:
    return f"{facts.path}: `{field}`"
