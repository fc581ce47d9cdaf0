"""`map.png`, and `map.tif` where a scene has a CRS: the land cover that a model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.scene import Dataset
from feddiff_secure.federation.run import RunResult
from feddiff_secure.report.geotiff import write_map_geotiff
from feddiff_secure.report.landcover_map import LandcoverMap, write_map_png, write_table_png

Maps = list[NDArray[np.int16]]


def _has_rasterio() -> bool:
    try:
        import rasterio  # noqa: F401, PLC0415 - optional extra
    except ImportError:
        return False
    return True


def write_run_maps(result: RunResult, directory: Path) -> None:
    """Draw the map of a run's data beside its reference, test pixels strong, others pale."""
    prepared = result.prepared
    tested: list[NDArray[np.bool_]] | None = None
    if prepared.test_is_part:
        inside = [np.ones(block.label.shape, dtype=np.bool_) for block in prepared.test]
        tested = prepared.test.paint(inside, np.bool_(False))
    target = f"epsilon {result.plan.epsilon:g}" if result.plan.epsilon else "no privacy"
    title = f"{target}, {len(prepared.names)} owners, {result.plan.aggregation}"
    draw(directory / "map.png", prepared.dataset, result.maps, tested=tested, title=title)
    write_tif(directory / "map.tif", prepared.dataset, result.maps)


def draw(
    path: Path,
    dataset: Dataset,
    maps: Maps,
    *,
    classes: tuple[str, ...] | None = None,
    tested: list[NDArray[np.bool_]] | None = None,
    title: str = "",
) -> None:
    """Write the PNG of a data set's predicted labels.

    Args:
        path: the PNG.
        dataset: where positions and reference labels come from.
        maps: predicted labels, one array a scene or one for a table.
        classes: the model's; None for those of the data. Reference labels are drawn only if theirs
            are the same.
        tested: the pixels kept for testing, in the same form.
        title: a line above the picture.
    """
    classes = classes or dataset.classes
    same = classes == dataset.classes
    if dataset.table is not None:
        table = dataset.table
        write_table_png(
            path,
            maps[0],
            classes,
            row_col=table.row_col,
            reference=table.label if same and table.label.any() else None,
            tested=tested[0] if tested else None,
            title=title,
            colours=dataset.colours if same else None,
        )
        return
    entries = [
        LandcoverMap(
            predicted=found,
            reference=scene.label if same and scene.label.any() else None,
            tested=tested[i] if tested else None,
            name=scene.name,
        )
        for i, (scene, found) in enumerate(zip(dataset.scenes, maps, strict=True))
    ]
    colours = dataset.colours if same else None
    write_map_png(path, entries, classes, title=title, colours=colours)


def write_tif(
    path: Path,
    dataset: Dataset,
    maps: Maps,
    classes: tuple[str, ...] | None = None,
    *,
    asked: bool = False,
) -> bool:
    """Write a GeoTIFF if the data is one scene with a CRS; returns whether it was written.

    Args:
        path: the TIFF.
        dataset: where the place and the class colours come from.
        maps: predicted labels, one array a scene.
        classes: the model's; None for those of the data.
        asked: whether somebody asked for this file: then a missing `geo` extra is an error. A run
            that is through does without its `map.tif`.

    Raises:
        UsageError: `asked`, and rasterio is not installed.
        DataError: the CRS is not one that GDAL knows, or the file cannot be written.
    """
    if len(dataset.scenes) != 1 or dataset.scenes[0].crs is None:
        return False
    if not asked and not _has_rasterio():
        return False
    scene = dataset.scenes[0]
    assert scene.crs is not None
    names = classes or dataset.classes
    colours = dataset.colours if names == dataset.classes else None
    write_map_geotiff(path, maps[0], names, scene.crs, scene.transform, colours=colours)
    return True
