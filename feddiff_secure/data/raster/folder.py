"""Which layers a path names: a manifest, a folder, or a single raster."""

from __future__ import annotations

from pathlib import Path

from feddiff_secure.data.raster.gdal_layer import GEOTIFF_SUFFIXES
from feddiff_secure.data.raster.known_trees import known_tree
from feddiff_secure.data.raster.layer import FieldName
from feddiff_secure.data.raster.manifest import (
    MANIFEST_NAME,
    MANIFEST_SUFFIX,
    LayerSource,
    SceneFiles,
    read_manifest,
)
from feddiff_secure.data.raster.open_layer import (
    ENVI_SUFFIXES,
    HDF5_SUFFIXES,
    MAT_SUFFIX,
    ROI_SUFFIXES,
)
from feddiff_secure.errors import DataError

STEMS: dict[FieldName, tuple[str, ...]] = {
    "hsi": ("hsi",),
    "lidar": ("lidar", "dsm"),
    "labels": ("labels", "label", "gt"),
}
RASTER_SUFFIXES = (*GEOTIFF_SUFFIXES, *ENVI_SUFFIXES)
MAX_ENTRIES = 10_000  # of a folder


def scene_files(path: Path) -> SceneFiles | None:
    """The layers that a path names; None where it is no manifest, folder or raster.

    Raises:
        DataError: a manifest or folder that does not name a scene.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return _folder(path)
    if suffix == MANIFEST_SUFFIX:
        return read_manifest(path)
    if suffix in RASTER_SUFFIXES:
        return layers_of(hsi=path)
    return None


def layers_of(
    *, hsi: Path | None = None, lidar: Path | None = None, labels: Path | None = None
) -> SceneFiles:
    """A scene of single files, named after the first of them.

    Raises:
        ValueError: neither HSI nor LiDAR is given.
    """
    named: tuple[tuple[FieldName, Path | None], ...]
    named = (("hsi", hsi), ("lidar", lidar), ("labels", labels))
    layers = {field: LayerSource(file=path) for field, path in named if path is not None}
    first = hsi or lidar
    if first is None:
        raise ValueError("neither HSI nor LiDAR is given")
    return SceneFiles(path=first, layers=layers, grid="lidar" if hsi is None else "hsi")


def _folder(path: Path) -> SceneFiles:
    """`scene.toml`, or a known benchmark, or the files named `hsi`, `lidar` (`dsm`), `labels`."""
    if (path / MANIFEST_NAME).is_file():
        return read_manifest(path / MANIFEST_NAME)
    known = known_tree(path)
    if known is not None:
        return known
    names = sorted(entry for entry in path.iterdir() if entry.is_file())[: MAX_ENTRIES + 1]
    if len(names) > MAX_ENTRIES:
        raise DataError(f"{path}: more than {MAX_ENTRIES} files", f"write a {MANIFEST_NAME}")
    layers: dict[FieldName, LayerSource] = {}
    for field, stems in STEMS.items():
        suffixes: tuple[str, ...] = (*RASTER_SUFFIXES, *HDF5_SUFFIXES, MAT_SUFFIX)
        suffixes += ROI_SUFFIXES if field == "labels" else ()
        found = [
            entry
            for entry in names
            if entry.stem.lower() in stems and entry.suffix.lower() in suffixes
        ]
        data = [entry for entry in found if entry.suffix.lower() != ".hdr"]
        if len(data) > 1:
            raise DataError(
                f"{path}: {' and '.join(entry.name for entry in data[:3])} could all be {field}",
                f"keep one, or write a {MANIFEST_NAME}",
            )
        if found:
            layers[field] = LayerSource(file=(data or found)[0])
    if not {"hsi", "lidar"} & set(layers):
        raise DataError(
            f"{path}: holds neither a {MANIFEST_NAME} nor files named hsi.* or lidar.*",
            "see docs/formats/rasters.md",
        )
    return SceneFiles(path=path, layers=layers, grid="hsi" if "hsi" in layers else "lidar")
