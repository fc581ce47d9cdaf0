"""A layer: one array of a scene in a file of its own, and what that file says about it.

Facts are known when a layer is opened; values are read by windows, as stored. Everything that is
decided about values (scale, missing pixels, grids) is decided from facts alone, so that a scene
read in windows is the scene read at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.limits import Limits
from feddiff_secure.data.scene import Affine
from feddiff_secure.errors import DataError

FieldName = Literal["hsi", "lidar", "labels"]
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """What a file says about its array; None is absent.

    Attributes:
        path: the file.
        shape: (H, W), pixels.
        bands: the third axis.
        dtype: of the stored values, native byte order.
        crs: authority code or WKT.
        transform: pixel corners to CRS units, as `Scene.transform`.
        nodata: stored value of missing pixels.
        channels: names of the bands.
        wavelengths_nm: band centres, nanometres.
        scale: factor, or one a band.
        support: `pixel` or `neighbourhood`.
        classes: class names of a label layer; label k means `classes[k - 1]`.
        colours: RGB of these classes, 0..255.
        palette: number of colours of a colour table, named or not; 0 without one.
        notes: what was assumed or converted, in words.
    """

    path: Path
    shape: tuple[int, int]
    bands: int
    dtype: np.dtype[Any]
    crs: str | None = None
    transform: Affine | None = None
    nodata: float | None = None
    channels: tuple[str, ...] | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    support: str | None = None
    classes: tuple[str, ...] | None = None
    colours: tuple[Colour, ...] | None = None
    palette: int = 0
    notes: tuple[str, ...] = ()


class Layer(Protocol):
    """An opened layer."""

    @property
    def facts(self) -> LayerFacts:
        """What the file says."""
        ...

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The stored values of a window, (h, w, bands)."""
        ...

    def close(self) -> None:
        """Let go of the file; a second time does nothing."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayLayer:
    """A layer whose values are in memory, (H, W, bands)."""

    facts: LayerFacts
    values: NDArray[Any]

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The values of a window."""
        return self.values[rows, cols]

    def close(self) -> None:
        """Nothing is open."""


def check_layer(facts: LayerFacts, limits: Limits) -> None:
    """Refuses a layer of other than real numbers, or beyond the bounds.

    Array bytes are not among them: a layer is read by windows, and each window is bounded.

    Raises:
        DataError: naming the file and the bound.
    """
    if facts.dtype.kind not in "iuf":
        raise DataError(
            f"{facts.path}: values are of type {facts.dtype}, not integers or reals",
            "store integers or reals",
        )
    if not 1 <= facts.bands <= limits.channels or not all(
        1 <= side <= limits.side for side in facts.shape
    ):
        height, width = facts.shape
        raise DataError(
            f"{facts.path}: {height} × {width} pixels of {facts.bands} bands; sides are 1 to "
            f"{limits.side} pixels, bands 1 to {limits.channels}",
            "check the order of the axes, or cut the scene into several",
        )
