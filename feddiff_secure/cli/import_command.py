"""`feddiff-secure data import`: an owner's HDF5 file from rasters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feddiff_secure.cli.console import print_json, print_tree
from feddiff_secure.errors import DataError, UsageError

if TYPE_CHECKING:
    from feddiff_secure.data.raster.manifest import SceneFiles

_GRIDS = ("hsi", "lidar", "labels")


def import_data(  # noqa: PLR0917  # one parameter an option, given by name
    out: Annotated[Path, typer.Option(help="HDF5 file to make, new.")],
    scene: Annotated[
        Path | None, typer.Argument(help="Manifest (.toml) or folder, in place of the options.")
    ] = None,
    hsi: Annotated[Path | None, typer.Option(help="GeoTIFF, ENVI, .mat or .h5.")] = None,
    lidar: Annotated[Path | None, typer.Option(help="The same, of the LiDAR.")] = None,
    labels: Annotated[Path | None, typer.Option(help="The same, or ENVI's ROI text.")] = None,
    classes: Annotated[Path | None, typer.Option(help="Text file: one class name a line.")] = None,
    grid: Annotated[
        str | None, typer.Option(help="Whose pixels: hsi, lidar or labels. Default: hsi.")
    ] = None,
    hsi_scale: Annotated[float | None, typer.Option(help="Factor to reflectance.")] = None,
    lidar_scale: Annotated[float | None, typer.Option(help="Factor to about 0..1.")] = None,
    site: Annotated[str | None, typer.Option(help="Name of the place or organisation.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Make one HDF5 file from the rasters of a scene.

    Examples:

      feddiff-secure data import --hsi hsi.img --lidar dsm.tif --labels gt.tif --out owner.h5

      feddiff-secure data import scene.toml --out owner.h5
    """
    from feddiff_secure.data.import_scene import import_scene, read_class_names  # noqa: PLC0415
    from feddiff_secure.data.inspect import describe  # noqa: PLC0415  # reads with h5py

    if grid is not None and grid not in _GRIDS:
        raise UsageError(f"grid is {grid!r}", f"use one of: {', '.join(_GRIDS)}")
    files = _named(scene) if scene is not None else _given(hsi, lidar, labels)
    if scene is not None and any((hsi, lidar, labels)):
        raise UsageError("a scene and single layers were given", "give one or the other")
    for field, scale in (("hsi", hsi_scale), ("lidar", lidar_scale)):
        if scale is not None:
            files = _scaled(files, field, scale)
    files = replace(
        files,
        grid=next((field for field in files.layers if field == grid), files.grid),
        classes=files.classes if classes is None else read_class_names(classes),
        site=files.site if site is None else site,
    )
    if grid is not None and files.grid != grid:
        raise UsageError(f"grid is {grid!r}, which the scene does not hold", "name a layer it has")
    described = describe(import_scene(files, out), out)
    if as_json:
        print_json(described)
    else:
        print_tree(described)


def _named(scene: Path) -> SceneFiles:
    from feddiff_secure.data.raster.folder import scene_files  # noqa: PLC0415  # reads with h5py

    files = scene_files(scene)
    if files is None:
        what = "no manifest, folder or raster" if scene.exists() else "no such file or folder"
        raise DataError(f"{scene}: {what}", "give a scene.toml, a folder, or --hsi and --lidar")
    return files


def _given(hsi: Path | None, lidar: Path | None, labels: Path | None) -> SceneFiles:
    from feddiff_secure.data.raster.folder import layers_of  # noqa: PLC0415  # reads with h5py

    if hsi is None and lidar is None:
        raise UsageError("neither a scene, --hsi nor --lidar was given", "name the rasters")
    return layers_of(hsi=hsi, lidar=lidar, labels=labels)


def _scaled(files: SceneFiles, field: str, scale: float) -> SceneFiles:
    if not 0 < scale < float("inf"):
        raise UsageError(f"{field}-scale is {scale}", "give a positive number")
    held = {name: source for name, source in files.layers.items() if name == field}
    if not held:
        raise UsageError(f"{field}-scale: the scene has no {field}", "leave it out")
    changed = {name: replace(source, scale=(scale,)) for name, source in held.items()}
    return replace(files, layers={**files.layers, **changed})
