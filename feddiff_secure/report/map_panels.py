"""Land cover as bare pictures for a page: predicted and reference, without text in them.

A page puts captions and the legend beside them, so that they can be read at any width. Equal inputs
give equal bytes.
"""

from __future__ import annotations

import io
import math
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from feddiff_secure.data.scene import Dataset, PixelTable
from feddiff_secure.report.landcover_map import (
    MAX_MOSAIC,
    Image,
    LandcoverMap,
    mosaic,
    reference_image,
)
from feddiff_secure.report.palette import class_colours

MapPanels = dict[str, bytes]
"""`predicted` and, where there are labels, `reference`: a PNG each."""

_LEAST_PIXELS: Final = 384  # of the longer side; smaller pictures are enlarged by whole factors
_MOST_PIXELS: Final = 1600
_TABLE_INCHES: Final = 5.0
_TABLE_DPI: Final = 120
_LEAST_RATIO: Final = 0.2  # of height to width; a longer strip is drawn as this


def map_panels(
    dataset: Dataset,
    maps: list[NDArray[np.int16]],
    *,
    tested: list[NDArray[np.bool_]] | None = None,
) -> MapPanels:
    """The pictures of a data set's predicted labels; none for a table without positions.

    Args:
        dataset: where positions and reference labels come from.
        maps: predicted labels, one array a scene or one for a table.
        tested: the pixels kept for testing, in the same form; other reference pixels are pale.
    """
    colours = class_colours(len(dataset.classes))
    if dataset.table is not None:
        return _table_panels(dataset.table, maps[0], tested[0] if tested else None, colours)
    scenes = list(zip(dataset.scenes, maps, strict=True))[:MAX_MOSAIC]
    entries = [
        LandcoverMap(
            found,
            scene.label if scene.label.any() else None,
            tested[i] if tested else None,
        )
        for i, (scene, found) in enumerate(scenes)
    ]
    columns = max(1, math.ceil(math.sqrt(len(entries))))
    panels = {"predicted": _png(mosaic([colours[e.predicted] for e in entries], columns)[0])}
    if any(entry.reference is not None for entry in entries):
        images = [reference_image(entry, colours) for entry in entries]
        panels["reference"] = _png(mosaic(images, columns)[0])
    return panels


def _table_panels(
    table: PixelTable,
    predicted: NDArray[np.int16],
    tested: NDArray[np.bool_] | None,
    colours: Image,
) -> MapPanels:
    if table.row_col is None:
        return {}
    panels = {"predicted": _scatter(table.row_col, predicted > 0, colours[predicted])}
    if table.label.any():
        image = reference_image(LandcoverMap(predicted, table.label, tested), colours)
        panels["reference"] = _scatter(table.row_col, table.label > 0, image)
    return panels


def _scatter(row_col: NDArray[np.int32], drawn: NDArray[np.bool_], rgb: Image) -> bytes:
    extent = row_col.max(axis=0) - row_col.min(axis=0) + 1
    ratio = min(max(float(extent[0] / extent[1]), _LEAST_RATIO), 1 / _LEAST_RATIO)
    width = _TABLE_INCHES / max(1.0, ratio)
    figure = Figure(figsize=(width, width * ratio), dpi=_TABLE_DPI)
    FigureCanvasAgg(figure)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.scatter(row_col[drawn, 1], row_col[drawn, 0], c=rgb[drawn] / 255.0, s=7, marker="s", lw=0)
    axis.set_xlim(row_col[:, 1].min() - 4, row_col[:, 1].max() + 4)
    axis.set_ylim(row_col[:, 0].max() + 4, row_col[:, 0].min() - 4)
    axis.set_axis_off()
    made = io.BytesIO()
    figure.savefig(made, format="png", facecolor="white", metadata={"Software": None})
    return made.getvalue()


_METADATA: Final[dict[str, str]] = {"Software": ""}  # no program version


def _png(image: Image) -> bytes:
    longer = max(image.shape[:2])
    factor = max(1, _LEAST_PIXELS // longer)
    step = max(1, math.ceil(longer / _MOST_PIXELS))
    sized = image[::step, ::step].repeat(factor, axis=0).repeat(factor, axis=1)
    made = io.BytesIO()
    imsave(made, sized, format="png", metadata=_METADATA)
    return made.getvalue()
