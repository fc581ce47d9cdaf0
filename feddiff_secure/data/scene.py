"""Scenes (rasters) and pixel tables: the owner's data in sensor units, checked on construction.

A `Dataset` is what one file holds: several scenes of one sensor layout, or one table of pixels.
Labels are 0 for unlabelled and k for `classes[k - 1]`. Regions are connected labelled patches,
groups are grounds that overlap or belong together; both exist to keep neighbours, which are
nearly identical, on one side of a split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.checks import (
    MAX_ID,
    check_finite,
    check_integers,
    check_labels,
    check_name,
    check_names,
)
from feddiff_secure.data.layout import (
    MODALITY_NAMES,
    ModalityLayout,
    ModalityName,
    SensorLayout,
    Support,
)
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.nodata import Mask
from feddiff_secure.data.scaling import Scaling
from feddiff_secure.errors import DataError

Floats = NDArray[np.float32]
Labels = NDArray[np.int16]
Ids = NDArray[np.int32]
Affine = tuple[float, float, float, float, float, float]  # x = a·col + b·row + c, y = d·… + f


def numbered(word: str, count: int) -> tuple[str, ...]:
    """Default names: `numbered("band", 2)` is ("band 1", "band 2")."""
    return tuple(f"{word} {index}" for index in range(1, count + 1))


@dataclass(frozen=True, eq=False)
class Modality:
    """The values of one sensor.

    Attributes:
        name: `hsi` or `lidar`.
        values: float32 in sensor units, finite; (C, H, W) in a scene, (N, C) in a table.
        channels: a unique name for each of the C channels.
        wavelengths_nm: band centres in nanometres, increasing, or None where unknown.
        support: `neighbourhood` where a value depends on more than its own pixel.
        scaling: how raw values became sensor units.
        valid: which pixels the sensor has a value of, (H, W) in a scene, (N,) in a table; None
            where it has all. Values of the others are 0.

    Raises:
        DataError: shapes, names or wavelengths disagree, a value is not finite, or a missing
            pixel's is not 0.
    """

    name: ModalityName
    values: Floats
    channels: tuple[str, ...]
    wavelengths_nm: tuple[float, ...] | None = None
    support: Support = "pixel"
    scaling: Scaling = field(default_factory=Scaling)
    valid: Mask | None = None

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.ndim not in (2, 3):
            raise DataError(
                f"{self.name}: values are {self.values.dtype} of {self.values.ndim} dimensions",
                "give float32 values of shape (C, H, W) or (N, C)",
            )
        if len(self.channels) != self._channel_count:
            raise DataError(
                f"{self.name}: {len(self.channels)} names for {self._channel_count} channels",
                "give one name a channel",
            )
        _ = self.layout  # checks names, wavelengths and support
        check_finite(self.values, self.name)
        self._check_valid()

    @property
    def _channel_count(self) -> int:
        return int(self.values.shape[0 if self.values.ndim == 3 else 1])

    @property
    def pixels(self) -> tuple[int, ...]:
        """(H, W) of a scene, (N,) of a table."""
        return self.values.shape[1:] if self.values.ndim == 3 else self.values.shape[:1]

    def pick(self, at: Any) -> Modality:
        """The pixels of an index: of rows in a table, a pair of rows and columns in a scene."""
        index = at if self.values.ndim == 2 else (slice(None), *at)
        valid = None if self.valid is None else self.valid[at]
        return replace(self, values=np.ascontiguousarray(self.values[index]), valid=valid)

    def _check_valid(self) -> None:
        if self.valid is None:
            return
        if self.valid.dtype != np.bool_ or self.valid.shape != self.pixels:
            raise DataError(
                f"{self.name}: valid is {self.valid.dtype} of shape {self.valid.shape}, expected "
                f"bool of shape {self.pixels}",
                "give one truth value a pixel",
            )
        missing = ~self.valid
        if self.values[:, missing].any() if self.values.ndim == 3 else self.values[missing].any():
            raise DataError(f"{self.name}: a missing pixel has a value", "set missing pixels to 0")

    @cached_property
    def layout(self) -> ModalityLayout:
        """The public constants of this sensor."""
        return ModalityLayout(
            self.name, self.channels, self.wavelengths_nm, self.support, self.scaling.kind
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """One raster: its modalities, its labels, and where it lies.

    Attributes:
        modalities: by name, each (C, H, W) of the same H and W; at least one.
        label: int16 (H, W), 0 = unlabelled.
        classes: unique names; label k means `classes[k - 1]`.
        crs: coordinate reference system (authority code or WKT), or None.
        transform: (a, b, c, d, e, f) with x = a·col + b·row + c and y = d·col + e·row + f, in
            CRS units for pixel corners, or None.
        region: int32 (H, W), id of the labelled patch a pixel belongs to, unique within the
            data set, or None.
        group: id of the ground; scenes that overlap share it; or None.
        site: name of the place or organisation the scene comes from, or None.
        name: for messages and pictures.

    Raises:
        DataError: any of this does not hold.
    """

    modalities: Mapping[str, Modality]
    label: Labels
    classes: tuple[str, ...]
    crs: str | None = None
    transform: Affine | None = None
    region: Ids | None = None
    group: int | None = None
    site: str | None = None
    name: str = "scene"

    def __post_init__(self) -> None:
        check_name(self.name, "scene: name")
        if self.label.ndim != 2 or 0 in self.label.shape:
            raise DataError(
                f"{self.name}: label has shape {self.label.shape}", "give labels of shape (H, W)"
            )
        if max(self.label.shape) > DEFAULT_LIMITS.side:
            raise DataError(
                f"{self.name}: sides {self.label.shape} exceed {DEFAULT_LIMITS.side} pixels",
                "cut the scene into several",
            )
        _check_modalities(self.modalities, self.label.shape, self.name)
        _check_annotations(self.label, self.classes, self.region, self.name)
        if self.group is not None and not 0 <= self.group <= MAX_ID:
            raise DataError(f"{self.name}: group {self.group} leaves 0..{MAX_ID}", "renumber it")
        if self.site is not None:
            check_name(self.site, f"{self.name}: site")
        _check_georeference(self.crs, self.transform, self.name)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.label.shape[0], self.label.shape[1]

    @cached_property
    def layout(self) -> SensorLayout:
        """The public constants of the scene's sensors."""
        return _layout(self.modalities)


@dataclass(frozen=True, eq=False)
class PixelTable:
    """Single pixels, in the order of the file.

    Attributes:
        modalities: by name, each (N, C) with the same N; at least one.
        label: int16 (N,), 0 = unlabelled.
        classes: unique names; label k means `classes[k - 1]`.
        region: int32 (N,), id of the connected labelled patch, or None.
        group: int32 (N,), id of the ground, or None.
        site: names (N,), unicode, or None.
        row_col: int32 (N, 2), position in the scene the table was drawn from, or None.
        name: for messages and pictures.

    Raises:
        DataError: any of this does not hold.
    """

    modalities: Mapping[str, Modality]
    label: Labels
    classes: tuple[str, ...]
    region: Ids | None = None
    group: Ids | None = None
    site: NDArray[np.str_] | None = None
    row_col: Ids | None = None
    name: str = "table"

    def __post_init__(self) -> None:
        check_name(self.name, "table: name")
        if self.label.ndim != 1 or self.label.size == 0:
            raise DataError(
                f"{self.name}: label has shape {self.label.shape}", "give labels of shape (N,)"
            )
        _check_modalities(self.modalities, self.label.shape, self.name)
        _check_annotations(self.label, self.classes, self.region, self.name)
        if self.group is not None:
            _check_ids(self.group, self.label.shape, f"{self.name}: group")
        if self.row_col is not None:
            _check_ids(self.row_col, (self.label.size, 2), f"{self.name}: row_col")
        if self.site is not None:
            if self.site.dtype.kind != "U" or self.site.shape != self.label.shape:
                raise DataError(f"{self.name}: site is not one name a pixel", "store strings")
            for site in np.unique(self.site):
                check_name(str(site), f"{self.name}: site")

    @property
    def n_pixels(self) -> int:
        """N, the number of rows."""
        return int(self.label.size)

    @cached_property
    def layout(self) -> SensorLayout:
        """The public constants of the table's sensors."""
        return _layout(self.modalities)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What one file holds: scenes of one layout and one list of classes, or one table.

    Attributes:
        scenes: the rasters, in the order of the file; empty for a table.
        table: the pixel table, or None for rasters.
        ignored: names of what the file holds besides, which nothing here reads.
        notes: what the reader had to assume, in words, for `data inspect`.
        colours: RGB 0..255 of each class, as the file has them for maps, or None.

    Raises:
        DataError: both or neither are given, scenes differ in layout or classes, or colours are
            not one a class.
    """

    scenes: tuple[Scene, ...] = ()
    table: PixelTable | None = None
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self) -> None:
        if bool(self.scenes) == (self.table is not None):
            raise DataError("data set: needs scenes or a table", "give one of the two")
        for scene in self.scenes[1:]:
            self.scenes[0].layout.check_same(scene.layout, scene.name)
            if scene.classes != self.scenes[0].classes:
                raise DataError(
                    f"{scene.name}: class names differ from those of {self.scenes[0].name}",
                    "use one list of classes",
                )
        if self.colours is not None and len(self.colours) != len(self.classes):
            raise DataError(
                f"data set: {len(self.colours)} class colours for {len(self.classes)} classes",
                "give one RGB triple a class",
            )

    @property
    def is_table(self) -> bool:
        """Whether this is a table of pixels."""
        return self.table is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names; label k means `classes[k - 1]`."""
        return self.scenes[0].classes if self.table is None else self.table.classes

    @property
    def layout(self) -> SensorLayout:
        """The public constants of the sensors."""
        return self.scenes[0].layout if self.table is None else self.table.layout


def _layout(modalities: Mapping[str, Modality]) -> SensorLayout:
    held = (modalities[name].layout for name in MODALITY_NAMES if name in modalities)
    return SensorLayout(tuple(held))


def _check_modalities(
    modalities: Mapping[str, Modality], shape: tuple[int, ...], where: str
) -> None:
    """Refuses an empty or misnamed set of modalities, or one that does not fit the labels."""
    if not modalities:
        raise DataError(f"{where}: holds no modality", "give `hsi`, `lidar` or both")
    for key, modality in modalities.items():
        if key != modality.name:
            raise DataError(f"{where}: modality {modality.name!r} is filed as {key!r}", "rename it")
        values = modality.values.shape
        if len(values) != len(shape) + 1 or modality.pixels != shape:
            raise DataError(
                f"{where}: {key} has shape {values}, label has shape {shape}",
                "modalities and labels must cover the same pixels",
            )


def _check_annotations(
    label: NDArray[Any], classes: tuple[str, ...], region: Ids | None, where: str
) -> None:
    if label.dtype != np.int16:
        raise DataError(f"{where}: labels are of type {label.dtype}, not int16", "convert them")
    if len(classes) > DEFAULT_LIMITS.classes:
        raise DataError(
            f"{where}: {len(classes)} classes exceed {DEFAULT_LIMITS.classes}", "merge classes"
        )
    check_names(classes, f"{where}: classes")
    check_labels(label, classes, f"{where}: label")
    if region is not None:
        _check_ids(region, label.shape, f"{where}: region")


def _check_ids(ids: NDArray[Any], shape: tuple[int, ...], where: str) -> None:
    if ids.shape != shape or ids.dtype != np.int32:
        raise DataError(
            f"{where} is {ids.dtype} of shape {ids.shape}, expected int32 of shape {shape}",
            "give one non-negative integer a pixel",
        )
    check_integers(ids, 0, MAX_ID, where)


def _check_georeference(crs: str | None, transform: Affine | None, where: str) -> None:
    if crs is not None:
        check_name(crs.replace("\n", " ").strip(), f"{where}: crs", DEFAULT_LIMITS.crs_chars)
    if transform is None:
        return
    a, b, _, d, e, _ = transform
    if not np.isfinite(transform).all() or a * e - b * d == 0:
        raise DataError(
            f"{where}: transform {transform} is not finite and invertible",
            "give (a, b, c, d, e, f) in the order of GDAL's affine",
        )
