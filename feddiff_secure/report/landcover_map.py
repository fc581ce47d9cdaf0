"""Land-cover maps as PNG: what was predicted, beside the reference where there is one.

Pictures show private ground and stay with its owner. Equal inputs give equal files: colours are
fixed, nothing depends on the screen, and no time or program version is written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from feddiff_secure.report.palette import map_colours

DPI = 120
MAX_MOSAIC = 144  # scenes shown; more would be too small to read
GAP = 2  # pixels between the scenes of a mosaic
PALE = 0.35  # strength of training pixels in the reference
PANEL_INCHES = 6.0  # longer side of one panel
MAX_LEGEND_ROWS = 20

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class LandcoverMap:
    """One map to draw.

    Attributes:
        predicted: integers (H, W), 0 = nothing predicted, k = class k.
        reference: integers (H, W), 0 = unlabelled, or None.
        tested: bool (H, W), the labelled pixels that were kept for testing, or None; the other
            reference pixels are drawn pale.
        name: caption within a mosaic.
    """

    predicted: NDArray[Any]
    reference: NDArray[Any] | None = None
    tested: NDArray[np.bool_] | None = None
    name: str = ""


def write_map_png(
    path: Path,
    maps: Sequence[LandcoverMap],
    classes: Sequence[str],
    *,
    title: str = "",
    colours: Sequence[Colour] | None = None,
) -> None:
    """Draws one map, or a mosaic of several, with a legend.

    Args:
        path: the PNG to write.
        maps: at least one; a mosaic shows the first 144.
        classes: the class names, in the order of the labels.
        title: a line above the picture.
        colours: RGB 0..255 of each class; None for the palette.

    Raises:
        ValueError: there is no map, or shapes or numbers of classes disagree.
    """
    if not maps:
        raise ValueError("no map to draw")
    shown = maps[:MAX_MOSAIC]
    table = map_colours(len(classes), colours)
    tiles = [table[entry.predicted] for entry in shown]
    panels = [("predicted", tiles)]
    if any(entry.reference is not None for entry in shown):
        panels.append((_reference_title(shown), [reference_image(m, table) for m in shown]))
    columns = max(1, math.ceil(math.sqrt(len(shown))))
    height, width = mosaic(tiles, columns)[0].shape[:2]
    figure, axes = _figure(len(panels), height / width, classes, title, table)
    for axis, (name, images) in zip(axes, panels, strict=True):
        image, corners = mosaic(images, columns)
        axis.imshow(image, interpolation="nearest")
        axis.set_title(name, fontsize=9)
        for entry, (row, col) in zip(shown, corners, strict=True):
            if len(shown) > 1 and entry.name:
                axis.text(col, row - 0.5, entry.name, fontsize=4, va="bottom", ha="left")
    save_figure(figure, path)


def write_table_png(
    path: Path,
    predicted: NDArray[Any],
    classes: Sequence[str],
    *,
    row_col: NDArray[Any] | None = None,
    reference: NDArray[Any] | None = None,
    tested: NDArray[np.bool_] | None = None,
    title: str = "",
    colours: Sequence[Colour] | None = None,
) -> None:
    """Draws the pixels of a table where they lie, or, without positions, the areas of classes.

    Args:
        path: the PNG to write.
        predicted: labels (N,), 0 = nothing predicted.
        classes: the class names, in the order of the labels.
        row_col: positions (N, 2), or None.
        reference: labels (N,), 0 = unlabelled, or None.
        tested: bool (N,), the pixels kept for testing, or None.
        title: a line above the picture.
        colours: RGB 0..255 of each class; None for the palette.

    Raises:
        ValueError: shapes or numbers of classes disagree.
    """
    entry = LandcoverMap(predicted, reference, tested)
    table = map_colours(len(classes), colours)
    series = [("predicted", predicted, table[predicted])]
    if reference is not None:
        image = reference_image(entry, table)
        series.append((_reference_title([entry]), reference, image))
    if row_col is None:
        _write_bars(path, [(name, labels) for name, labels, _ in series], classes, title, table)
        return
    if row_col.shape != (predicted.size, 2):
        raise ValueError(f"positions {row_col.shape} for {predicted.size} predictions")
    extent = row_col.max(axis=0) - row_col.min(axis=0) + 1
    figure, axes = _figure(len(series), float(extent[0] / extent[1]), classes, title, table)
    for axis, (name, labels, rgb) in zip(axes, series, strict=True):
        drawn = labels > 0
        axis.scatter(
            row_col[drawn, 1], row_col[drawn, 0], c=rgb[drawn] / 255.0, s=4, marker="s", lw=0
        )
        axis.set_aspect("equal")
        axis.invert_yaxis()
        axis.set_title(name, fontsize=9)
    save_figure(figure, path)


def _reference_title(maps: Sequence[LandcoverMap]) -> str:
    pale = any(entry.tested is not None for entry in maps)
    return "reference (pale: training)" if pale else "reference"


def reference_image(entry: LandcoverMap, colours: Image) -> Image:
    """Colours of the reference labels, pale where they were not kept for testing."""
    if entry.reference is None:
        return colours[np.zeros(entry.predicted.shape, dtype=np.int64)]
    if entry.reference.shape != entry.predicted.shape:
        raise ValueError(
            f"reference {entry.reference.shape} for predictions {entry.predicted.shape}"
        )
    image: Image = colours[entry.reference]
    if entry.tested is not None:
        pale = (entry.reference > 0) & ~entry.tested
        mixed = PALE * image[pale] + (1.0 - PALE) * colours[0]
        image[pale] = np.rint(mixed).astype(np.uint8)
    return image


def mosaic(images: list[Image], columns: int) -> tuple[Image, list[tuple[int, int]]]:
    """Images (h, w, 3) side by side on white, and the upper left corner of each."""
    if len(images) == 1:
        return images[0], [(0, 0)]
    height = max(image.shape[0] for image in images) + GAP
    width = max(image.shape[1] for image in images) + GAP
    rows = -(-len(images) // columns)
    canvas = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    corners = []
    for number, image in enumerate(images):
        row, col = (number // columns) * height + GAP, (number % columns) * width
        canvas[row : row + image.shape[0], col : col + image.shape[1]] = image
        corners.append((row, col))
    return canvas, corners


def _figure(
    panels: int, ratio: float, classes: Sequence[str], title: str, table: Image
) -> tuple[Figure, list[Any]]:
    """A figure of `panels` axes of height/width `ratio`, side by side or one above the other."""
    stacked = ratio < 0.5
    ratio = min(max(ratio, 0.1), 4.0)
    width, height = (PANEL_INCHES, PANEL_INCHES * ratio)
    if ratio > 1.0:
        width, height = PANEL_INCHES / ratio, PANEL_INCHES
    rows, columns = (panels, 1) if stacked else (1, panels)
    legend_columns = -(-len(classes) // MAX_LEGEND_ROWS)
    size = (columns * width + 2.2 * legend_columns, max(rows * (height + 0.4) + 0.4, 2.5))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    colours = table / 255.0
    entries = [
        Patch(facecolor=tuple(colour), edgecolor="black", linewidth=0.3, label=plain_text(name))
        for name, colour in zip(classes, colours[1:], strict=True)
    ]
    if entries:
        figure.legend(handles=entries, loc="outside right upper", fontsize=7, ncols=legend_columns)
    if title:
        figure.suptitle(plain_text(title), fontsize=10)
    return figure, axes


def _write_bars(
    path: Path,
    series: list[tuple[str, NDArray[Any]]],
    classes: Sequence[str],
    title: str,
    table: Image,
) -> None:
    """Pixels of each class, predicted beside reference: the picture of a table without places."""
    colours = table[1:] / 255.0
    figure = Figure(figsize=(7.0, 1.2 + 0.28 * len(classes)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    thick = 0.8 / len(series)
    for number, (name, labels) in enumerate(series):
        counts = np.bincount(labels, minlength=len(classes) + 1)[1:]
        places = np.arange(len(classes)) + number * thick
        axis.barh(
            places,
            counts,
            height=thick,
            color=colours,
            hatch="///" if number else None,
            edgecolor="black",
            linewidth=0.3,
            label=name + (" (hatched)" if number else ""),
        )
    axis.set_yticks(np.arange(len(classes)) + thick * (len(series) - 1) / 2)
    axis.set_yticklabels([plain_text(name) for name in classes], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("pixels")
    axis.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    figure.suptitle(plain_text(title or "predicted class areas"), fontsize=10)
    save_figure(figure, path)


def plain_text(text: str) -> str:
    """Text that matplotlib shows as it is: a pair of `$` would start its formula mode."""
    return text.replace("$", r"\$")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes beside the place and renames, so that no half picture is ever there."""
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    partial.replace(path)
