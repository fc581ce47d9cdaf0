"""Writing the HDF5 layout of docs/formats/scene.md.

Values are written in sensor units with `scale` 1, so that reading gives back what was written,
bit for bit; missing pixels as NaN, declared by `nodata`. The file is written beside its place,
read back, and only then renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.hdf5 import read_hdf5
from feddiff_secure.data.scene import Dataset, Modality, PixelTable, Scene
from feddiff_secure.errors import DataError


def write_scene(path: Path, dataset: Dataset) -> None:
    """Writes scenes or a table; an existing file is replaced only by a complete one.

    Args:
        path: where to; its folder must exist.
        dataset: scenes of one size (several become one stack), or a table.

    Raises:
        DataError: scenes differ in size or in which fields they have, a stack has a CRS, a
            modality went through the saturating map (its raw values are gone), or the file
            cannot be written.
    """
    for entry in dataset.layout.modalities:
        if entry.scaling == "saturating":
            raise DataError(
                f"{path}: {entry.name} has unknown units and cannot be written back",
                "state a `scale` when importing it",
            )
    fields, attributes = (
        _scene_fields(dataset.scenes, path)
        if dataset.table is None
        else (_table_fields(dataset.table), {})
    )
    modalities = (dataset.table or dataset.scenes[0]).modalities
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            for name, values in fields.items():
                file.create_dataset(name, data=values)
            for name, value in {"classes": list(dataset.classes), **attributes}.items():
                file.attrs[name] = value
            if dataset.colours is not None:
                file.attrs["class_colours"] = np.array(dataset.colours, dtype=np.uint8)
            for name, modality in modalities.items():
                _write_attributes(file[name], modality)
                if np.isnan(fields[name]).any():
                    file[name].attrs["nodata"] = np.nan
        read_hdf5(partial)
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})", "check the folder") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_attributes(dataset: h5py.Dataset, modality: Modality) -> None:
    dataset.attrs["scale"] = 1.0
    dataset.attrs["support"] = modality.support
    dataset.attrs["channels"] = list(modality.channels)
    if modality.wavelengths_nm is not None:
        dataset.attrs["wavelengths_nm"] = np.asarray(modality.wavelengths_nm, dtype=np.float64)


def _stored(modality: Modality) -> NDArray[np.float32]:
    """The values, NaN where the sensor has none."""
    if modality.valid is None:
        return modality.values
    there = modality.valid[None] if modality.values.ndim == 3 else modality.valid[:, None]
    return np.where(there, modality.values, np.float32(np.nan))


def _table_fields(table: PixelTable) -> dict[str, Any]:
    fields: dict[str, Any] = {name: _stored(held) for name, held in table.modalities.items()}
    fields["label"] = table.label
    fields["site"] = None if table.site is None else _strings(table.site.tolist())
    fields |= {"region": table.region, "group": table.group, "row_col": table.row_col}
    return {name: values for name, values in fields.items() if values is not None}


def _scene_fields(scenes: tuple[Scene, ...], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data sets and root attributes of rasters."""
    held = {_held(scene) for scene in scenes}
    if len(held) > 1 or (len(scenes) > 1 and any(s.crs or s.transform for s in scenes)):
        raise DataError(
            f"{path}: scenes of different sizes or fields, or with a CRS, cannot share one file",
            "write each scene to its own file",
        )
    first = scenes[0]
    fields: dict[str, Any] = {
        name: _stack([np.moveaxis(_stored(scene.modalities[name]), 0, -1) for scene in scenes])
        for name in first.modalities
    }
    fields["label"] = _stack([scene.label for scene in scenes])
    if first.region is not None:
        fields["region"] = _stack([scene.region for scene in scenes if scene.region is not None])
    if first.group is not None:
        fields["group"] = np.array([scene.group for scene in scenes], dtype=np.int32)
    if first.site is not None:
        fields["site"] = _strings([scene.site or "" for scene in scenes])
    attributes: Mapping[str, Any] = {"crs": first.crs, "transform": first.transform}
    return fields, {name: value for name, value in attributes.items() if value is not None}


def _held(scene: Scene) -> tuple[object, ...]:
    """Size and optional fields: what scenes of one file must have in common."""
    return scene.shape, scene.region is None, scene.group is None, scene.site is None


def _stack(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """(P, …), or the array itself where there is one scene."""
    return np.stack(parts) if len(parts) > 1 else parts[0]


def _strings(names: list[str]) -> NDArray[Any]:
    """Names as an array that h5py stores as UTF-8 strings."""
    return np.array(names, dtype=h5py.string_dtype("utf-8"))
