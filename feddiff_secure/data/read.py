"""Reading data by the kind of its path."""

from __future__ import annotations

from pathlib import Path

from feddiff_secure.data.hdf5 import read_hdf5
from feddiff_secure.data.limits import DEFAULT_LIMITS, Limits
from feddiff_secure.data.mat import read_mat
from feddiff_secure.data.raster.array_layers import hdf5_scene_files
from feddiff_secure.data.raster.assembly import open_scene
from feddiff_secure.data.raster.folder import RASTER_SUFFIXES, scene_files
from feddiff_secure.data.raster.manifest import SceneFiles
from feddiff_secure.data.raster.open_layer import HDF5_SUFFIXES, MAT_SUFFIX
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError

SUFFIXES = (*HDF5_SUFFIXES, MAT_SUFFIX, ".toml", *RASTER_SUFFIXES)


def raster_files(path: Path, limits: Limits = DEFAULT_LIMITS) -> SceneFiles | None:
    """The layers of a path that holds one scene which can be read by windows; else None.

    Raises:
        DataError: a manifest or folder that names no scene, or an HDF5 file that cannot be read.
    """
    if path.suffix.lower() in HDF5_SUFFIXES:
        return hdf5_scene_files(path, limits)
    return scene_files(path)


def read_dataset(
    path: Path, limits: Limits = DEFAULT_LIMITS, *, require_labels: bool = True
) -> Dataset:
    """Reads the scenes or the table that a path holds.

    Args:
        path: an HDF5 or MATLAB file (docs/formats/scene.md), or a manifest, folder, GeoTIFF or ENVI
            file (docs/formats/rasters.md).
        limits: bounds checked before anything large is read.
        require_labels: refuse data without labels (predicting needs none).

    Returns:
        The data set in sensor units.

    Raises:
        UsageError: a GeoTIFF or ENVI file, and rasterio is not installed.
        DataError: the data is missing, of another type, or breaks the format.
    """
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        return read_hdf5(path, limits, require_labels=require_labels)
    if suffix == MAT_SUFFIX:
        return read_mat(path, limits, require_labels=require_labels)
    files = scene_files(path)
    if files is not None:
        with open_scene(files, limits) as scene:
            return scene.dataset(require_labels=require_labels)
    if not path.exists():
        raise DataError(f"{path}: no such file", "check the path given with --data")
    raise DataError(
        f"{path}: the suffix {suffix!r} is not one of {', '.join(SUFFIXES)}",
        "convert the data to HDF5 (docs/formats/scene.md)",
    )
