"""Reading MATLAB files: version 5 (`mat5`) and version 7.3, which is HDF5, through h5py.

Only numeric arrays are read; cells, structures and objects are refused, so nothing of the
file is ever executed or rebuilt as an object. MATLAB stores doubles by default, so labels of a
floating type are accepted here where every one of them is a whole number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import check_finite
from feddiff_secure.data.h5_fields import check_file, find_dataset, open_hdf5, read_numbers
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.mat5 import NUMERIC_CLASSES, list_variables, read_mat5
from feddiff_secure.data.nodata import is_nan
from feddiff_secure.data.raw_fields import RawFields, RawModality, build_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError

ALIASES: dict[str, tuple[str, ...]] = {
    "hsi": ("hsi", "HSI", "data", "hsi_data", "HSI_data"),
    "lidar": ("lidar", "LiDAR", "Lidar", "LIDAR", "lidar_data", "LiDAR_data"),
    "label": ("label", "labels", "gt", "GT", "groundtruth", "mask"),
    "region": ("region",),
    "group": ("group",),
    "row_col": ("row_col",),
    "wavelengths_nm": ("wavelengths_nm", "wavelengths", "wavelength"),
    "scale_hsi": ("scale_hsi",),
    "scale_lidar": ("scale_lidar",),
    "nodata_hsi": ("nodata_hsi",),
    "nodata_lidar": ("nodata_lidar",),
}
NODATA = ("nodata_hsi", "nodata_lidar")
CLASS_NAMES = frozenset(name for name, _ in NUMERIC_CLASSES.values())
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
HDF5_OFFSET = 512  # a version 7.3 file starts with a 512-byte text header
LARGEST_EXACT = 2**53  # beyond it a double no longer holds every whole number


def read_mat(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, require_labels: bool = True
) -> Dataset:
    """Reads a table or rasters from a MATLAB file.

    Args:
        path: the file.
        limits: bounds checked before anything large is read.
        require_labels: refuse a file without labels.

    Returns:
        The data set in sensor units; `ignored` lists the variables not read.

    Raises:
        DataError: the file is missing, damaged, too large, holds a cell or structure where
            numbers are expected, names one field twice, or breaks the format.
    """
    check_file(path, limits)
    if _is_hdf5(path):
        arrays, ignored = _read_version_73(path, limits)
    else:
        arrays, ignored = _read_version_5(path, limits)
    return build_dataset(_fields(path, arrays, ignored), limits, require_labels=require_labels)


def read_variable(
    path: Path, names: tuple[str, ...], limits: Limits, *, only: bool = False
) -> tuple[str, NDArray[Any]]:
    """One numeric variable of a file of either version, NaN and infinity as they are.

    Args:
        path: the file; its size is checked already.
        names: the first of these that is there is read.
        limits: bound on the bytes of the array.
        only: where none is there, take the only variable.

    Returns:
        Its name and its values.

    Raises:
        DataError: no such variable, or one that is no real, dense, numeric array.
    """
    if not _is_hdf5(path):
        name = _first(path, names, [found.name for found in list_variables(path)], only=only)
        return name, read_mat5(path, {name: name}, limits)[name]
    with open_hdf5(path, limits) as file:
        held = [name for name in file if not name.startswith("#")]
        name = _first(path, names, held, only=only)
        dataset = find_dataset(file, name, path)
        assert dataset is not None
        _check_matlab_class(dataset, name, path)
        return name, read_numbers(dataset, name, path, limits, finite=False).transpose()


def _first(path: Path, names: tuple[str, ...], held: list[str], *, only: bool) -> str:
    for name in names:
        if name in held:
            return name
    if only and len(held) == 1:
        return held[0]
    raise DataError(
        f"{path}: holds no variable {' or '.join(names[:3])}, but {', '.join(held[:8]) or 'none'}",
        "name the variable with `dataset`",
    )


def _is_hdf5(path: Path) -> bool:
    """Whether a MATLAB file is of version 7.3."""
    with path.open("rb") as file:
        head = file.read(HDF5_OFFSET + len(HDF5_MAGIC))
    return HDF5_MAGIC in (head[: len(HDF5_MAGIC)], head[HDF5_OFFSET:])


def _chosen(names: list[str], path: Path) -> dict[str, str]:
    """Which variable serves each field: field → variable name."""
    chosen: dict[str, str] = {}
    for field, aliases in ALIASES.items():
        found = [name for name in aliases if name in names]
        if len(found) > 1:
            raise DataError(
                f"{path}: {' and '.join(found)} both name the field `{field}`",
                "keep one of them",
            )
        if found:
            chosen[field] = found[0]
    return chosen


def _read_version_5(path: Path, limits: Limits) -> tuple[dict[str, NDArray[Any]], list[str]]:
    names = [variable.name for variable in list_variables(path)]
    chosen = _chosen(names, path)
    arrays = read_mat5(path, chosen, limits)
    for field, values in arrays.items():
        nodata = _nodata(arrays.get(f"nodata_{field}"), field, path)
        check_finite(
            values,
            f"{path}: `{chosen[field]}`",
            allow_nan=_may_be_nan(field, nodata),
            channels=-1 if field in ("hsi", "lidar") else None,
        )
    return arrays, sorted(set(names) - set(chosen.values()))


def _read_version_73(path: Path, limits: Limits) -> tuple[dict[str, NDArray[Any]], list[str]]:
    with open_hdf5(path, limits) as file:
        names = [name for name in file if not name.startswith("#")]  # "#refs#" is bookkeeping
        chosen = _chosen(names, path)
        arrays: dict[str, NDArray[Any]] = {}
        for field, name in sorted(chosen.items(), key=lambda item: item[0] not in NODATA):
            dataset = find_dataset(file, name, path)
            assert dataset is not None
            _check_matlab_class(dataset, name, path)
            # MATLAB writes the axes in reverse order.
            nodata = _nodata(arrays.get(f"nodata_{field}"), field, path)
            allow_nan = _may_be_nan(field, nodata)
            found = read_numbers(dataset, name, path, limits, allow_nan=allow_nan)
            arrays[field] = found.transpose()
    return arrays, sorted(set(names) - set(chosen.values()))


def _check_matlab_class(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuses cells and structures; a file written by h5py itself states no class."""
    stated = dataset.attrs.get("MATLAB_class")
    kind = stated.decode("ascii", "replace") if isinstance(stated, bytes) else stated
    if kind is not None and str(kind) not in CLASS_NAMES:
        raise DataError(f"{path}: `{name}` is of class {kind}", "store a numeric array")


def _fields(path: Path, arrays: dict[str, NDArray[Any]], ignored: list[str]) -> RawFields:
    """The variables as fields; MATLAB has no vectors, so N×1 labels are a table's."""
    raw = RawFields(path, {}, ignored=tuple(ignored))
    label = arrays.get("label")
    if label is not None:
        raw.label = whole(_vector(label), "label", path)
    for field in ("region", "group"):
        if field in arrays:
            setattr(raw, field, whole(_vector(arrays[field]), field, path))
    if "row_col" in arrays:
        raw.row_col = whole(arrays["row_col"], "row_col", path)
    for name in ("hsi", "lidar"):
        if name not in arrays:
            continue
        scale = arrays.get(f"scale_{name}")
        wavelengths = arrays.get("wavelengths_nm") if name == "hsi" else None
        raw.modalities[name] = RawModality(
            arrays[name],
            scale=None if scale is None else _reals(scale),
            wavelengths_nm=None if wavelengths is None else _reals(wavelengths),
            nodata=_nodata(arrays.get(f"nodata_{name}"), name, path),
        )
    return raw


def _nodata(values: NDArray[Any] | None, field: str, path: Path) -> float | None:
    """The one number of `nodata_hsi` or `nodata_lidar`."""
    if values is None:
        return None
    if values.size != 1:
        raise DataError(f"{path}: `nodata_{field}` holds {values.size} numbers", "store one")
    return _reals(values)[0]


def _may_be_nan(field: str, nodata: float | None) -> bool:
    """Whether NaN is declared for a modality, or the field is the declaration itself."""
    return field in NODATA or is_nan(nodata)


def _vector(values: NDArray[Any]) -> NDArray[Any]:
    """N×1 and 1×N matrices as vectors; anything else as it is."""
    return values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values


def _reals(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values.reshape(-1))


def whole(values: NDArray[Any], name: str, path: Path) -> NDArray[Any]:
    """Doubles that are whole numbers as integers; integers as they are.

    Raises:
        DataError: a value is no whole number.
    """
    if values.dtype.kind != "f":
        return values
    if (np.abs(values) > LARGEST_EXACT).any() or (values != np.rint(values)).any():
        raise DataError(f"{path}: `{name}` holds fractions", "store whole numbers")
    return values.astype(np.int64)
