"""A quick look at a scene: true colour, elevation and labels side by side.

It shows private ground to its owner, stretched by the ground's own percentiles, and stays there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from feddiff_secure.data.scene import Dataset, Modality, Scene
from feddiff_secure.errors import UsageError
from feddiff_secure.report.landcover_map import Image, plain_text, save_figure
from feddiff_secure.report.palette import map_colours

TRUE_COLOUR_NM = (640.0, 550.0, 465.0)  # middle of red, green and blue light
NEAR_NM = 40.0  # a band further off shows another colour
STRETCH = (2.0, 98.0)  # percentiles
MISSING = 235  # grey of a pixel without a value
MOST_PIXELS = 1200  # a side; larger scenes are thinned
MOST_NAMES = 30  # classes in the legend
PANEL_INCHES = 4.5

Floats = NDArray[np.float64]


def write_scene_picture(path: Path, dataset: Dataset) -> None:
    """Draws the first scene of a data set.

    Args:
        path: the PNG to write; it appears only when complete.
        dataset: rasters.

    Raises:
        UsageError: the data is a table.
    """
    if dataset.table is not None:
        raise UsageError("picture: a table of pixels has none", "leave out --picture")
    scene = dataset.scenes[0]
    table = map_colours(len(dataset.classes), dataset.colours)
    step = max(1, -(-max(scene.shape) // MOST_PIXELS))
    panels = _panels(scene, table, step)
    tall = scene.shape[0] / scene.shape[1]
    height = min(max(PANEL_INCHES * tall, 1.5), 3 * PANEL_INCHES)
    wide = tall < 0.5  # then panels go one above the other
    rows, columns = (len(panels), 1) if wide else (1, len(panels))
    size = (columns * PANEL_INCHES * (2 if wide else 1) + 2.2, rows * height * (2 if wide else 1))
    figure = Figure(figsize=(size[0], max(size[1] + 0.8, 2.5)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, (title, image) in zip(axes, panels, strict=True):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(plain_text(title), fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    entries = [
        Patch(facecolor=rgb, edgecolor="black", linewidth=0.3, label=plain_text(name))
        for name, rgb in zip(dataset.classes[:MOST_NAMES], (table[1:] / 255).tolist(), strict=False)
    ]
    if entries and scene.label.any():
        figure.legend(handles=entries, loc="outside right upper", fontsize=7)
    more = f", 1 of {len(dataset.scenes)} scenes" if len(dataset.scenes) > 1 else ""
    figure.suptitle(plain_text(f"{scene.name}{more}"), fontsize=10)
    save_figure(figure, path)


def colour_bands(modality: Modality) -> tuple[tuple[int, int, int], bool]:
    """The bands shown as red, green and blue, and whether they are the true colours."""
    bands = len(modality.channels)
    grid = modality.wavelengths_nm
    if grid is not None:
        away = np.abs(np.asarray(grid)[None] - np.asarray(TRUE_COLOUR_NM)[:, None])
        if (away.min(axis=1) <= NEAR_NM).all():
            red, green, blue = (int(band) for band in away.argmin(axis=1))
            return (red, green, blue), True
    return ((bands * 3) // 4 if bands > 3 else bands - 1, bands // 2, bands // 4), False


def _panels(scene: Scene, table: Image, step: int) -> list[tuple[str, Image]]:
    """Title and RGB of each part that the scene has."""
    found: list[tuple[str, Image]] = []
    for name, modality in scene.modalities.items():
        there = np.ones(scene.shape, bool) if modality.valid is None else modality.valid
        there = there[::step, ::step]
        if name == "hsi":
            bands, true = colour_bands(modality)
            shown = modality.values[list(bands), ::step, ::step]
            numbers = ", ".join(str(band + 1) for band in bands)
            title = f"{'true' if true else 'false'} colour (bands {numbers})"
        else:
            shown = np.repeat(modality.values[:1, ::step, ::step], 3, axis=0)
            title = f"LiDAR: {modality.channels[0]}"
        found.append((title, _stretched(shown.astype(np.float64), there)))
    if scene.label.any():
        found.append(("labels", table[scene.label[::step, ::step]]))
    return found


def _stretched(values: Floats, there: NDArray[np.bool_]) -> Image:
    """(3, H, W) to RGB (H, W, 3), between two percentiles of all three: hues stay as they are."""
    image = np.full((*there.shape, 3), MISSING, dtype=np.uint8)
    if there.any():
        pixels = values[:, there].T
        low, high = np.percentile(pixels, STRETCH)
        scaled = np.clip((pixels - low) / max(high - low, 1e-12), 0.0, 1.0)
        image[there] = np.rint(255 * scaled).astype(np.uint8)
    return image
