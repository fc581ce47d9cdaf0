"""Ground truth as ENVI exports regions of interest (ROIs) to text.

Comment lines name the file's dimension (samples × lines) and, for each ROI, its name, colour,
number of points and columns; the points of a ROI are numbered from 1. Both orders occur: all ROIs
first and then all points, as in ENVI 4.8's export of the test samples of the IEEE GRSS contest of
2013, or each ROI before its points, as readers of that contest's training samples expect. Pixels
are counted from 1 (ENVI's file coordinates). The numbers of points must be those stated.
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

MARK = "; ENVI Output of ROIs"
MARK_WITHIN = 10  # lines
MAX_BYTES = 2**26  # of a text file: some three million points
_DIMENSION = re.compile(r"File Dimension:\s*(\d{1,9})\s*x\s*(\d{1,9})")
_COLOUR = re.compile(r"ROI rgb value:\s*\{\s*(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\s*\}")
_COUNT = re.compile(r"ROI npts:\s*(\d{1,9})")
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
class _Text:
    """What the lines say, in their order."""

    path: Path
    shape: tuple[int, int] | None = None
    names: list[str] = field(default_factory=list)
    colours: list[tuple[int, int, int]] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    positioned: bool = False
    rows: list[list[str]] = field(default_factory=list)

    def comment(self, text: str, number: int) -> None:
        """A line that begins with `;`."""
        dimension, colour = _DIMENSION.fullmatch(text), _COLOUR.fullmatch(text)
        if dimension:
            self.shape = (int(dimension[2]), int(dimension[1]))
        elif text.startswith("ROI name:"):
            self.names.append(text.partition(":")[2].strip())
        elif colour:
            red, green, blue = (int(part) for part in colour.groups())
            if max(red, green, blue) > 255:
                raise DataError(f"{self.path}: line {number}: a colour exceeds 255", _HINT)
            self.colours.append((red, green, blue))
        elif text.startswith("ROI npts:"):
            count = _COUNT.fullmatch(text)
            if count is None:
                raise DataError(f"{self.path}: line {number}: `ROI npts` is no number", _HINT)
            self.points.append(int(count[1]))
        elif text.upper().split()[:3] == ["ID", "X", "Y"]:
            self.positioned = True

    def check(self, limits: Limits) -> None:
        """Refuses what does not fit together."""
        if self.shape is None or not 1 <= min(self.shape) <= max(self.shape) <= limits.side:
            raise DataError(f"{self.path}: `File Dimension` is {self.shape or 'absent'}", _HINT)
        if not 1 <= len(self.names) <= limits.classes or len(self.points) != len(self.names):
            raise DataError(
                f"{self.path}: {len(self.names)} ROI names and {len(self.points)} counts of "
                f"points, outside 1..{limits.classes} or unequal",
                _HINT,
            )
        check_names(self.names, f"{self.path}: ROI name")
        if not self.positioned:
            raise DataError(f"{self.path}: no columns ID, X, Y", _HINT)
        if len(self.rows) != sum(self.points):
            raise DataError(
                f"{self.path}: {len(self.rows)} points, `ROI npts` add up to {sum(self.points)}",
                "the file is cut short, or its head was edited",
            )


def read_roi_text(path: Path, limits: Limits = DEFAULT_LIMITS) -> RoiLabels:
    """Parses a ROI text file into a label raster.

    Args:
        path: the file.
        limits: bounds on sides and classes.

    Raises:
        DataError: missing, no such file, too large, other counts than stated, or a point outside
            the file's dimension.
    """
    text = _Text(path)
    for number, line in enumerate(_lines(path), start=1):
        if line.startswith(";"):
            text.comment(line[1:].strip(), number)
        elif line.strip():
            text.rows.append(line.split()[:3])
    text.check(limits)
    assert text.shape is not None
    x, y = _positions(text, text.shape)
    label, ambiguous = _painted(x, y, text.points, text.shape)
    complete = len(text.colours) == len(text.names)
    return RoiLabels(label, tuple(text.names), tuple(text.colours) if complete else None, ambiguous)


def _lines(path: Path) -> list[str]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes exceed {MAX_BYTES}", "split the file")
        lines = path.read_bytes().decode("latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check the path") from error
    if not any(line.startswith(MARK) for line in lines[:MARK_WITHIN]):
        raise DataError(f"{path}: no line of its head starts with {MARK!r}", _HINT)
    return lines


def _positions(text: _Text, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Column and row of every point, counted from 0, in the order of the file."""
    try:
        values = np.array(text.rows, dtype=np.float64).reshape(-1, 3)
    except ValueError as error:
        raise DataError(f"{text.path}: a point is no ID, X, Y", _HINT) from error
    expected = np.concatenate([np.arange(1, count + 1) for count in text.points])
    whole = np.isfinite(values).all() and np.array_equal(values, np.rint(values))
    if not whole or not np.array_equal(values[:, 0], expected):
        raise DataError(f"{text.path}: the IDs of a ROI do not count from 1", _HINT)
    height, width = shape
    x, y = values[:, 1] - 1, values[:, 2] - 1
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise DataError(
            f"{text.path}: ROI point X {x[first] + 1:g}, Y {y[first] + 1:g} lies outside the "
            f"raster of {width} samples × {height} lines ({int(outside.sum())} points do)",
            "X counts samples and Y lines, both from 1",
        )
    return x.astype(np.int64), y.astype(np.int64)


def _painted(
    x: NDArray[np.int64], y: NDArray[np.int64], points: list[int], shape: tuple[int, int]
) -> tuple[Labels, int]:
    """The label raster, and how many pixels lie in several ROIs."""
    label = np.zeros(shape, dtype=np.int16)
    several = np.zeros(shape, dtype=np.bool_)
    start = 0
    for number, count in enumerate(points, start=1):
        at = (y[start : start + count], x[start : start + count])
        several[at] |= label[at] > 0  # of an earlier ROI: a point that one ROI repeats is not
        label[at] = number
        start += count
    label[several] = 0
    return label, int(several.sum())
