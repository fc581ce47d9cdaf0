"""Reading a data file by its suffix."""

from __future__ import annotations

from pathlib import Path

from feddiff_secure.data.hdf5 import read_hdf5
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.mat import read_mat
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
MAT_SUFFIX = ".mat"


def read_dataset(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, require_labels: bool = True
) -> Dataset:
    """Reads the scenes or the table that a file holds.

    Args:
        path: an HDF5 or MATLAB file (docs/formats/scene.md).
        limits: bounds checked before anything large is read.
        require_labels: refuse a file without labels (predicting needs none).

    Returns:
        The data set in sensor units.

    Raises:
        DataError: the file is missing, of another type, or breaks the format.
    """
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return read_hdf5(path, limits, require_labels=require_labels)
    if suffix == MAT_SUFFIX:
        return read_mat(path, limits, require_labels=require_labels)
    if not path.exists():
        raise DataError(f"{path}: no such file", "check the path given with --data")
    raise DataError(
        f"{path}: the suffix {suffix!r} is not one of {', '.join((*HDF5_SUFFIXES, MAT_SUFFIX))}",
        "convert the data to HDF5 (docs/formats/scene.md)",
    )
