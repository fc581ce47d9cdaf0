"""Return tuples of the package `rs-fusion-datasets` as a data set. The package is not needed.

Its loaders return (hsi, lidar, train labels, test labels, info); those of Trento and MUUFL have one
label array, some others a third with all labels. Images are (bands, H, W), labels sparse (H, W)
with 0 for unlabelled, `info` a dictionary with `name`, `label_name` (early: `label_dict`) and
`wavelength`. Source: the package's loaders and its `DataMetaInfo`, versions 0.9 to 1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, issparse

from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.raster.wavelength_units import in_nanometres
from feddiff_secure.data.raw_fields import RawFields, RawModality, build_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError, UsageError

Subset = Literal["all", "train", "test"]


def from_rs_fusion(
    parts: Sequence[Any],
    *,
    subset: Subset = "all",
    hsi_scale: float | None = None,
    lidar_scale: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Dataset:
    """The scene of a loader's return tuple.

    Args:
        parts: (hsi, lidar, truth, info), (hsi, lidar, train, test, info) or (hsi, lidar, train,
            test, all, info).
        subset: which labels; `all` joins train and test. With one label array only `all` exists.
        hsi_scale: factor to reflectance; None as for files without `scale`.
        lidar_scale: factor to about 0..1; None the same.
        limits: bounds on sides, bands and classes.

    Returns:
        One scene without a georeference, which the package drops.

    Raises:
        UsageError: a subset that the tuple does not have.
        DataError: another number of parts, shapes that disagree, labels that are no integers or two
            that differ in one pixel, or wavelengths that are not one a band.
    """
    if len(parts) not in (4, 5, 6) or not isinstance(parts[-1], Mapping):
        raise DataError(
            f"rs-fusion tuple: {len(parts)} parts, the last of type {type(parts[-1]).__name__}",
            "give what a loader returns: (hsi, lidar, labels …, info)",
        )
    hsi, lidar, *labels, info = parts
    name = str(info.get("name", "rs-fusion"))[: limits.name_chars] or "rs-fusion"
    images = {"hsi": _image(hsi, "hsi", limits), "lidar": _image(lidar, "lidar", limits)}
    shape = images["hsi"].shape[:2]
    raw = RawFields(Path(name), {})
    for field, scale in (("hsi", hsi_scale), ("lidar", lidar_scale)):
        raw.modalities[field] = RawModality(
            images[field], scale=None if scale is None else (scale,)
        )
    wavelengths = info.get("wavelength")
    if wavelengths is not None:
        centres = np.asarray(wavelengths, dtype=np.float64).reshape(-1).tolist()
        found, note = in_nanometres(centres, None, f"{name}: info.wavelength")
        raw.modalities["hsi"].wavelengths_nm = found
        raw.notes += [] if note is None else [f"`hsi`: {note}"]
    raw.label = _labels(labels, subset, shape)
    raw.classes = _classes(info.get("label_name", info.get("label_dict")))
    return build_dataset(raw, limits, require_labels=True)


def _image(values: Any, field: str, limits: Limits) -> NDArray[Any]:
    """(bands, H, W) as (H, W, bands)."""
    image = np.asarray(values)
    if image.ndim != 3 or image.dtype.kind not in "iuf" or image.nbytes > limits.array_bytes:
        raise DataError(
            f"rs-fusion tuple: {field} is {image.dtype} of shape {image.shape}",
            f"give numbers of shape (bands, H, W), at most {limits.array_bytes} bytes",
        )
    return np.moveaxis(image, 0, -1)


def _labels(labels: list[Any], subset: Subset, shape: tuple[int, ...]) -> NDArray[Any]:
    names = ("train", "test", "all")[: len(labels)] if len(labels) > 1 else ("all",)
    held = {name: _dense(values, name, shape) for name, values in zip(names, labels, strict=True)}
    if subset in held and (subset != "all" or len(held) == 1):
        return held[subset]
    if subset != "all":
        raise UsageError(
            f"subset is {subset!r}, the tuple has one label array", "use subset='all', and a split"
        )
    train, test = held["train"], held["test"]
    both = (train > 0) & (test > 0) & (train != test)
    if both.any():
        raise DataError(
            f"rs-fusion tuple: train and test labels differ in {int(both.sum())} pixels",
            "take one of them with subset",
        )
    return np.where(train > 0, train, test)


def _dense(values: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Sparse or dense labels as an array of integers of the raster's shape."""
    found = tuple(getattr(values, "shape", ()))
    if found != tuple(shape):
        raise DataError(
            f"rs-fusion tuple: {name} labels have shape {found}, the raster {tuple(shape)}",
            "give labels of the same rows and columns",
        )
    if issparse(values):
        sparse: Any = values
        entries = coo_array(sparse)
        if len({*zip(entries.row.tolist(), entries.col.tolist(), strict=True)}) != entries.nnz:
            raise DataError(
                f"rs-fusion tuple: {name} labels hold a pixel twice", "their sum would be a class"
            )
        values = entries.toarray()
    dense = np.asarray(values)
    if dense.dtype.kind == "f" and np.array_equal(dense, np.rint(dense)):
        dense = dense.astype(np.int64)  # MUUFL's come from MATLAB doubles
    if dense.dtype.kind not in "iu":
        raise DataError(
            f"rs-fusion tuple: {name} labels are of type {dense.dtype}", "give integers"
        )
    return dense


def _classes(named: Any) -> tuple[str, ...] | None:
    """The names of labels 1..K, in their order; None where the tuple names none."""
    if named is None:
        return None
    if not isinstance(named, Mapping) or sorted(map(int, named)) != list(range(1, len(named) + 1)):
        raise DataError(
            "rs-fusion tuple: label_name does not name labels 1 to K", "give a dictionary of names"
        )
    return tuple(str(named[key]).strip() for key in sorted(named, key=int))
