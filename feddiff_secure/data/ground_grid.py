"""Where an owner's data lies on the ground: the one message of alignment, and its parsing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value
from feddiff_secure.data.checks import MAX_ID
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.scene import Affine, Dataset, Modality
from feddiff_secure.errors import DataError

MOST_COORDINATE = 1e12  # CRS units
LEAST_AREA = 1e-24  # of a pixel, square CRS units


@dataclass(frozen=True, slots=True, eq=False)
class GroundGrid:
    """Where an owner's data lies. Nothing else is exchanged to align two owners.

    Attributes:
        crs: coordinate reference system, or None.
        transform: pixel corners to coordinates, as `Scene.transform`, or None.
        shapes: (H, W) of each scene; ((N, 1),) for a table.
        positions: int64 (N, 2) row and column, or (N, 3) with the group before them, of a table's
            pixels; None for rasters, and for a table without `row_col`, matched line by line.
        valid: for each scene (H, W), for a table one (N, 1), which pixels the owner's sensor has
            a value of; None where it has all.
    """

    crs: str | None
    transform: Affine | None
    shapes: tuple[tuple[int, int], ...]
    positions: NDArray[np.int64] | None = None
    valid: tuple[Mask, ...] | None = None

    KIND = "ground grid"

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> GroundGrid:
        """The grid of a file's data of one modality (that it may lack: `onto` says so)."""
        table = dataset.table
        if table is None:
            first = dataset.scenes[0]
            shapes = tuple(scene.shape for scene in dataset.scenes)
            valid = _valid([scene.modalities.get(name) for scene in dataset.scenes], shapes)
            return cls(first.crs, first.transform, shapes, valid=valid)
        columns = [] if table.group is None else [table.group[:, None]]
        positions = None
        if table.row_col is not None:
            positions = np.concatenate([*columns, table.row_col], axis=1).astype(np.int64)
        shapes = ((table.n_pixels, 1),)
        valid = _valid([table.modalities.get(name)], shapes)
        return cls(None, None, shapes, positions, valid)

    def to_message(self) -> dict[str, Value]:
        """The flat fields that travel."""
        empty = np.zeros((0, 0), dtype=np.int64)
        return {
            "kind": self.KIND,
            "crs": self.crs or "",
            "transform": np.array(self.transform or (), dtype=np.float64),
            "shapes": np.array(self.shapes, dtype=np.int64),
            "positions": empty if self.positions is None else self.positions,
            "valid": _packed(self.valid),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> GroundGrid:
        """Read what another owner sent.

        Raises:
            DataError: other fields, types, sizes or ranges than a grid's.
        """
        if set(message) != {"kind", "crs", "transform", "shapes", "positions", "valid"}:
            raise _no_grid("its fields differ")
        crs, transform = message["crs"], message["transform"]
        if message["kind"] != cls.KIND or not isinstance(crs, str):
            raise _no_grid("kind or crs is wrong")
        if len(crs) > DEFAULT_LIMITS.crs_chars:
            raise _no_grid(f"crs has {len(crs)} characters, at most {DEFAULT_LIMITS.crs_chars}")
        if not isinstance(transform, np.ndarray) or transform.dtype != np.float64:
            raise _no_grid("transform is not of float64")
        if transform.shape not in {(0,), (6,)} or not np.isfinite(transform).all():
            raise _no_grid("transform is not 6 finite numbers")
        if transform.size and not _is_usable(transform):
            raise _no_grid(f"transform is flat, or leaves ±{MOST_COORDINATE:g}")
        shapes = _integers(message["shapes"], "shapes", 1, MAX_ID)
        if shapes.shape[1:] != (2,) or not 1 <= len(shapes) <= DEFAULT_LIMITS.scenes:
            raise _no_grid(f"shapes are {shapes.shape}")
        positions = _integers(message["positions"], "positions", 0, MAX_ID)
        if positions.size and (positions.shape[1] not in (2, 3) or len(shapes) > 1):
            raise _no_grid(f"positions are {positions.shape}")
        if positions.size and len(positions) != shapes[0, 0]:
            raise _no_grid(f"{len(positions)} positions for {int(shapes[0, 0])} pixels")
        six = tuple(float(value) for value in transform)
        sides = tuple((int(h), int(w)) for h, w in shapes)
        return cls(
            crs or None,
            (six[0], six[1], six[2], six[3], six[4], six[5]) if six else None,
            sides,
            positions if positions.size else None,
            _unpacked(message["valid"], sides),
        )

    @property
    def size(self) -> str:
        """Pixels, for messages."""
        height, width = self.shapes[0]
        many = f"{len(self.shapes)} × " if len(self.shapes) > 1 else ""
        return f"{many}{height} × {width}"

    @property
    def bounds(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Least and greatest x, and y, of a georeferenced scene that is not rotated."""
        a, _, c, _, e, f = self.affine
        height, width = self.shapes[0]
        x, y = c + a * width, f + e * height
        return (min(c, x), max(c, x)), (min(f, y), max(f, y))

    @property
    def extent(self) -> str:
        """The same, for messages."""
        (west, east), (south, north) = self.bounds
        return f"x {west:.12g}..{east:.12g}, y {south:.12g}..{north:.12g}"

    @property
    def affine(self) -> Affine:
        """The transform of a georeferenced scene.

        Raises:
            ValueError: it has none.
        """
        if self.transform is None:
            raise ValueError("a grid without georeference")
        return self.transform


def moved(transform: Affine | None, row: int, col: int) -> Affine | None:
    """The transform of a part of a raster whose upper left pixel is at a row and column."""
    if transform is None:
        return None
    a, b, c, d, e, f = transform
    return a, b, c + a * col + b * row, d, e, f + d * col + e * row


def _valid(
    held: Sequence[Modality | None], shapes: tuple[tuple[int, int], ...]
) -> tuple[Mask, ...] | None:
    """Which pixels are there, by scene; None where all are."""
    masks = [None if modality is None else modality.valid for modality in held]
    if all(mask is None or bool(mask.all()) for mask in masks):
        return None
    pairs = zip(masks, shapes, strict=True)
    return tuple(np.ones(s, np.bool_) if mask is None else mask.reshape(s) for mask, s in pairs)


def _packed(valid: tuple[Mask, ...] | None) -> NDArray[np.uint8]:
    """One bit a pixel, scene by scene, row by row; empty where all pixels are there."""
    if valid is None:
        return np.zeros(0, dtype=np.uint8)
    return np.packbits(np.concatenate([mask.ravel() for mask in valid]))


def _unpacked(value: object, shapes: tuple[tuple[int, int], ...]) -> tuple[Mask, ...] | None:
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != 1:
        raise _no_grid("valid is no row of bytes")
    if not value.size:
        return None
    ends = np.cumsum([height * width for height, width in shapes], dtype=object)
    if value.size != -(-ends[-1] // 8):
        raise _no_grid(f"valid has {value.size} bytes for {ends[-1]} pixels")
    bits = np.unpackbits(value)
    if bits[ends[-1] :].any() or bits[: ends[-1]].all():
        raise _no_grid("valid is not in its shortest form")
    parts = np.split(bits[: ends[-1]].astype(np.bool_), [int(end) for end in ends[:-1]])
    return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))


def _is_usable(transform: NDArray[np.float64]) -> bool:
    a, b, _, d, e, _ = transform.tolist()
    return bool(np.abs(transform).max() <= MOST_COORDINATE) and abs(a * e - b * d) > LEAST_AREA


def _integers(value: object, name: str, low: int, high: int) -> NDArray[np.int64]:
    if not isinstance(value, np.ndarray) or value.dtype != np.int64 or value.ndim != 2:
        raise _no_grid(f"{name} are not a table of int64")
    if value.size and (int(value.min()) < low or int(value.max()) > high):
        raise _no_grid(f"{name} leave {low}..{high}")
    return value


def _no_grid(why: str) -> DataError:
    return DataError(f"alignment: not a grid: {why}", "ask the other owner for its grid again")
