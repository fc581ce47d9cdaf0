"""Opening the layer that a source names, by the kind of its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from feddiff_secure.data.checks import check_wavelengths
from feddiff_secure.data.limits import Limits
from feddiff_secure.data.raster.array_layers import Hdf5Layer, mat_layer
from feddiff_secure.data.raster.envi_header import DATA_SUFFIXES, find_header
from feddiff_secure.data.raster.gdal_layer import GEOTIFF_SUFFIXES, GdalLayer
from feddiff_secure.data.raster.layer import ArrayLayer, FieldName, Layer, LayerFacts, check_layer
from feddiff_secure.data.raster.manifest import LayerSource
from feddiff_secure.data.raster.wavelength_units import in_nanometres
from feddiff_secure.data.roi_text import read_roi_text
from feddiff_secure.errors import DataError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
MAT_SUFFIX = ".mat"
ROI_SUFFIXES = (".txt", ".roi")
ENVI_SUFFIXES = (".hdr", *DATA_SUFFIXES[1:])


def open_layer(source: LayerSource, field: FieldName, limits: Limits) -> Layer:
    """Opens a layer by its file's suffix; any other file is ENVI if a header lies beside it.

    Raises:
        UsageError: a GeoTIFF or ENVI file, and rasterio is not installed.
        DataError: missing, damaged, of an unknown kind, or beyond a bound.
    """
    path, suffix = source.file, source.file.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file", f"check the path of {field}")
    is_array = suffix in HDF5_SUFFIXES or suffix == MAT_SUFFIX
    if source.dataset is not None and not is_array:
        raise DataError(f"{path}: `dataset` is for HDF5 and MATLAB files", "remove it")
    if suffix in HDF5_SUFFIXES:
        return Hdf5Layer(path, field, source.dataset, limits)
    if suffix == MAT_SUFFIX:
        return mat_layer(path, field, source.dataset, limits)
    if suffix in ROI_SUFFIXES and field == "labels":
        return _roi_layer(path, limits)
    if suffix in GEOTIFF_SUFFIXES or suffix in ENVI_SUFFIXES or find_header(path) is not None:
        return GdalLayer(path, limits)
    raise DataError(
        f"{path}: {field} of suffix {suffix!r} is no GeoTIFF, ENVI, HDF5 or MATLAB file"
        + (" and no ROI text" if field == "labels" else ""),
        "convert it: gdal_translate -of GTiff, say",
    )


def with_overrides(facts: LayerFacts, source: LayerSource) -> LayerFacts:
    """The facts of a file, where the source does not say otherwise.

    Raises:
        DataError: wavelengths that are not one a band, increasing, or of no unit.
    """
    changed: dict[str, Any] = {}
    for name in ("nodata", "scale", "support", "channels"):
        value = getattr(source, name)
        if value is not None:
            changed[name] = value
    if source.wavelengths is not None:
        where = f"{facts.path}: wavelengths"
        found, note = in_nanometres(source.wavelengths, source.wavelength_units, where)
        check_wavelengths(found, facts.bands, where)
        changed |= {"wavelengths_nm": found, "notes": () if note is None else (note,)}
    return replace(facts, **changed)


def _roi_layer(path: Path, limits: Limits) -> ArrayLayer:
    found = read_roi_text(path, limits)
    height, width = found.label.shape
    notes = () if not found.ambiguous else (f"{found.ambiguous} pixels lie in several ROIs: 0",)
    facts = LayerFacts(
        path,
        (height, width),
        1,
        found.label.dtype,
        classes=found.classes,
        colours=found.colours,
        notes=notes,
    )
    check_layer(facts, limits)
    return ArrayLayer(facts, found.label[..., None])
