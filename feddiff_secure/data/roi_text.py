"""Ground truth as ENVI exports regions of interest (ROIs) to text.

The form, as the ground truth of the 2013 contest of the IEEE GRSS has it: comment lines name the
file's dimension (samples × lines), then each ROI with its colour and number of points, then the
columns; the points follow, ROI by ROI, numbered from 1 in each. Pixels are counted from 1 (ENVI's
file coordinates). Nothing is guessed: the numbers of points must be those stated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import check_names
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.scene import Labels
from feddiff_secure.errors import DataError

FIRST_LINE = "; ENVI Output of ROIs"
MAX_BYTES = 2**30  # of a text file
_DIMENSION = re.compile(r"File Dimension:\s*(\d{1,9})\s*x\s*(\d{1,9})")
_COLOUR = re.compile(r"ROI rgb value:\s*\{\s*(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\s*\}")
_HINT = "export the ROIs again as text, with pixel positions (ID, X, Y)"


@dataclass(frozen=True, eq=False)
class RoiLabels:
    """The label raster of a ROI text file.

    Attributes:
        label: int16 (H, W); k is the k-th ROI, 0 none, or several of them.
        classes: the names of the ROIs.
        colours: their colours; None where one has none.
        ambiguous: pixels in several ROIs, which are left unlabelled.
    """

    label: Labels
    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] | None
    ambiguous: int


@dataclass
class _Head:
    """What the comment lines say."""

    shape: tuple[int, int] | None = None
    names: list[str] = field(default_factory=list)
    colours: list[tuple[int, int, int]] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def read_roi_text(path: Path, limits: Limits = DEFAULT_LIMITS) -> RoiLabels:
    """Parses a ROI text file into a label raster.

    Args:
        path: the file.
        limits: bounds on sides and classes.

    Raises:
        DataError: missing, no such file, too large, other counts than stated, or a point outside
            the file's dimension.
    """
    lines = _lines(path)
    head, start = _head(lines, path)
    if head.shape is None or max(head.shape) > limits.side or min(head.shape) < 1:
        raise DataError(f"{path}: `File Dimension` is {head.shape or 'absent'}", _HINT)
    if not 1 <= len(head.names) <= limits.classes or len(head.points) != len(head.names):
        raise DataError(
            f"{path}: {len(head.names)} ROI names and {len(head.points)} counts of points, outside "
            f"1..{limits.classes} or unequal",
            _HINT,
        )
    check_names(head.names, f"{path}: ROI name")
    x, y = _positions(lines[start:], head, path)
    label, ambiguous = _painted(x, y, head.points, head.shape)
    complete = len(head.colours) == len(head.names)
    return RoiLabels(label, tuple(head.names), tuple(head.colours) if complete else None, ambiguous)


def _lines(path: Path) -> list[str]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes exceed {MAX_BYTES}", "split the file")
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check the path") from error
    lines = text.splitlines()
    if not lines or not lines[0].startswith(FIRST_LINE):
        raise DataError(f"{path}: the first line does not start with {FIRST_LINE!r}", _HINT)
    return lines


def _head(lines: list[str], path: Path) -> tuple[_Head, int]:
    """The comments at the beginning, and the number of the first line after them."""
    head = _Head()
    for number, line in enumerate(lines):
        if not line.startswith(";"):
            return head, number
        text = line[1:].strip()
        dimension, colour = _DIMENSION.fullmatch(text), _COLOUR.fullmatch(text)
        if dimension:
            head.shape = (int(dimension[2]), int(dimension[1]))
        elif text.startswith("ROI name:"):
            head.names.append(text.partition(":")[2].strip())
        elif colour:
            red, green, blue = (int(part) for part in colour.groups())
            if max(red, green, blue) > 255:
                raise DataError(f"{path}: line {number + 1}: a colour exceeds 255", _HINT)
            head.colours.append((red, green, blue))
        elif text.startswith("ROI npts:"):
            head.points.append(_count(text.partition(":")[2], path, number + 1))
        elif text.upper().startswith("ID "):
            head.columns = text.upper().split()
    return head, len(lines)


def _count(text: str, path: Path, line: int) -> int:
    try:
        count = int(text)
    except ValueError as error:
        raise DataError(f"{path}: line {line}: `ROI npts` is no number", _HINT) from error
    if count < 0:
        raise DataError(f"{path}: line {line}: `ROI npts` is {count}", _HINT)
    return count


def _positions(
    lines: list[str], head: _Head, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and row of every point, counted from 0, in the order of the file."""
    if head.columns[:3] != ["ID", "X", "Y"]:
        raise DataError(f"{path}: the columns do not begin with ID, X, Y", _HINT)
    rows = [line.split()[:3] for line in lines if line.strip() and not line.startswith(";")]
    if len(rows) != sum(head.points):
        raise DataError(
            f"{path}: {len(rows)} points, `ROI npts` add up to {sum(head.points)}",
            "the file is cut short, or its head was edited",
        )
    try:
        values = np.array(rows, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise DataError(f"{path}: a point is no ID, X, Y", _HINT) from error
    expected = np.concatenate([np.arange(1, count + 1) for count in head.points])
    if not np.array_equal(values, np.rint(values)) or not np.array_equal(values[:, 0], expected):
        raise DataError(f"{path}: the IDs of a ROI do not count from 1", _HINT)
    assert head.shape is not None
    height, width = head.shape
    x, y = values[:, 1].astype(np.int64) - 1, values[:, 2].astype(np.int64) - 1
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"{path}: ROI point X {int(x[first]) + 1}, Y {int(y[first]) + 1} lies outside the "
            f"raster of {width} samples × {height} lines ({int(outside.sum())} points do)",
            "X counts samples and Y lines, both from 1",
        )
    return x, y


def _painted(
    x: NDArray[np.int64], y: NDArray[np.int64], points: list[int], shape: tuple[int, int]
) -> tuple[Labels, int]:
    """The label raster, and how many pixels lie in several ROIs."""
    label = np.zeros(shape, dtype=np.int16)
    several = np.zeros(shape, dtype=np.bool_)
    roi = np.repeat(np.arange(1, len(points) + 1, dtype=np.int16), points)
    for number in range(1, len(points) + 1):
        at = (y[roi == number], x[roi == number])
        several[at] |= label[at] > 0  # of an earlier ROI: a point that one ROI repeats is not
        label[at] = number
    label[several] = 0
    return label, int(several.sum())
