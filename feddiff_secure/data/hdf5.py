"""Reading the HDF5 layout of docs/formats/scene.md."""

from __future__ import annotations

from pathlib import Path

import h5py

from feddiff_secure.data.h5_fields import (
    find_dataset,
    number_attribute,
    open_hdf5,
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
    raw.crs = _one_string(file, "crs", str(path), limits)
    raw.transform = number_attribute(file, "transform", str(path), limits)
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
    nodata = number_attribute(dataset, "nodata", where, limits)
    if nodata is not None and len(nodata) != 1:
        raise DataError(f"{where}: attribute `nodata` holds {len(nodata)} numbers", "store one")
    declared = None if nodata is None else nodata[0]
    return RawModality(
        values=read_numbers(dataset, name, path, limits, allow_nan=is_nan(declared)),
        channels=string_attribute(dataset, "channels", where, limits),
        wavelengths_nm=number_attribute(dataset, "wavelengths_nm", where, limits),
        scale=number_attribute(dataset, "scale", where, limits),
        support=_one_string(dataset, "support", where, limits),
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


def _one_string(owner: h5py.HLObject, name: str, where: str, limits: Limits) -> str | None:
    strings = string_attribute(owner, name, where, limits)
    if strings is None:
        return None
    if len(strings) != 1:
        raise DataError(f"{where}: attribute `{name}` holds {len(strings)} strings", "store one")
    return strings[0]
