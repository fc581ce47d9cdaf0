"""An owner's HDF5 file made from the layers of a scene.

Values are stored as the layers have them, on the grid of the scene, with the scale, nodata and
wavelengths that were found: reading the file gives, bit for bit, what reading the layers gives. The
file is written beside its place, read back and compared, and only then given its name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import check_names
from feddiff_secure.data.hdf5 import read_hdf5
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.raster.assembly import open_scene
from feddiff_secure.data.raster.manifest import SceneFiles
from feddiff_secure.data.raw_fields import RawFields, RawModality, build_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError, UsageError

CHUNK_SIDE = 64  # pixels; a window of a scene reads whole chunks
MAX_NAMES_BYTES = 2**20


def import_scene(files: SceneFiles, out: Path, limits: Limits = DEFAULT_LIMITS) -> Dataset:
    """Writes the scene to an HDF5 file of docs/formats/scene.md.

    Args:
        files: its layers.
        out: the file to make; its folder must exist.
        limits: bounds on what is read.

    Returns:
        The scene, as reading the new file gives it.

    Raises:
        UsageError: `out` exists, or rasterio is needed and not installed.
        DataError: `out` cannot be written, a layer is wrong, or what was written does not
            read back.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"out: {out} exists", "give another --out, or remove it")
    partial = out.with_name(f"{out.name}.{os.getpid()}.partial")
    with open_scene(files, limits) as scene:
        height, width = scene.shape
        raw = scene.fields(slice(0, height), slice(0, width))
    try:
        _write(partial, raw)
        wanted = build_dataset(raw, limits, require_labels=False)
        written = read_hdf5(partial, limits, require_labels=False)
        difference = _difference(wanted, written)
        if difference is not None:
            raise DataError(f"{out}: {difference} did not read back as written", "check the disk")
        os.link(partial, out)  # unlike a rename, refuses a file that appeared meanwhile
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error})", "check the folder") from error
    finally:
        partial.unlink(missing_ok=True)
    return wanted


def read_class_names(path: Path) -> tuple[str, ...]:
    """The class names of a text file, one a line, that of label 1 first.

    Raises:
        DataError: missing, too large, no UTF-8, or a name that is empty, repeated or unfit.
    """
    try:
        if path.stat().st_size > MAX_NAMES_BYTES:
            raise DataError(f"{path}: larger than {MAX_NAMES_BYTES} bytes", "one name a line")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text", "give one class name a line") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "give one class name a line") from error
    names = tuple(line.strip() for line in text.rstrip("\n").split("\n"))
    check_names(names, f"{path}: classes")
    return names


def _write(path: Path, raw: RawFields) -> None:
    with h5py.File(path, "w") as file:
        for name, modality in raw.modalities.items():
            dataset = _create(file, name, modality.values)
            for key, value in _attributes(modality).items():
                dataset.attrs[key] = value
        if raw.label is not None:
            _create(file, "label", raw.label)
        if raw.site is not None:
            file["site"] = np.array(raw.site, dtype=h5py.string_dtype("utf-8"))
        georeference: dict[str, Any] = {"crs": raw.crs, "transform": raw.transform}
        if raw.classes is not None:
            file.attrs["classes"] = list(raw.classes)
        if raw.colours is not None:
            file.attrs["class_colours"] = np.array(raw.colours, dtype=np.uint8)
        for key, value in georeference.items():
            if value is not None:
                file.attrs[key] = value


def _create(file: h5py.File, name: str, values: NDArray[Any]) -> h5py.Dataset:
    chunks = (min(CHUNK_SIDE, values.shape[0]), min(CHUNK_SIDE, values.shape[1]), *values.shape[2:])
    return file.create_dataset(
        name, data=values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True
    )


def _attributes(modality: RawModality) -> dict[str, Any]:
    stored: dict[str, Any] = {
        "channels": None if modality.channels is None else list(modality.channels),
        "wavelengths_nm": modality.wavelengths_nm,
        "scale": modality.scale,
        "support": modality.support,
        "nodata": modality.nodata,
    }
    return {key: value for key, value in stored.items() if value is not None}


def _difference(wanted: Dataset, found: Dataset) -> str | None:
    """The first thing in which two data sets of one scene differ, in words."""
    one, other = wanted.scenes[0], found.scenes[0]
    for key in ("classes", "crs", "transform", "site"):
        if getattr(one, key) != getattr(other, key):
            return f"`{key}`"
    if wanted.layout != found.layout or wanted.colours != found.colours:
        return "the layout"
    if not np.array_equal(one.label, other.label):
        return "`label`"
    for name, modality in one.modalities.items():
        theirs = other.modalities[name]
        same_values = np.array_equal(modality.values, theirs.values)
        if not same_values or not _same_mask(modality.valid, theirs.valid):
            return f"`{name}`"
    return None


def _same_mask(one: Mask | None, other: Mask | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
