"""Reading the HDF5 layout of docs/formats/scene.md."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from feddiff_secure.data.h5_fields import (
    find_dataset,
    number_attribute,
    open_hdf5,
    read_attribute,
    read_numbers,
    read_strings,
    string_attribute,
)
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.nodata import is_nan
from feddiff_secure.data.raw_fields import RawFields, RawModality, build_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError

LABEL_NAMES = ("label", "gt")  # the second is what public benchmark files call it
MODALITIES: tuple[str, ...] = ("hsi", "lidar")
NUMBER_FIELDS = ("region", "group", "row_col")


def read_hdf5(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, require_labels: bool = True
) -> Dataset:
    """Reads a table or rasters.

    Args:
        path: the file.
        limits: bounds checked before anything large is read.
        require_labels: refuse a file without `label`.

    Returns:
        The data set in sensor units; `ignored` lists what else the file holds.

    Raises:
        DataError: the file is missing, damaged, too large, points to another file, or breaks
            the format; the message names the file, the data set and the bound.
    """
    with open_hdf5(path, limits) as file:
        raw = _read_fields(file, path, limits)
    return build_dataset(raw, limits, require_labels=require_labels)


def _read_fields(file: h5py.File, path: Path, limits: Limits) -> RawFields:
    names = set(file)
    present = [name for name in LABEL_NAMES if name in names]
    if len(present) > 1:
        raise DataError(f"{path}: holds both `label` and `gt`", "keep the one to learn from")
    label = find_dataset(file, present[0], path) if present else None
    raw = RawFields(path, {})
    for name in MODALITIES:
        dataset = find_dataset(file, name, path)
        if dataset is not None:
            raw.modalities[name] = _read_modality(dataset, name, path, limits)
    if label is not None:
        raw.label = read_numbers(label, present[0], path, limits)
    for name in NUMBER_FIELDS:
        dataset = find_dataset(file, name, path)
        if dataset is not None:
            setattr(raw, name, read_numbers(dataset, name, path, limits))
    site = find_dataset(file, "site", path)
    if site is not None:
        raw.site = read_strings(site, "site", path, limits)
    raw.classes = _classes(file, label, path, limits)
    raw.crs = one_string(file, "crs", str(path), limits)
    raw.transform = number_attribute(file, "transform", str(path), limits)
    raw.colours = class_colours_attribute(file, path, limits)
    read = {*MODALITIES, *LABEL_NAMES, *NUMBER_FIELDS, "site"}
    raw.ignored = tuple(sorted(names - read))
    return raw


def _read_modality(dataset: h5py.Dataset, name: str, path: Path, limits: Limits) -> RawModality:
    where = f"{path}: `{name}`"
    shape = dataset.shape or ()
    sides = shape[1:3] if len(shape) == 4 else shape[:2] if len(shape) == 3 else ()
    if not 2 <= len(shape) <= 4 or max(sides, default=1) > limits.side:
        raise DataError(
            f"{where} has shape {shape}; sides are at most {limits.side} pixels",
            "give (N, channels), (H, W, channels) or (P, H, W, channels)",
        )
    declared = one_number(dataset, "nodata", where, limits)
    return RawModality(
        values=read_numbers(
            dataset, name, path, limits, allow_nan=is_nan(declared), channels=len(shape) - 1
        ),
        channels=string_attribute(dataset, "channels", where, limits),
        wavelengths_nm=number_attribute(dataset, "wavelengths_nm", where, limits),
        scale=number_attribute(dataset, "scale", where, limits),
        support=one_string(dataset, "support", where, limits),
        nodata=declared,
    )


def _classes(
    file: h5py.File, label: h5py.Dataset | None, path: Path, limits: Limits
) -> tuple[str, ...] | None:
    """The attribute `classes` of the file, or else of its labels."""
    at_root = string_attribute(file, "classes", str(path), limits)
    if at_root is not None or label is None:
        return at_root
    return string_attribute(label, "classes", f"{path}: `label`", limits)


def class_colours_attribute(
    file: h5py.File, path: Path, limits: Limits
) -> tuple[tuple[int, int, int], ...] | None:
    """The attribute `class_colours` of a file: (K, 3) integers 0..255, or None.

    Raises:
        DataError: of another type, shape or range.
    """
    stored = read_attribute(file, "class_colours", str(path), limits)
    if stored is None:
        return None
    colours = np.asarray(stored)
    if colours.dtype.kind not in "iu" or colours.ndim != 2 or colours.shape[1] != 3:
        raise DataError(
            f"{path}: attribute `class_colours` is {colours.dtype} of shape {colours.shape}",
            "store integers of shape (classes, 3)",
        )
    if int(colours.min(initial=0)) < 0 or int(colours.max(initial=0)) > 255:
        raise DataError(f"{path}: attribute `class_colours` leaves 0..255", "store 8-bit RGB")
    return tuple((int(r), int(g), int(b)) for r, g, b in colours.tolist())


def one_number(owner: h5py.HLObject, name: str, where: str, limits: Limits) -> float | None:
    """An attribute of one real, or None where it is absent.

    Raises:
        DataError: it holds several, or no number.
    """
    numbers = number_attribute(owner, name, where, limits)
    if numbers is not None and len(numbers) != 1:
        raise DataError(f"{where}: attribute `{name}` holds {len(numbers)} numbers", "store one")
    return None if numbers is None else numbers[0]


def one_string(owner: h5py.HLObject, name: str, where: str, limits: Limits) -> str | None:
    """An attribute of one string, or None where it is absent.

    Raises:
        DataError: it holds several, or no string.
    """
    strings = string_attribute(owner, name, where, limits)
    if strings is None:
        return None
    if len(strings) != 1:
        raise DataError(f"{where}: attribute `{name}` holds {len(strings)} strings", "store one")
    return strings[0]
