"""Pixels for which a sensor has no value, as a file declares them with `nodata`.

A pixel is missing where any of its channels holds the declared value, so that a fill value is
never taken for a measurement. What is not declared is not missing: NaN without a `nodata` of NaN
is refused like any other damage.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.errors import DataError

Mask = NDArray[np.bool_]


def missing_pixels(
    values: NDArray[Any], nodata: float, where: str, *, may_be_all: bool = False
) -> Mask:
    """Which pixels hold the declared value.

    Args:
        values: as stored, (..., channels).
        nodata: the declared value, NaN allowed; compared in the type of `values`.
        where: for messages.
        may_be_all: accept that no pixel is left (of a window, say).

    Returns:
        (...): True where a pixel is missing.

    Raises:
        DataError: a value that the type cannot hold, or no pixel is left.
    """
    dtype = values.dtype
    if math.isnan(nodata):
        if dtype.kind != "f":
            raise DataError(
                f"{where}: nodata is NaN, which {dtype} cannot hold", "declare a stored value"
            )
        holds = np.isnan(values)
    else:
        holds = values == _in_type(nodata, dtype, where)
    missing: Mask = holds.any(axis=-1)
    if missing.all() and not may_be_all:
        full = (np.flatnonzero(holds.reshape(-1, values.shape[-1]).all(axis=0)) + 1).tolist()
        which = f"; band {', '.join(map(str, full[:8]))} everywhere" if full else ""
        raise DataError(
            f"{where}: every pixel holds nodata {nodata:g} in some channel{which}",
            "drop channels that are empty everywhere, or leave the modality out",
        )
    return missing


def is_nan(nodata: float | None) -> bool:
    """Whether NaN is what a file declares as missing."""
    return nodata is not None and math.isnan(nodata)


def _in_type(nodata: float, dtype: np.dtype[Any], where: str) -> Any:
    """The declared value as one of the stored type."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            stored = np.array(nodata).astype(dtype)
        fits = bool(np.isfinite(stored))
    else:
        bounds = np.iinfo(dtype)
        fits = math.isfinite(nodata) and nodata == int(nodata)
        fits = fits and bounds.min <= int(nodata) <= bounds.max
        stored = np.array(int(nodata) if fits else 0).astype(dtype)
    if not fits:
        raise DataError(
            f"{where}: nodata {nodata:g} is no finite value of {dtype}", "declare a stored value"
        )
    return stored
