"""Bringing the layers of a scene onto the grid of one of them."""

from __future__ import annotations

import numpy as np

from feddiff_secure.data.align import ALIGNED
from feddiff_secure.data.ground_grid import GroundGrid
from feddiff_secure.data.raster.layer import FieldName, LayerFacts
from feddiff_secure.data.raster.placement import Placement
from feddiff_secure.errors import DataError


def place_layers(
    facts: dict[FieldName, LayerFacts], grid: FieldName
) -> tuple[dict[FieldName, Placement], list[str]]:
    """Where each layer lies on the grid of one of them, and what that takes, in words.

    Raises:
        DataError: another CRS, a georeference on one side only with other shapes, a rotated or
            flipped grid, or no whole pixel in common.
    """
    placed: dict[FieldName, Placement] = {}
    notes: list[str] = []
    for field, layer in facts.items():
        placed[field] = _place(facts[grid], grid, layer, field, notes)
    return placed, notes


def _place(
    base: LayerFacts, grid: FieldName, layer: LayerFacts, field: FieldName, notes: list[str]
) -> Placement:
    if field == grid:
        return Placement.same(base.shape)
    if base.transform is None or layer.transform is None:
        return _by_shape(base, grid, layer, field, notes)
    _check_crs(base, layer)
    if base.shape == layer.shape and _same_corners(base, layer):
        return Placement.same(base.shape)
    for facts in (base, layer):
        _, shear_x, _, shear_y, _, _ = _grid(facts).affine
        if shear_x or shear_y:
            raise DataError(
                f"{facts.path}: its grid is rotated or sheared against the coordinate axes",
                "make it north up: gdalwarp, say",
            )
    return _by_ground(base, grid, layer, field, notes)


def _by_shape(
    base: LayerFacts, grid: FieldName, layer: LayerFacts, field: FieldName, notes: list[str]
) -> Placement:
    """Layers of which one has no georeference match if they have the same shape."""
    if base.shape != layer.shape:
        without = base if base.transform is None else layer
        raise DataError(
            f"{layer.path}: {field} of {_size(layer)} pixels and {grid} of {_size(base)} cannot be "
            f"matched: {without.path.name} has no georeference",
            "give both a georeference, or resample one to the other's pixels",
        )
    if (base.transform is None) != (layer.transform is None):
        which = field if layer.transform is None else grid
        notes.append(f"`{which}` has no georeference: taken as that of the other, of its shape")
    return Placement.same(base.shape)


def _by_ground(
    base: LayerFacts, grid: FieldName, layer: LayerFacts, field: FieldName, notes: list[str]
) -> Placement:
    mine, theirs = _grid(base), _grid(layer)
    try:
        placed = Placement.of(mine, theirs)
    except DataError as error:
        raise DataError(f"{layer.path}: {error}", error.hint) from error
    if not placed.overlaps:
        raise DataError(
            f"{layer.path}: {field} covers {theirs.extent}, {grid} {mine.extent}: they have no "
            "whole pixel in common",
            "give layers of the same ground",
        )
    if not placed.is_pick:
        how = "the nearest pixel" if field == "labels" else "area means"
        notes.append(
            f"`{field}` brought from pixels of {abs(theirs.affine[0]):g} to {grid}'s of "
            f"{abs(mine.affine[0]):g} by {how}"
        )
    if not placed.covers_all:
        share = placed.row.size * placed.col.size / (base.shape[0] * base.shape[1])
        notes.append(f"`{field}` covers {share:.1%} of {grid}: the rest counts as missing")
    return placed


def _check_crs(base: LayerFacts, layer: LayerFacts) -> None:
    if _same_crs(base.crs, layer.crs):
        return
    raise DataError(
        f"{layer.path}: its CRS is {_short(layer.crs)}, that of {base.path.name} is "
        f"{_short(base.crs)}",
        "reproject one of them: gdalwarp -t_srs",
    )


def _same_crs(one: str | None, other: str | None) -> bool:
    """Equal as text, or as GDAL understands both."""
    if one == other:
        return True
    if one is None or other is None:
        return False
    try:
        from rasterio.crs import CRS  # noqa: PLC0415 - optional extra
        from rasterio.errors import CRSError  # noqa: PLC0415 - optional extra
    except ImportError:
        return False
    try:
        return bool(CRS.from_user_input(one) == CRS.from_user_input(other))
    except CRSError:
        return False


def _same_corners(base: LayerFacts, layer: LayerFacts) -> bool:
    """Whether the transforms differ by less than stored rounding anywhere in the raster."""
    height, width = base.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    one = np.array(_grid(base).affine, dtype=np.float64).reshape(2, 3)
    other = np.array(_grid(layer).affine, dtype=np.float64).reshape(2, 3)
    pixel = float(np.abs(one[:, :2]).sum(axis=1).min())
    return bool((np.abs(corners @ (one - other).T) <= ALIGNED * pixel).all())


def _grid(facts: LayerFacts) -> GroundGrid:
    return GroundGrid(facts.crs, facts.transform, (facts.shape,))


def _size(facts: LayerFacts) -> str:
    return f"{facts.shape[0]} × {facts.shape[1]}"


def _short(crs: str | None) -> str:
    return "absent" if crs is None else " ".join(crs.split())[:60]
