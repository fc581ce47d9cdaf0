"""Layers that are one array of an HDF5 or a MATLAB file."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.h5_fields import (
    check_file,
    find_dataset,
    number_attribute,
    open_hdf5,
    string_attribute,
)
from feddiff_secure.data.hdf5 import class_colours_attribute, one_number, one_string
from feddiff_secure.data.limits import Limits
from feddiff_secure.data.mat import ALIASES, read_variable, whole
from feddiff_secure.data.mat5_nested import read_nested
from feddiff_secure.data.raster.layer import ArrayLayer, FieldName, LayerFacts, check_layer
from feddiff_secure.data.raster.manifest import LayerSource, SceneFiles
from feddiff_secure.data.raw_fields import affine
from feddiff_secure.errors import DataError

_H5_NAMES: dict[FieldName, tuple[str, ...]] = {
    "hsi": ("hsi",),
    "lidar": ("lidar",),
    "labels": ("label", "gt"),
}
_MAT_FIELDS: dict[FieldName, str] = {"hsi": "hsi", "lidar": "lidar", "labels": "label"}


class Hdf5Layer:
    """One data set of an HDF5 file, (H, W) or (H, W, bands); open until `close`.

    Args:
        path: the file.
        field: what it serves as; decides the data set's name where `dataset` is None.
        dataset: the data set's name.
        limits: bounds on file, sides and bands.

    Raises:
        DataError: the file is missing or damaged, holds no such data set, or one that is no raster.
    """

    def __init__(self, path: Path, field: FieldName, dataset: str | None, limits: Limits) -> None:
        self._path, self._limits = path, limits
        with ExitStack() as stack:
            file = stack.enter_context(open_hdf5(path, limits))
            self._dataset, name = _chosen(file, path, field, dataset)
            self.facts = _hdf5_facts(file, self._dataset, name, path, limits)
            check_layer(self.facts, limits)
            self._open = stack.pop_all()

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The stored values of a window, (h, w, bands)."""
        try:
            values = np.asarray(self._dataset[rows, cols])
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"{self._path}: `{self._dataset.name}` cannot be read ({error})",
                "the file is damaged",
            ) from error
        native = values.astype(self.facts.dtype, copy=False)
        return native if native.ndim == 3 else native[..., None]

    def close(self) -> None:
        """Close the file."""
        self._open.close()


def mat_layer(path: Path, field: FieldName, dataset: str | None, limits: Limits) -> ArrayLayer:
    """One variable of a MATLAB file, (H, W) or (H, W, bands), read at once.

    Labels of a real type are accepted where all are whole numbers, as MATLAB stores them.

    Args:
        path: version 5 or 7.3.
        field: what it serves as; decides the variable's name where `dataset` is None: a usual name
            of that field, or the only variable.
        dataset: the variable's name, or a path into structures and cells (`mat5_nested`).
        limits: bounds on file, array, sides and bands.

    Raises:
        DataError: the file is missing or damaged, or the variable absent or no raster.
    """
    check_file(path, limits)
    if dataset is not None and "." in dataset:
        name, values = dataset, read_nested(path, dataset, limits)
    else:
        names = (dataset,) if dataset is not None else ALIASES[_MAT_FIELDS[field]]
        name, values = read_variable(path, names, limits, only=dataset is None)
    if values.ndim not in (2, 3):
        raise DataError(
            f"{path}: `{name}` has shape {values.shape}", "give (H, W) or (H, W, bands)"
        )
    if field == "labels":
        values = whole(values, name, path)
    values = values if values.ndim == 3 else values[..., None]
    facts = LayerFacts(path, values.shape[:2], values.shape[2], values.dtype)
    check_layer(facts, limits)
    return ArrayLayer(facts, values)


def hdf5_scene_files(path: Path, limits: Limits) -> SceneFiles | None:
    """The layers of an HDF5 file that holds one raster; None where it holds anything else.

    What is wrong with such a file is not looked for: reading it says so.

    Raises:
        DataError: it is missing, damaged or too large.
    """
    with open_hdf5(path, limits) as file:
        shapes = {
            name: file[name].shape or ()
            for name in ("hsi", "lidar", "label", "gt")
            if isinstance(file.get(name, getlink=True), h5py.HardLink)
            and isinstance(file[name], h5py.Dataset)
        }
    labels = [name for name in ("label", "gt") if name in shapes]
    held: list[FieldName] = [name for name in ("hsi", "lidar") if name in shapes]
    if not held or len(labels) > 1:
        return None
    pixels = shapes[labels[0]] if labels else shapes[held[0]][:-1]
    fits = {"hsi": (len(pixels) + 1,), "lidar": (len(pixels) + 1, len(pixels))}
    if len(pixels) != 2 or any(
        len(shapes[name]) not in fits[name] or shapes[name][:2] != pixels for name in held
    ):
        return None
    layers = {name: LayerSource(file=path, dataset=str(name)) for name in held}
    if labels:
        layers["labels"] = LayerSource(file=path, dataset=labels[0])
    return SceneFiles(path=path, layers=layers, grid=held[0])


def _chosen(
    file: h5py.File, path: Path, field: FieldName, dataset: str | None
) -> tuple[h5py.Dataset, str]:
    names = (dataset,) if dataset is not None else _H5_NAMES[field]
    for name in names:
        found = find_dataset(file, name, path)
        if found is not None:
            return found, name
    raise DataError(
        f"{path}: holds no `{names[0]}`", f"name the data set of {field} with `dataset`"
    )


def _hdf5_facts(
    file: h5py.File, dataset: h5py.Dataset, name: str, path: Path, limits: Limits
) -> LayerFacts:
    where = f"{path}: `{name}`"
    shape: tuple[int, ...] = dataset.shape or ()
    if len(shape) not in (2, 3) or math.prod(shape) == 0:
        raise DataError(f"{where} has shape {shape}", "give (H, W) or (H, W, bands)")
    transform = number_attribute(file, "transform", str(path), limits)
    return LayerFacts(
        path,
        (int(shape[0]), int(shape[1])),
        int(shape[2]) if len(shape) == 3 else 1,
        dataset.dtype.newbyteorder("="),
        crs=one_string(file, "crs", str(path), limits),
        transform=affine(transform),
        nodata=one_number(dataset, "nodata", where, limits),
        channels=string_attribute(dataset, "channels", where, limits),
        wavelengths_nm=number_attribute(dataset, "wavelengths_nm", where, limits),
        scale=number_attribute(dataset, "scale", where, limits),
        support=one_string(dataset, "support", where, limits),
        classes=string_attribute(file, "classes", str(path), limits)
        or string_attribute(dataset, "classes", where, limits),
        colours=class_colours_attribute(file, path, limits),
    )
