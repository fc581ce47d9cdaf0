"""Reading one array or attribute of an HDF5 file, with its size checked before it is read.

HDF5 can point elsewhere: soft and external links, external storage and virtual data sets make
one file read another. All of them are refused, so that a data file is only what it holds. No
object types are read except strings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import check_finite
from feddiff_secure.data.limits import Limits
from feddiff_secure.errors import DataError


@contextmanager
def open_hdf5(path: Path, limits: Limits) -> Iterator[h5py.File]:
    """Opens a file for reading and turns the library's errors into one of ours.

    Raises:
        DataError: the file is missing, too large, not HDF5, or damaged.
    """
    check_file(path, limits)
    try:
        with h5py.File(path, "r") as file:
            if len(file) > limits.objects:
                raise DataError(
                    f"{path}: {len(file)} objects at the root exceed {limits.objects}",
                    "keep only the data sets of one scene or table",
                )
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise DataError(
            f"{path}: cannot be read as HDF5 ({_first_line(error)})",
            "the file is damaged or of another type",
        ) from error


def check_file(path: Path, limits: Limits) -> None:
    """Refuses a path that is not a file, or is larger than the limit.

    Raises:
        DataError: missing, not a regular file, or too large.
    """
    try:
        if not path.is_file():
            raise DataError(f"{path}: no such file", "check the path given with --data")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {_first_line(error)}", "check the path") from error
    if size > limits.file_bytes:
        raise DataError(
            f"{path}: {size} bytes exceed {limits.file_bytes}", "split the file into several"
        )


def find_dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset | None:
    """The data set of that name that the file itself holds, or None where the name is unused.

    Raises:
        DataError: the name is a link, a group, or a data set stored elsewhere.
    """
    if name not in set(file):  # `in file` would follow links
        return None
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise DataError(
            f"{path}: `{name}` is a soft or external link", "store the array itself in this file"
        )
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DataError(f"{path}: `{name}` is not a data set", "store one array under this name")
    if found.is_virtual or found.external:
        raise DataError(
            f"{path}: `{name}` is stored in another file", "store the array itself in this file"
        )
    return found


def read_numbers(
    dataset: h5py.Dataset,
    name: str,
    path: Path,
    limits: Limits,
    *,
    allow_nan: bool = False,
    finite: bool = True,
    channels: int | None = None,
) -> NDArray[Any]:
    """Reads a numeric array of at least one dimension, finite but for NaN where allowed.

    With `finite` off NaN and infinity are left to the caller; `channels` is the axis of channels.

    Raises:
        DataError: not of integers or reals, too large, empty, or not finite.
    """
    if dataset.dtype.kind not in "iuf" or dataset.shape is None:
        raise DataError(
            f"{path}: `{name}` is of type {dataset.dtype}, not numbers", "store integers or reals"
        )
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    if not 0 < size <= limits.array_bytes:
        raise DataError(
            f"{path}: `{name}` of shape {dataset.shape} has {size} bytes, outside "
            f"1..{limits.array_bytes}",
            "give a non-empty array, or split the file into several",
        )
    values = np.asarray(dataset[()])
    if not values.dtype.isnative:
        values = values.astype(values.dtype.newbyteorder("="))
    if finite:
        check_finite(values, f"{path}: `{name}`", allow_nan=allow_nan, channels=channels)
    return values


def read_strings(dataset: h5py.Dataset, name: str, path: Path, limits: Limits) -> list[str]:
    """Reads a one-dimensional array (or a scalar) of strings, or of integers as strings.

    Raises:
        DataError: of another type, too many, or not UTF-8.
    """
    shape = dataset.shape
    if shape is None or len(shape) > 1 or math.prod(shape) * 16 > limits.array_bytes:
        raise DataError(f"{path}: `{name}` has shape {shape}", "store a list of names")
    values = np.atleast_1d(np.asarray(dataset[()]))
    return [_text(value, f"{path}: `{name}`") for value in values.tolist()]


def read_attribute(owner: h5py.HLObject, name: str, where: str, limits: Limits) -> Any:
    """An attribute's value (numpy scalar or array, or str), or None where it is absent.

    Raises:
        DataError: it is empty or larger than the limit.
    """
    if name not in owner.attrs:
        return None
    stored = owner.attrs.get_id(name)
    if stored.shape is None or stored.get_storage_size() > limits.attribute_bytes:
        raise DataError(
            f"{where}: attribute `{name}` is empty or exceeds {limits.attribute_bytes} bytes",
            "see docs/formats/scene.md for its type",
        )
    return owner.attrs[name]


def number_attribute(
    owner: h5py.HLObject, name: str, where: str, limits: Limits
) -> tuple[float, ...] | None:
    """An attribute of one or several reals as a flat tuple, or None where it is absent.

    Raises:
        DataError: it is not of numbers, or has more than one dimension.
    """
    value = read_attribute(owner, name, where, limits)
    if value is None:
        return None
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf" or numbers.ndim > 1 or numbers.size == 0:
        raise DataError(
            f"{where}: attribute `{name}` is not a number or a list of numbers", "store reals"
        )
    return tuple(float(number) for number in numbers.reshape(-1))


def string_attribute(
    owner: h5py.HLObject, name: str, where: str, limits: Limits
) -> tuple[str, ...] | None:
    """An attribute of one or several strings as a tuple, or None where it is absent.

    Raises:
        DataError: it is not of strings, or has more than one dimension.
    """
    value = read_attribute(owner, name, where, limits)
    if value is None:
        return None
    strings = np.asarray(value)
    if strings.ndim > 1 or strings.dtype.kind not in "OSU":
        raise DataError(f"{where}: attribute `{name}` is not a list of strings", "store strings")
    return tuple(_text(item, f"{where}: `{name}`") for item in strings.reshape(-1).tolist())


def _text(value: object, where: str) -> str:
    """A stored string or integer as str; anything else (a reference, say) is refused."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: a string is not UTF-8", "store UTF-8 strings") from error
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise DataError(f"{where}: holds {type(value).__name__}, not strings", "store strings")


def _first_line(error: BaseException) -> str:
    """The library's message, shortened to one line for a two-line error."""
    lines: Sequence[str] = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
