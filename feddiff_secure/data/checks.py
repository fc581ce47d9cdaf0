"""The checks that every array and name of a data set passes, wherever it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.errors import DataError

MAX_ID = 2**31 - 2  # region, group and position ids; int32 with one value to spare


def check_finite(
    values: NDArray[Any], where: str, *, allow_nan: bool = False, channels: int | None = None
) -> None:
    """Refuses NaN and infinity.

    Args:
        values: of any type; integers pass.
        where: for the message.
        allow_nan: accept NaN (a file declares it as `nodata`), refuse infinity.
        channels: the axis of channels; one without a finite value is named. None: there is none.

    Raises:
        DataError: a value is not finite; the message counts them.
    """
    if values.dtype.kind != "f":
        return
    good = ~np.isinf(values) if allow_nan else np.isfinite(values)
    if bool(good.all()):
        return
    bad = int(values.size - np.count_nonzero(good))
    which = _empty_channels(good, channels)
    raise DataError(
        f"{where}: {bad} of {values.size} values are "
        f"{'' if allow_nan else 'NaN, '}infinite or beyond float32{which}",
        "fill or remove them, or declare missing pixels of a modality with `nodata` "
        "(docs/formats/scene.md)",
    )


def _empty_channels(good: NDArray[np.bool_], axis: int | None) -> str:
    """The channels without a good value, in words; counted from 1."""
    if axis is None or good.ndim < 2:
        return ""
    others = tuple(number for number in range(good.ndim) if number != axis % good.ndim)
    empty = (np.flatnonzero(~good.any(axis=others)) + 1).tolist()
    if not empty:
        return ""
    word = "band" if len(empty) == 1 else "bands"
    return f" ({word} {', '.join(map(str, empty[:8]))} hold nothing else)"


def check_integers(values: NDArray[Any], low: int, high: int, where: str) -> None:
    """Refuses an array that is not of integers in low..high.

    Raises:
        DataError: the type is not an integer type, or a value lies outside the range.
    """
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: type {values.dtype} is not an integer type", "store integers")
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        raise DataError(
            f"{where}: values {int(values.min())}..{int(values.max())} leave {low}..{high}",
            f"every value must lie within {low}..{high}",
        )


def check_labels(label: NDArray[Any], classes: Sequence[str], where: str) -> None:
    """Refuses labels that are not integers in 0..len(classes), 0 meaning unlabelled.

    Raises:
        DataError: wrong type, or a label outside the classes.
    """
    if label.dtype.kind not in "iu":
        raise DataError(
            f"{where}: labels are of type {label.dtype}, not integers",
            "store labels as integers, 0 meaning unlabelled",
        )
    if label.size and (int(label.min()) < 0 or int(label.max()) > len(classes)):
        raise DataError(
            f"{where}: labels {int(label.min())}..{int(label.max())} leave "
            f"0..{len(classes)} (there are {len(classes)} class names)",
            "name every class in `classes`, or set labels of other classes to 0",
        )


def check_name(text: str, where: str, max_chars: int = DEFAULT_LIMITS.name_chars) -> None:
    """Refuses a name that is empty, too long, padded, or holds unprintable characters.

    Names are shown on terminals and in reports, so control characters must not get through.

    Raises:
        DataError: the name breaks one of these.
    """
    if not 1 <= len(text) <= max_chars:
        raise DataError(
            f"{where}: a name of {len(text)} characters is outside 1..{max_chars}",
            "give a shorter, non-empty name",
        )
    if not text.isprintable() or text != text.strip():
        raise DataError(
            f"{where}: the name {text!r} has unprintable characters or outer spaces",
            "use printable characters only",
        )


def check_names(names: Sequence[str], where: str) -> None:
    """Refuses names that break `check_name` or occur twice.

    Raises:
        DataError: a name is unfit or repeated.
    """
    for name in names:
        check_name(name, where)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{where}: the name {repeated[0]!r} occurs twice", "make names unique")


def check_wavelengths(wavelengths: Sequence[float], channels: int, where: str) -> None:
    """Refuses wavelengths (nm) that are not one a band, finite, positive and increasing.

    Raises:
        DataError: any of these does not hold.
    """
    if len(wavelengths) != channels:
        raise DataError(
            f"{where}: {len(wavelengths)} wavelengths for {channels} bands",
            "give one wavelength a band, in nanometres",
        )
    grid = np.asarray(wavelengths, dtype=np.float64)
    if not np.isfinite(grid).all() or (grid <= 0).any() or (np.diff(grid) <= 0).any():
        raise DataError(
            f"{where}: wavelengths must be finite, positive and strictly increasing",
            "sort the bands by wavelength and drop repeated ones",
        )
