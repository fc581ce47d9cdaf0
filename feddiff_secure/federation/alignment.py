"""HSI and LiDAR from two files brought together: in a simulation, and what each side learns.

The two owners send each other one message, the grid of their data (`GroundGrid`), through the
codec as everything that travels. From it both compute the same common grid. What an owner learns of
the other is where its data lies: the extent and pixel size of its scene, or the positions in its
table. The coordinator passes the messages on and learns the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import decode, encode
from feddiff_secure.data.align import ALIGNED, axes, common_grid, onto
from feddiff_secure.data.ground_grid import GroundGrid
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError

Maps = list[NDArray[np.int16]]


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One ground with both modalities; only a simulation holds it.

    Attributes:
        dataset: on the common grid.
        how: the alignment in words.
        hsi: the grid of the HSI file.
        common: the common grid.
    """

    dataset: Dataset
    how: str
    hsi: GroundGrid
    common: GroundGrid

    def on_hsi(self, maps: Maps) -> Maps | None:
        """Maps of the common grid put on that of the HSI file, 0 where LiDAR is missing.

        Returns:
            None where the common pixels are not HSI's (LiDAR is coarser).
        """
        if self.common.positions is not None:
            assert self.hsi.positions is not None  # both have them, or neither
            place = {tuple(row): i for i, row in enumerate(self.hsi.positions.tolist())}
            line = np.zeros(len(place), dtype=np.int16)
            line[[place[tuple(row)] for row in self.common.positions.tolist()]] = maps[0]
            return [line]
        if self.common.transform is None or self.common.transform == self.hsi.transform:
            return maps if self.common.shapes == self.hsi.shapes else self._pasted(maps, 0, 0)
        row, col = axes(self.hsi, self.common)
        if row.step != 1 or col.step != 1:
            return None
        return self._pasted(maps, row.first, col.first)

    def _pasted(self, maps: Maps, row: int, col: int) -> Maps:
        whole = np.zeros(self.hsi.shapes[0], dtype=np.int16)
        height, width = maps[0].shape
        whole[row : row + height, col : col + width] = maps[0]
        return [whole]


def align(hsi: Dataset, lidar: Dataset) -> Aligned:
    """Bring the HSI of one file and the LiDAR of another onto one grid.

    Labels are those of the HSI file, or of the LiDAR file where that has none.

    Raises:
        DataError: data that cannot be aligned, lacks the modality, or names other classes.
    """
    if hsi.is_table != lidar.is_table:
        raise DataError(
            "alignment: one file holds a table, the other rasters", "give two of a kind"
        )
    parts = (("hsi", hsi), ("lidar", lidar))
    sent = [encode(GroundGrid.of(part, name).to_message()) for name, part in parts]
    own, other = (GroundGrid.from_message(decode(message)) for message in sent)
    common = common_grid(own, other)
    left, right = onto(hsi, "hsi", common), onto(lidar, "lidar", common)
    labelled = left if _has_labels(left) or not _has_labels(right) else right
    if _has_labels(left) and _has_labels(right) and left.classes != right.classes:
        raise DataError(
            "alignment: both files hold labels, of other classes",
            "keep the labels of one file, or name the same classes in the same order",
        )
    how = f"HSI of {own.size} and LiDAR of {other.size} pixels on a common grid of {common.size}"
    changed = [name for name, grid in (("HSI", own), ("LiDAR", other)) if _resampled(grid, common)]
    if changed:
        how += f", {' and '.join(changed)} by area mean"
    return Aligned(_joined(left, right, labelled), how, own, common)


def _has_labels(dataset: Dataset) -> bool:
    parts = dataset.scenes if dataset.table is None else (dataset.table,)
    return any(part.label.any() for part in parts)


def _joined(hsi: Dataset, lidar: Dataset, labelled: Dataset) -> Dataset:
    if hsi.table is not None and lidar.table is not None and labelled.table is not None:
        both = {**hsi.table.modalities, **lidar.table.modalities}
        return Dataset(table=replace(labelled.table, modalities=both))
    triples = zip(hsi.scenes, lidar.scenes, labelled.scenes, strict=True)
    return Dataset(
        scenes=tuple(
            replace(named, modalities={**mine.modalities, **theirs.modalities})
            for mine, theirs, named in triples
        )
    )


def _resampled(grid: GroundGrid, common: GroundGrid) -> bool:
    """Whether the common pixels are others than the grid's."""
    if grid.transform is None or common.transform is None:
        return False
    row, col = axes(common, grid)
    return not (row.is_crop(ALIGNED) and col.is_crop(ALIGNED))
