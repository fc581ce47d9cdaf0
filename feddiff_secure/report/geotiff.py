"""Land-cover maps as GeoTIFF, where the scene says where on Earth it lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.scene import Affine
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.report.palette import class_colours

MAX_COLOURED = 255  # TIFF colour tables index one byte


def write_map_geotiff(
    path: Path,
    label_map: NDArray[Any],
    classes: Sequence[str],
    crs: str,
    transform: Affine | None,
) -> None:
    """Writes one band of labels with a colour table; 0 is nodata.

    Args:
        path: the TIFF to write; it appears only when complete.
        label_map: integers (H, W), 0 = nothing predicted.
        classes: the class names, stored as tags `class_1`, `class_2`, …
        crs: authority code or WKT.
        transform: pixel to CRS, (a, b, c, d, e, f), or None for a map without a position.

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
    dtype = np.uint8 if len(classes) <= MAX_COLOURED else np.uint16
    partial = path.with_name(path.name + ".partial")
    try:
        with rasterio.open(
            partial,
            "w",
            driver="GTiff",
            height=label_map.shape[0],
            width=label_map.shape[1],
            count=1,
            dtype=np.dtype(dtype).name,
            crs=rasterio.crs.CRS.from_user_input(crs),
            transform=None if transform is None else rasterio.Affine(*transform),
            nodata=0,
            compress="deflate",
        ) as file:
            file.write(label_map.astype(dtype), 1)
            if dtype is np.uint8:
                colours = class_colours(len(classes)).tolist()
                table = {label: (*rgb, 255) for label, rgb in enumerate(colours)}
                file.write_colormap(1, {**table, 0: (0, 0, 0, 0)})
            file.update_tags(**{f"class_{n}": name for n, name in enumerate(classes, start=1)})
        partial.replace(path)
    except CRSError as error:
        raise DataError(f"crs {crs[:80]!r} is not known", "use EPSG:… or WKT") from error
    except (RasterioError, OSError) as error:
        raise DataError(f"{path}: cannot be written ({error})", "check the folder") from error
    finally:
        partial.unlink(missing_ok=True)
