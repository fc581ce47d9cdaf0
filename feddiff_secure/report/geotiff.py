"""Land-cover maps as GeoTIFF, where the scene says where on Earth it lies.

One band of labels with a colour table, 0 as nodata, and the class names as tags of the band, so
that the file is read back as labels with names (docs/formats/rasters.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.scene import Affine
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.report.palette import map_colours

MAX_COLOURED = 255  # TIFF colour tables index one byte


class MapGeotiff:
    """A GeoTIFF that is being written, by windows.

    Attributes:
        path: what it becomes when complete.
    """

    def __init__(self, path: Path, file: Any, dtype: type[np.unsignedinteger[Any]]) -> None:
        self.path, self._file, self._dtype = path, file, dtype

    def write(self, row: int, col: int, labels: NDArray[Any]) -> None:
        """The labels (h, w) of a window whose upper left pixel is given."""
        height, width = labels.shape
        window = ((row, row + height), (col, col + width))
        self._file.write(labels.astype(self._dtype), 1, window=window)


@contextmanager
def open_map_geotiff(
    path: Path,
    shape: tuple[int, int],
    classes: Sequence[str],
    crs: str,
    transform: Affine | None,
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> Iterator[MapGeotiff]:
    """A map to write by windows; the file appears only when all went well.

    Args:
        path: the TIFF to write.
        shape: (H, W).
        classes: the class names, stored as tags `class_1`, `class_2`, … of the band.
        crs: authority code or WKT.
        transform: pixel to CRS, (a, b, c, d, e, f), or None for a map without a position.
        colours: RGB 0..255 of each class; None for the palette.

    Raises:
        UsageError: the `geo` extra is not installed.
        DataError: the CRS is not one that GDAL knows, or the file cannot be written.
    """
    try:
        import rasterio  # noqa: PLC0415 - optional extra
        from rasterio.errors import CRSError, RasterioError  # noqa: PLC0415 - optional extra
    except ImportError as error:
        raise UsageError(
            "writing GeoTIFF needs rasterio, which is not installed",
            "install feddiff-secure[geo]",
        ) from error
    dtype: type[np.unsignedinteger[Any]] = np.uint8 if len(classes) <= MAX_COLOURED else np.uint16
    partial = path.with_name(path.name + ".partial")
    try:
        with rasterio.open(
            partial,
            "w",
            driver="GTiff",
            height=shape[0],
            width=shape[1],
            count=1,
            dtype=np.dtype(dtype).name,
            crs=rasterio.crs.CRS.from_user_input(crs),
            transform=None if transform is None else rasterio.Affine(*transform),
            nodata=0,
            compress="deflate",
            tiled=True,
            bigtiff="if_safer",
        ) as file:
            if dtype is np.uint8:
                rows = map_colours(len(classes), colours).tolist()
                table = {label: (*rgb, 255) for label, rgb in enumerate(rows)}
                file.write_colormap(1, {**table, 0: (0, 0, 0, 0)})
            file.update_tags(1, **{f"class_{n}": name for n, name in enumerate(classes, start=1)})
            yield MapGeotiff(path, file, dtype)
        partial.replace(path)
    except CRSError as error:
        raise DataError(f"crs {crs[:80]!r} is not known", "use EPSG:… or WKT") from error
    except (RasterioError, OSError) as error:
        raise DataError(f"{path}: cannot be written ({error})", "check the folder") from error
    finally:
        partial.unlink(missing_ok=True)


def write_map_geotiff(
    path: Path,
    label_map: NDArray[Any],
    classes: Sequence[str],
    crs: str,
    transform: Affine | None,
    *,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> None:
    """Writes one band of labels (H, W), 0 = nothing predicted, at once (`open_map_geotiff`).

    Raises:
        UsageError: the `geo` extra is not installed.
        DataError: the CRS is not one that GDAL knows, or the file cannot be written.
    """
    shape = (label_map.shape[0], label_map.shape[1])
    with open_map_geotiff(path, shape, classes, crs, transform, colours=colours) as file:
        file.write(0, 0, label_map)
