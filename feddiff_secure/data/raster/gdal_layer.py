"""Layers of GeoTIFF and ENVI files, read by GDAL through rasterio (the `geo` extra).

GDAL opens some 150 formats, of which several read other files. Only two of its drivers are used
here, each named; sidecar files are not looked for, except an ENVI header, which
`feddiff_secure.data.raster.envi_header` parses first.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.h5_fields import check_file
from feddiff_secure.data.limits import Limits
from feddiff_secure.data.raster.band_facts import (
    band_names,
    band_scale,
    envi_facts,
    tagged_classes,
    tagged_colours,
    tagged_wavelengths,
)
from feddiff_secure.data.raster.envi_header import (
    EnviHeader,
    check_data_size,
    data_file,
    find_header,
    is_envi_header,
    read_envi_header,
)
from feddiff_secure.data.raster.layer import LayerFacts, check_layer
from feddiff_secure.data.scene import Affine
from feddiff_secure.errors import DataError, UsageError

if TYPE_CHECKING:
    import rasterio

GEOTIFF_SUFFIXES = (".tif", ".tiff")
_SIDECARS = {
    "GTiff": {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"},
    "ENVI": {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_PAM_ENABLED": "NO"},
}


class GdalLayer:
    """A layer that GDAL reads; open until `close`.

    Args:
        path: a GeoTIFF, or the data file or header of an ENVI image.
        limits: bounds on file, sides and bands.

    Raises:
        UsageError: rasterio is not installed.
        DataError: missing, damaged, of another format, or beyond a bound.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._driver = "GTiff" if path.suffix.lower() in GEOTIFF_SUFFIXES else "ENVI"
        header: EnviHeader | None = None
        if self._driver == "ENVI":
            path, header = _envi_pair(path)
            check_data_size(header, path)
        else:
            header = _tiff_header(path)
        check_file(path, limits)
        self._path = path
        with _gdal(path, self._driver) as opener, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing georeference, which is a fact here
            self._file = opener.open(path, driver=self._driver, sharing=False)
        try:
            self.facts = _facts(self._file, path, header)
            check_layer(self.facts, limits)
        except BaseException:
            self.close()
            raise

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The stored values of a window, (h, w, bands).

        Raises:
            DataError: the file is cut short or damaged inside.
        """
        window = ((rows.start, rows.stop), (cols.start, cols.stop))
        with _gdal(self._path, self._driver):
            values = self._file.read(window=window)
        return np.moveaxis(values, 0, -1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def _gdal(path: Path, driver: str) -> Iterator[Any]:
    """rasterio, configured to look for no sidecars; its errors become ours."""
    try:
        import rasterio  # noqa: PLC0415 - optional extra
        from rasterio.errors import RasterioError  # noqa: PLC0415 - optional extra
    except ImportError as error:
        raise UsageError(
            f"{path}: reading GeoTIFF and ENVI needs rasterio, which is not installed",
            "install feddiff-secure[geo]",
        ) from error
    try:
        with rasterio.Env(**_SIDECARS[driver]):
            yield rasterio
    except (RasterioError, OSError, ValueError, MemoryError) as error:
        why = str(error.__cause__ or error).splitlines() or [type(error).__name__]
        raise DataError(
            f"{path}: cannot be read as {driver} ({why[0][:200]})",
            "the file is cut short, damaged, or of another type",
        ) from error


def _envi_pair(path: Path) -> tuple[Path, EnviHeader]:
    """The data file and the header, whichever of the two is named."""
    if path.suffix.lower() == ".hdr":
        return data_file(path), read_envi_header(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file", "check the path")
    header = find_header(path)
    if header is None:
        raise DataError(
            f"{path}: its ENVI header {path.stem}.hdr is missing",
            "put the .hdr beside the data file",
        )
    return path, read_envi_header(header)


def _tiff_header(path: Path) -> EnviHeader | None:
    """The header that ENVI writes beside a TIFF, for its wavelengths; None where there is none.

    Other programs write other files of that suffix, and no TIFF needs one.
    """
    header = find_header(path)
    if header is None or not is_envi_header(header):
        return None
    return read_envi_header(header)


def _facts(file: rasterio.DatasetReader, path: Path, header: EnviHeader | None) -> LayerFacts:
    """What GDAL and a header say."""
    _refuse_masks(file, path)
    if file.driver == "GTiff" and header is not None and not _describes(header, file):
        header = None
    types = set(file.dtypes)
    if len(types) > 1:
        raise DataError(f"{path}: bands are of types {sorted(types)}", "store one type")
    nodata = {repr(value): value for value in file.nodatavals}
    if len(nodata) > 1:
        raise DataError(f"{path}: bands declare nodata {sorted(nodata)}", "declare one value")
    if header is not None and header.text("wavelength") is not None:
        wavelengths, notes = envi_facts(header, file.count)  # GDAL gives them rounded
    else:
        wavelengths, notes = tagged_wavelengths(file, path)
    classes = tagged_classes(file)
    colours = tagged_colours(file)
    palette = 0 if colours is None else len(colours)
    if header is not None:
        classes = header.class_names() or classes
        colours = header.class_colours() or colours
        palette = len(colours) if colours is not None else 0
    return LayerFacts(
        path,
        (int(file.height), int(file.width)),
        int(file.count),
        np.dtype(types.pop()),
        crs=_crs(file),
        transform=_transform(file),
        nodata=file.nodatavals[0],
        channels=band_names(file.descriptions),
        wavelengths_nm=wavelengths,
        scale=band_scale(file, header, path),
        classes=classes,
        colours=colours,
        palette=palette,
        notes=notes,
    )


def _describes(header: EnviHeader, file: rasterio.DatasetReader) -> bool:
    """Whether a header beside a TIFF is of an image of its size, as far as it says."""
    sizes = {"samples": file.width, "lines": file.height, "bands": file.count}
    return all(header.text(key) in (None, str(size)) for key, size in sizes.items())


def _refuse_masks(file: rasterio.DatasetReader, path: Path) -> None:
    """A mask inside the file marks pixels as missing that `nodata` does not: never overlooked."""
    flags = {flag.name for band in file.mask_flag_enums for flag in band}
    if "per_dataset" in flags or "alpha" in flags:
        raise DataError(
            f"{path}: missing pixels are marked by a mask or alpha band, not by nodata",
            "write them as a nodata value: gdal_translate -mask none -a_nodata VALUE",
        )


def _crs(file: rasterio.DatasetReader) -> str | None:
    """An authority code where GDAL knows one, else WKT; None without a CRS on Earth."""
    crs = file.crs
    if not crs or crs.to_wkt().startswith(("LOCAL_CS", "ENGCRS")):
        return None
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt())


def _transform(file: rasterio.DatasetReader) -> Affine | None:
    """Pixel corners to coordinates; None where the file states none."""
    if file.transform.is_identity:
        return None
    # -0.0 and 0.0 mean the same shear.
    a, b, c, d, e, f = (float(value) + 0.0 for value in tuple(file.transform)[:6])
    return a, b, c, d, e, f
