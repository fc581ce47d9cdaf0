"""Several label files of one raster as one layer: training and test samples, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.raster.layer import Layer
from feddiff_secure.data.raster.manifest import LayerSource
from feddiff_secure.errors import DataError


class JoinedLabels:
    """Labels of the first file that has one; files may agree on a pixel, not differ.

    Args:
        parts: opened label layers, each with the source that names it.

    Raises:
        DataError: shapes, georeferences or class names differ, or a layer is not of integers.
    """

    def __init__(self, parts: Sequence[tuple[Layer, LayerSource]]) -> None:
        first = parts[0][0].facts
        for layer, _ in parts[1:]:
            for name in ("shape", "bands", "crs", "transform", "classes"):
                if getattr(layer.facts, name) != getattr(first, name):
                    raise DataError(
                        f"{layer.facts.path}: labels differ from {first.path.name} in {name}",
                        "join label files of one raster and one list of classes",
                    )
        self._parts = parts
        dtype = np.result_type(*(layer.facts.dtype for layer, _ in parts))
        self.facts = replace(first, dtype=dtype, nodata=None)

    def read(self, rows: slice, cols: slice) -> NDArray[Any]:
        """The joined labels of a window, (h, w, 1).

        Raises:
            DataError: two files give one pixel different labels.
        """
        out = np.zeros((rows.stop - rows.start, cols.stop - cols.start, 1), self.facts.dtype)
        for layer, source in self._parts:
            values = layer.read(rows, cols).astype(self.facts.dtype)
            nodata = layer.facts.nodata if source.nodata is None else source.nodata
            if nodata is not None:
                values[values == nodata] = 0
            differ = (out != 0) & (values != 0) & (out != values)
            if differ.any():
                raise DataError(
                    f"{layer.facts.path}: {int(differ.sum())} pixels have another label here than "
                    f"in {self.facts.path.name}",
                    "give label files that agree",
                )
            out = np.where(out != 0, out, values)
        return out

    def close(self) -> None:
        """Close all files."""
        for layer, _ in self._parts:
            layer.close()
