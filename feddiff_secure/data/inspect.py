"""What a data file holds, for `data inspect`.

It shows counts of the owner's own data to the owner: nothing here may travel.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene


def describe(dataset: Dataset, path: Path) -> dict[str, Any]:
    """Describes a data set in JSON-ready values.

    Args:
        dataset: as read from `path`.
        path: the file, for the title only.

    Returns:
        `file`, `kind` (table or rasters), `shape` or `scenes`, `modalities` (channels,
        wavelength range in nm, scale, support, missing pixels and their share, range of values),
        `classes` with
        counts of labelled pixels, `unlabelled`, numbers of `regions`, `groups` and `sites`, `crs`,
        `transform` and `pixel_size` (in CRS units), `ignored` data sets, and `warnings`: what was
        assumed, converted or resampled.
    """
    parts: tuple[Scene | PixelTable, ...] = (
        dataset.scenes if dataset.table is None else (dataset.table,)
    )
    counts = np.zeros(len(dataset.classes) + 1, dtype=np.int64)
    for part in parts:
        counts += np.bincount(part.label.ravel(), minlength=counts.size)
    shapes = sorted({tuple(int(side) for side in part.label.shape) for part in parts})
    named = dict(zip(dataset.classes, counts[1:].tolist(), strict=True))
    return {
        "file": path.name,
        "kind": "table" if dataset.is_table else "rasters",
        "scenes": len(dataset.scenes),
        "shapes": [list(shape) for shape in shapes],
        "modalities": {
            name: _describe_modality([part.modalities[name] for part in parts])
            for name in dataset.layout.names
        },
        "classes": named,
        "unlabelled": int(counts[0]),
        "regions": _distinct([part.region for part in parts]),
        "groups": _distinct([part.group for part in parts]),
        "sites": _sites(parts),
        "crs": dataset.scenes[0].crs if dataset.scenes else None,
        "transform": _transform(dataset),
        "pixel_size": _pixel_size(dataset),
        "positions": dataset.table is not None and dataset.table.row_col is not None,
        "ignored": list(dataset.ignored),
        "warnings": [*dataset.notes, *_warnings(dataset, named)],
    }


def _describe_modality(held: list[Modality]) -> dict[str, Any]:
    layout = held[0].layout
    grid = layout.wavelengths_nm
    missing = sum(int((~m.valid).sum()) for m in held if m.valid is not None)
    return {
        "channels": len(layout.channels),
        "names": list(layout.channels),
        "wavelengths_nm": None if grid is None else [grid[0], grid[-1]],
        "scale": held[0].scaling.describe(),
        "support": layout.support,
        "missing": missing,
        "missing_share": missing / sum(math.prod(m.pixels) for m in held),
        "range": _range(held),
    }


def _transform(dataset: Dataset) -> list[float] | None:
    found = dataset.scenes[0].transform if dataset.scenes else None
    return None if found is None else list(found)


def _pixel_size(dataset: Dataset) -> list[float] | None:
    """Length of a pixel's sides along a row and a column, in CRS units."""
    found = dataset.scenes[0].transform if dataset.scenes else None
    if found is None:
        return None
    a, b, _, d, e, _ = found
    return [math.hypot(a, d), math.hypot(b, e)]


def _range(held: list[Modality]) -> list[float]:
    """Smallest and largest value of the pixels that are there."""
    low, high = np.inf, -np.inf
    for modality in held:
        there = np.ones(modality.pixels, np.bool_) if modality.valid is None else modality.valid
        where = there[None] if modality.values.ndim == 3 else there[:, None]
        low = min(low, float(modality.values.min(where=where, initial=np.inf)))
        high = max(high, float(modality.values.max(where=where, initial=-np.inf)))
    return [low, high]


def _distinct(ids: list[Any]) -> int | None:
    """How many different ids there are, None where none is given."""
    known = [np.unique(value) for value in ids if value is not None]
    return int(np.unique(np.concatenate(known)).size) if known else None


def _sites(parts: tuple[Scene | PixelTable, ...]) -> list[str]:
    names: set[str] = set()
    for part in parts:
        if isinstance(part, PixelTable):
            names |= set() if part.site is None else {str(s) for s in np.unique(part.site)}
        elif part.site is not None:
            names.add(part.site)
    return sorted(names)


def _warnings(dataset: Dataset, named: dict[str, int]) -> list[str]:
    """What an owner should know before training on this."""
    warnings = [f"class {name!r} has no labelled pixel" for name, n in named.items() if n == 0]
    if not sum(named.values()):
        warnings = ["no pixel is labelled: the data can be mapped but not learnt from"]
    for entry in dataset.layout.modalities:
        if entry.support == "neighbourhood":
            warnings.append(
                f"`{entry.name}` values look beyond their pixel: no pixel-level claim is possible"
            )
        if entry.name == "hsi" and entry.wavelengths_nm is None:
            warnings.append("`hsi` has no wavelengths: bands lie on a normalised index grid")
    return warnings
