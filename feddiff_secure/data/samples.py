"""Scenes as dictionaries of tensors, and back, in the form that torchgeo's datasets and tasks use.

A sample is `{"image": float32 (C, h, w), "mask": int64 (h, w)}` with a few more keys; torchgeo is
not needed. `image` holds the bands of the HSI and then the LiDAR's, in sensor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from feddiff_secure.data.ground_grid import moved
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.scaling import SATURATING, Scaling
from feddiff_secure.data.scene import Dataset, Modality, Scene
from feddiff_secure.errors import DataError, UsageError

if TYPE_CHECKING:
    import torch

_KEYS = frozenset({"image", "mask", "valid", "crs", "transform", "group"})
_HINT = "give samples as `as_samples` makes them"


def as_samples(dataset: Dataset, side: int | None = None) -> Iterator[dict[str, Any]]:
    """One sample a scene, or one a square of it.

    Args:
        dataset: rasters.
        side: of the squares, pixels; those at the right and lower edge are smaller. None: whole
            scenes.

    Yields:
        `image` float32 (C, h, w), missing pixels 0; `mask` int64 (h, w), 0 = unlabelled, label k
        means `dataset.classes[k - 1]`; `valid` bool (modalities, h, w), which pixels each modality
        has; `crs` and `transform` (six numbers, of the square), or None; `group`, an integer that
        squares of one ground share.

    Raises:
        UsageError: a table, or a side below 1.
    """
    if dataset.table is not None:
        raise UsageError("samples: a table has no neighbourhoods", "give rasters")
    if side is not None and side < 1:
        raise UsageError(f"samples: side is {side}", "give at least 1 pixel")
    for number, scene in enumerate(dataset.scenes):
        height, width = scene.shape
        for top in range(0, height, side or height):
            for left in range(0, width, side or width):
                rows = slice(top, min(top + (side or height), height))
                cols = slice(left, min(left + (side or width), width))
                yield _sample(scene, rows, cols, number if scene.group is None else scene.group)


def scene_from_samples(
    samples: Iterable[Mapping[str, Any]], layout: SensorLayout, classes: tuple[str, ...]
) -> Dataset:
    """A data set of one scene a sample.

    Args:
        samples: as `as_samples` yields them; `image` alone is enough, of all bands of `layout`.
        layout: the sensors, in whose units the values are.
        classes: the class names.

    Raises:
        DataError: an unknown key, another shape or type, or a value that a scene may not have.
    """
    scenes = tuple(_scene(sample, number, layout, classes) for number, sample in enumerate(samples))
    return Dataset(scenes=scenes)


def _sample(scene: Scene, rows: slice, cols: slice, group: int) -> dict[str, Any]:
    import torch  # noqa: PLC0415  # heavy, and only these functions need it

    held = [scene.modalities[name] for name in scene.layout.names]
    image = np.concatenate([modality.values[:, rows, cols] for modality in held])
    there = [np.ones(scene.shape, bool) if m.valid is None else m.valid for m in held]
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image)),
        "mask": torch.from_numpy(scene.label[rows, cols].astype(np.int64)),
        "valid": torch.from_numpy(np.stack([mask[rows, cols] for mask in there])),
        "crs": scene.crs,
        "transform": moved(scene.transform, rows.start, cols.start),
        "group": group,
    }


def _scene(
    sample: Mapping[str, Any], number: int, layout: SensorLayout, classes: tuple[str, ...]
) -> Scene:
    where = f"sample {number}"
    if "image" not in sample or set(sample) - _KEYS:
        raise DataError(f"{where}: its keys are {sorted(map(str, sample))[:10]}", _HINT)
    image = _array(sample["image"], f"{where}: image")
    bands = [len(entry.channels) for entry in layout.modalities]
    if image.ndim != 3 or image.shape[0] != sum(bands) or image.dtype.kind not in "iuf":
        raise DataError(
            f"{where}: image is {image.dtype} of shape {image.shape}, the layout has {sum(bands)} "
            "bands",
            "give (bands, h, w): the HSI's and then the LiDAR's",
        )
    shape = image.shape[1:]
    mask = _array(sample.get("mask", np.zeros(shape, np.int64)), f"{where}: mask")
    valid = _array(sample.get("valid", np.ones((len(bands), *shape), bool)), f"{where}: valid")
    largest = int(mask.max(initial=0)) if mask.dtype.kind in "iu" else -1
    if mask.shape != shape or not 0 <= largest <= len(classes) or int(mask.min(initial=0)) < 0:
        raise DataError(
            f"{where}: mask is {mask.dtype} of shape {mask.shape}, or leaves 0..{len(classes)}",
            "give integers, 0 meaning unlabelled, one a pixel",
        )
    if valid.dtype != np.bool_ or valid.shape != (len(bands), *shape):
        raise DataError(f"{where}: valid is {valid.dtype} of shape {valid.shape}", _HINT)
    parts = np.split(image.astype(np.float32), np.cumsum(bands)[:-1])
    return Scene(
        {
            entry.name: Modality(
                entry.name,
                np.where(there, values, np.float32(0)),
                entry.channels,
                entry.wavelengths_nm,
                entry.support,
                Scaling() if entry.scaling == "factor" else SATURATING,
                None if bool(there.all()) else there,
            )
            for entry, values, there in zip(layout.modalities, parts, valid, strict=True)
        },
        mask.astype(np.int16),
        classes,
        crs=sample.get("crs"),
        transform=sample.get("transform"),
        group=sample.get("group"),
        name=where,
    )


def _array(value: torch.Tensor | np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """A tensor or an array as an array."""
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.dtype.kind not in "iufb":
        raise DataError(f"{where} is of type {array.dtype}", _HINT)
    return array
