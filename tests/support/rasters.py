"""One small scene written in every format that is read (needs the `geo` extra)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import scipy.io
from numpy.typing import NDArray
from rasterio.transform import Affine

CLASSES = ("grass", "trees", "road")
COLOURS = ((10, 200, 30), (0, 90, 0), (120, 120, 120))
WAVELENGTHS = (450.0, 550.5, 650.0, 750.0, 850.0)
CRS = "EPSG:32617"
TRANSFORM = (2.5, 0.0, 400000.0, 0.0, -2.5, 3000000.0)
HEIGHT, WIDTH = 21, 34


@dataclass(frozen=True)
class Arrays:
    """A scene as stored: int16 reflectance × 10,000, heights with a nodata value, classes."""

    hsi: NDArray[np.int16]
    lidar: NDArray[np.float32]
    label: NDArray[np.uint8]


NODATA = -9999.0


def arrays(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    lidar = (30 * rng.random((height, width, 2))).astype(np.float32)
    lidar[rng.random((height, width)) < 0.05] = NODATA
    return Arrays(
        rng.integers(0, 10_000, (height, width, 5)).astype(np.int16),
        lidar,
        rng.integers(0, 4, (height, width)).astype(np.uint8),
    )


def write_raster(path: Path, values: NDArray[Any], **profile: Any) -> Path:
    """(H, W) or (H, W, bands) by rasterio: GeoTIFF or, by any other suffix, ENVI."""
    cube = values if values.ndim == 3 else values[..., None]
    place: dict[str, Any] = {"crs": CRS, "transform": TRANSFORM, **profile}
    if place["transform"] is None:
        del place["transform"]
    else:
        place["transform"] = Affine(*place["transform"])
    with rasterio.open(
        path,
        "w",
        driver="GTiff" if path.suffix == ".tif" else "ENVI",
        height=cube.shape[0],
        width=cube.shape[1],
        count=cube.shape[2],
        dtype=cube.dtype.name,
        **place,
    ) as file:
        file.write(np.moveaxis(cube, -1, 0))
    return path


def as_geotiff(folder: Path, scene: Arrays, **profile: Any) -> Path:
    """GeoTIFFs with wavelengths, colours and class names in their tags, and a manifest."""
    write_raster(folder / "hsi.tif", scene.hsi, **profile)
    write_raster(folder / "lidar.tif", scene.lidar, nodata=NODATA, **profile)
    write_raster(folder / "labels.tif", scene.label, **profile)
    with rasterio.open(folder / "hsi.tif", "r+") as file:
        for band, wavelength in enumerate(WAVELENGTHS, start=1):
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{wavelength / 1000:.6f}")
    with rasterio.open(folder / "labels.tif", "r+") as file:
        file.write_colormap(1, {n + 1: (*rgb, 255) for n, rgb in enumerate(COLOURS)})
        file.update_tags(1, **{f"class_{n}": name for n, name in enumerate(CLASSES, start=1)})
    return manifest(folder, ".tif")


def as_envi(folder: Path, scene: Arrays, interleave: str = "bsq", unit: str = "Nanometers") -> Path:
    """ENVI images whose headers have wavelengths and class names, and a manifest."""
    factor = 1.0 if unit.lower().startswith("n") else 1e-3
    write_raster(folder / "hsi.img", scene.hsi, interleave=interleave)
    write_raster(folder / "lidar.img", scene.lidar, interleave=interleave, nodata=NODATA)
    write_raster(folder / "labels.img", scene.label)
    centres = ", ".join(f"{wavelength * factor:.6f}" for wavelength in WAVELENGTHS)
    with (folder / "hsi.hdr").open("a") as header:
        header.write(f"wavelength units = {unit}\nwavelength = {{\n {centres}}}\n")
    lookup = ", ".join(str(part) for rgb in ((0, 0, 0), *COLOURS) for part in rgb)
    with (folder / "labels.hdr").open("a") as header:
        header.write(f"classes = 4\nclass lookup = {{{lookup}}}\n")
        header.write(f"class names = {{Unclassified, {', '.join(CLASSES)}}}\n")
    return manifest(folder, ".img")


def as_mat5(path: Path, scene: Arrays) -> Path:
    scipy.io.savemat(path, _variables(scene))
    return path


def as_mat73(path: Path, scene: Arrays) -> Path:
    """As MATLAB does: HDF5 with reversed axes behind a 512-byte header."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in _variables(scene).items():
            file[name] = np.atleast_2d(values).T
    return path


def as_hdf5(path: Path, scene: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        file["hsi"], file["lidar"], file["label"] = scene.hsi, scene.lidar, scene.label
        file["hsi"].attrs["wavelengths_nm"] = WAVELENGTHS
        file["lidar"].attrs["nodata"] = NODATA
        file.attrs["classes"] = CLASSES
        file.attrs["crs"], file.attrs["transform"] = CRS, TRANSFORM
    return path


def manifest(folder: Path, suffix: str, more: str = "") -> Path:
    path = folder / "scene.toml"
    lines = [f'{field} = "{field}{suffix}"' for field in ("hsi", "lidar", "labels")]
    path.write_text("\n".join(lines) + "\n" + more, encoding="utf-8")
    return path


def _variables(scene: Arrays) -> dict[str, Any]:
    return {
        "hsi": scene.hsi,
        "lidar": scene.lidar,
        "gt": scene.label,
        "wavelengths": np.array(WAVELENGTHS),
        "nodata_lidar": NODATA,
    }
