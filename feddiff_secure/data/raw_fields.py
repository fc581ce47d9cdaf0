"""From the arrays of a file, as stored, to a checked `Dataset`.

The readers of every format fill a `RawFields`; what the arrays must satisfy and what absent
ones mean is decided once, here (docs/formats/scene.md is the prose of it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import MAX_ID, check_integers, check_labels
from feddiff_secure.data.layout import MODALITY_NAMES, ModalityName, Support
from feddiff_secure.data.limits import Limits
from feddiff_secure.data.nodata import Mask, missing_pixels
from feddiff_secure.data.scaling import Scaling, default_scaling
from feddiff_secure.data.scene import (
    Affine,
    Dataset,
    Ids,
    Labels,
    Modality,
    PixelTable,
    Scene,
    numbered,
)
from feddiff_secure.errors import DataError


@dataclass
class RawModality:
    """One modality as stored: values (..., channels) and what the file says about them."""

    values: NDArray[Any]
    channels: tuple[str, ...] | None = None
    wavelengths_nm: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    support: str | None = None
    nodata: float | None = None


@dataclass
class RawFields:
    """Everything a reader found in one file; None is absent."""

    path: Path
    modalities: dict[str, RawModality]
    label: NDArray[Any] | None = None
    classes: tuple[str, ...] | None = None
    region: NDArray[Any] | None = None
    group: NDArray[Any] | None = None
    site: list[str] | None = None
    row_col: NDArray[Any] | None = None
    crs: str | None = None
    transform: tuple[float, ...] | None = None
    ignored: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    colours: tuple[tuple[int, int, int], ...] | None = None
    files: dict[str, Path] = field(default_factory=dict)  # of fields that come from another file


def build_dataset(
    raw: RawFields, limits: Limits, *, require_labels: bool, window: bool = False
) -> Dataset:
    """Interprets and checks the fields of a file.

    Args:
        raw: what the reader found.
        limits: bounds on counts and sides.
        require_labels: refuse a file without `label`; else everything is unlabelled.
        window: the fields are a part of a scene, in which a sensor may have no value at all.

    Returns:
        A table where values are (N, channels), scenes where they are (H, W, channels) or
        (P, H, W, channels).

    Raises:
        DataError: anything does not fit; the message starts with the file and names the field.
    """
    try:
        return _build(raw, limits, require_labels, window)
    except _OfFileError as error:
        raise DataError(str(error), error.hint) from error
    except DataError as error:
        raise DataError(f"{raw.path}: {error}", error.hint) from error


class _OfFileError(DataError):
    """An error whose message names its file."""


@contextmanager
def _of(raw: RawFields, name: str) -> Iterator[None]:
    """Errors name the file that a field comes from, where that is one of its own."""
    try:
        yield
    except DataError as error:
        if name not in raw.files:
            raise
        raise _OfFileError(f"{raw.files[name]}: {error}", error.hint) from error


def _build(raw: RawFields, limits: Limits, require_labels: bool, window: bool) -> Dataset:
    if not raw.modalities:
        raise DataError("holds neither `hsi` nor `lidar`", "store at least one modality")
    if raw.label is None and require_labels:
        raise DataError("holds no `label`", "store labels, 0 meaning unlabelled")
    shape = _pixel_shape(raw)
    with _of(raw, "label"):
        label, classes = _label_and_classes(raw, shape)
    # Popped, so that the stored values are freed before the next copy is made.
    modalities = {}
    for name in list(raw.modalities):
        with _of(raw, name):
            modalities[name] = _modality(name, raw, shape, window)
    region = _ids(raw.region, "region", shape)
    if len(shape) == 1:
        return _table(raw, modalities, label, classes, region)
    if len(shape) == 3 and shape[0] > limits.scenes:
        raise DataError(f"{shape[0]} scenes exceed {limits.scenes}", "split the file")
    return _scenes(raw, modalities, label, classes, region)


def _pixel_shape(raw: RawFields) -> tuple[int, ...]:
    """(N,), (H, W) or (P, H, W): the label's shape, else the shape without the channel axis."""
    first = next(raw.modalities[name] for name in MODALITY_NAMES if name in raw.modalities)
    shape = first.values.shape[:-1] if raw.label is None else raw.label.shape
    if not 1 <= len(shape) <= 3:
        raise DataError(
            f"`label` has shape {shape}", "give labels of shape (N,), (H, W) or (P, H, W)"
        )
    for name, modality in raw.modalities.items():
        if name == "lidar" and modality.values.shape == shape:
            modality.values = modality.values[..., None]  # one layer stored without its axis
        if modality.values.shape[:-1] != shape:
            what = "`label`" if raw.label is not None else "the other modality"
            raise DataError(
                f"`{name}` has shape {modality.values.shape}, {what} has shape {shape}",
                _axis_hint(modality.values.shape, shape),
            )
    return shape


def _axis_hint(found: tuple[int, ...], pixels: tuple[int, ...]) -> str:
    """What is probably wrong with the order of a modality's axes."""
    if len(pixels) == 2 and found[1:] == pixels:
        return "its bands come first: store (H, W, bands), np.moveaxis(values, 0, -1)"
    if len(pixels) == 3 and len(found) == 4 and (found[0], *found[2:]) == pixels:
        return "its bands come second: store (P, H, W, bands), np.moveaxis(values, 1, -1)"
    if len(pixels) == 2 and found[:2] == pixels[::-1] and found[0] != found[1]:
        return "rows and columns are swapped: store (H, W, bands), np.swapaxes(values, 0, 1)"
    if len(pixels) == 1 and found[-1:] == pixels:
        return "its bands come first: store (N, bands), its transpose"
    return "the leading dimensions must agree; the last one of a modality is its channels"


def _label_and_classes(raw: RawFields, shape: tuple[int, ...]) -> tuple[Labels, tuple[str, ...]]:
    if raw.label is None:
        return np.zeros(shape, dtype=np.int16), raw.classes or ()
    check_integers(raw.label, 0, np.iinfo(np.int16).max, "`label`")
    if raw.classes is None:
        raw.notes.append("no `classes`: classes are numbered up to the largest label")
        raw.classes = numbered("class", int(raw.label.max()))
    check_labels(raw.label, raw.classes, "`label`")
    return raw.label.astype(np.int16), raw.classes


def _modality(name: str, raw: RawFields, shape: tuple[int, ...], window: bool) -> Modality:
    """Scaled values, still (..., channels) folded to (pixels, channels)."""
    fields = raw.modalities.pop(name)
    n_channels = fields.values.shape[-1]
    if fields.scale is None:
        scaling = default_scaling(name, fields.values.dtype)
        raw.notes.append(f"`{name}` has no `scale`: {scaling.describe()} is applied")
    elif len(fields.scale) not in (1, n_channels) or not all(
        np.isfinite(factor) and factor > 0 for factor in fields.scale
    ):
        raise DataError(
            f"`{name}`: scale has {len(fields.scale)} values for {n_channels} channels, or one "
            "is not finite and positive",
            "give one positive factor, or one a channel",
        )
    else:
        scaling = Scaling(fields.scale)
    support = fields.support
    if support is None:
        # A table may hold derived features; without a word on it no pixel-level claim is made.
        support = "neighbourhood" if len(shape) == 1 else "pixel"
        raw.notes.append(f"`{name}` has no `support`: {support} is assumed")
    valid = _without_nodata(name, raw, fields, window)
    return Modality(
        name=cast(ModalityName, name),
        values=scaling.apply(fields.values).reshape(-1, n_channels),
        channels=fields.channels or numbered("band" if name == "hsi" else "layer", n_channels),
        wavelengths_nm=fields.wavelengths_nm,
        support=cast(Support, support),  # the layout refuses an unknown word
        scaling=scaling,
        valid=valid,
    )


def _without_nodata(name: str, raw: RawFields, fields: RawModality, window: bool) -> Mask | None:
    """(pixels,) which pixels hold a value, None where all do; missing ones are set to 0."""
    if fields.nodata is None:
        return None
    missing = missing_pixels(fields.values, fields.nodata, f"`{name}`", may_be_all=window)
    if not missing.any():
        return None
    fields.values[missing] = 0
    raw.notes.append(
        f"`{name}` is missing (nodata {fields.nodata:g}) in {int(missing.sum())} of "
        f"{missing.size} pixels"
    )
    return ~missing.reshape(-1)


def _ids(values: NDArray[Any] | None, name: str, shape: tuple[int, ...]) -> Ids | None:
    if values is None:
        return None
    if values.shape != shape:
        raise DataError(
            f"`{name}` has shape {values.shape}, expected {shape}", "give one id a pixel or scene"
        )
    check_integers(values, 0, MAX_ID, f"`{name}`")
    return values.astype(np.int32)


def _table(
    raw: RawFields,
    modalities: dict[str, Modality],
    label: Labels,
    classes: tuple[str, ...],
    region: Ids | None,
) -> Dataset:
    n_pixels = label.size
    if raw.site is not None and len(raw.site) != n_pixels:
        raise DataError(f"`site` has {len(raw.site)} names for {n_pixels} pixels", "one a pixel")
    _refuse_georeference(raw, "a table")
    table = PixelTable(
        modalities,
        label,
        classes,
        region=region,
        group=_ids(raw.group, "group", (n_pixels,)),
        site=None if raw.site is None else np.array(raw.site, dtype=np.str_),
        row_col=_ids(raw.row_col, "row_col", (n_pixels, 2)),
        name=_scene_name(raw.path),
    )
    return Dataset(table=table, ignored=raw.ignored, notes=tuple(raw.notes), colours=raw.colours)


def _scenes(
    raw: RawFields,
    modalities: dict[str, Modality],
    label: Labels,
    classes: tuple[str, ...],
    region: Ids | None,
) -> Dataset:
    count = label.shape[0] if label.ndim == 3 else 1
    if raw.row_col is not None:
        raise DataError("`row_col` belongs to a table, not to rasters", "remove it")
    height, width = label.shape[-2:]
    label = label.reshape(count, height, width)
    group = None if raw.group is None else _ids(np.atleast_1d(raw.group), "group", (count,))
    if group is None and region is None and count > 1:
        raw.notes.append("neither `group` nor `region`: each raster is a group of its own")
        group = np.arange(1, count + 1, dtype=np.int32)
    if raw.site is not None and len(raw.site) != count:
        raise DataError(f"`site` has {len(raw.site)} names for {count} rasters", "one a raster")
    if count > 1:
        _refuse_georeference(raw, "a stack of rasters")
    cubes = {
        name: modality.values.reshape(count, height, width, -1)
        for name, modality in modalities.items()
    }
    regions = None if region is None else region.reshape(count, height, width)
    stem = _scene_name(raw.path)
    scenes = tuple(
        Scene(
            {name: _chw(modalities[name], cubes[name], number) for name in cubes},
            label[number],
            classes,
            crs=raw.crs,
            transform=affine(raw.transform),
            region=None if regions is None else regions[number],
            group=None if group is None else int(group[number]),
            site=None if raw.site is None else raw.site[number],
            name=stem if count == 1 else f"{stem} {number + 1}",
        )
        for number in range(count)
    )
    return Dataset(scenes=scenes, ignored=raw.ignored, notes=tuple(raw.notes), colours=raw.colours)


def _chw(modality: Modality, cubes: NDArray[np.float32], number: int) -> Modality:
    """One scene's modality with its values moved from (P, H, W, C) to (C, H, W)."""
    values = np.ascontiguousarray(np.moveaxis(cubes[number], -1, 0))
    valid = None if modality.valid is None else modality.valid.reshape(cubes.shape[:-1])[number]
    return Modality(
        modality.name,
        values,
        modality.channels,
        modality.wavelengths_nm,
        modality.support,
        modality.scaling,
        valid,
    )


def affine(transform: tuple[float, ...] | None) -> Affine | None:
    """The stored numbers as a transform.

    Raises:
        DataError: they are not six.
    """
    if transform is None:
        return None
    if len(transform) != 6:
        raise DataError(f"`transform` has {len(transform)} numbers", "give 6: a, b, c, d, e, f")
    a, b, c, d, e, f = transform
    return a, b, c, d, e, f


def _refuse_georeference(raw: RawFields, what: str) -> None:
    """`crs` and `transform` place one raster; anywhere else they would be silently wrong."""
    if raw.crs is not None or raw.transform is not None:
        raise DataError(f"`crs` and `transform` cannot place {what}", "remove the two attributes")


def _scene_name(path: Path) -> str:
    """The file's stem, made fit to print."""
    stem = "".join(char if char.isprintable() else "_" for char in path.stem)[:100].strip()
    return stem or "scene"
