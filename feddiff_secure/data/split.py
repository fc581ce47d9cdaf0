"""Splitting tiles into a training and a test part that share no ground."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.cells import Cells, ground_cells
from feddiff_secure.data.tiles import NO_ID, TileSet, UnitIds
from feddiff_secure.errors import DataError, UsageError


def train_test_split(
    tiles: TileSet, fraction: float = 0.2, seed: int = 0
) -> tuple[TileSet, TileSet, str]:
    """Splits by ground cells (`feddiff_secure.data.cells`), never by pixel.

    About `fraction` of each class's labelled pixels go to the test part, as far as whole cells
    allow. A class that lives in one cell stays in training, with that cell; every other class
    is in both parts where the cells permit it.

    Args:
        tiles: the tiles of one data set.
        fraction: wanted share of the labelled pixels, in (0, 1).
        seed: orders cells of equal merit.

    Returns:
        The training part, the test part, and how cells were formed, in words. Unlabelled tiles
        of no known region are in the training part.

    Raises:
        UsageError: `fraction` is outside (0, 1).
        DataError: no cell can be spared for testing.
    """
    if not 0.0 < fraction < 1.0:
        raise UsageError(f"test fraction {fraction} is outside (0, 1)", "use 0.2, say")
    cells = ground_cells(tiles)
    in_test = _choose_cells(cell_class_counts(tiles, cells), fraction, seed)
    if not in_test.any():
        raise DataError(
            f"no test part: {cells.n_cells} cells ({cells.how}) and every class would lose its "
            "only one",
            "give separate test data with --test",
        )
    unit_in_test = np.zeros(tiles.n_units, dtype=bool)
    known = cells.cell != NO_ID
    unit_in_test[known] = in_test[cells.cell[known]]
    units = tiles.units.unit
    return tiles.select(units[~unit_in_test]), tiles.select(units[unit_in_test]), cells.how


def cell_class_counts(tiles: TileSet, cells: Cells) -> UnitIds:
    """Labelled pixels of each class in each cell, int64 (n_cells, K)."""
    counts = np.zeros((cells.n_cells, len(tiles.classes)), dtype=np.int64)
    known = cells.cell != NO_ID
    np.add.at(counts, cells.cell[known], tiles.units.class_counts[known])
    return counts


def _choose_cells(counts: UnitIds, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Greedy choice of test cells, rarest class first.

    Minimises the sum over classes of |test share − fraction|. The first cell of a class is taken
    whatever it costs, as long as every class in it keeps a cell for training; later ones only
    where they lower the cost.
    """
    n_cells, n_classes = counts.shape
    present = counts > 0
    cells_of_class = present.sum(axis=0)
    total = counts.sum(axis=0)
    share = counts / np.maximum(total, 1)  # (cells, classes)
    target = np.where(total > 0, fraction, 0.0)
    in_test = np.zeros(n_cells, dtype=bool)
    in_train = cells_of_class.copy()  # cells of each class still in training
    tested = np.zeros(n_classes)
    order = np.random.default_rng(seed).permutation(n_cells)
    for label in np.argsort(cells_of_class, kind="stable"):
        while cells_of_class[label] > 1 and tested[label] < fraction:
            spare = ~in_test & present[:, label] & ~(present & (in_train <= 1)).any(axis=1)
            candidates = order[spare[order]]
            if candidates.size == 0:
                break
            costs = np.abs(tested + share[candidates] - target).sum(axis=1)
            best = int(candidates[np.argmin(costs)])
            if tested[label] > 0 and costs.min() >= np.abs(tested - target).sum():
                break
            in_test[best] = True
            in_train -= present[best]
            tested += share[best]
    # Cells without a labelled pixel follow the fraction, so that maps of both parts exist.
    empty = order[counts[order].sum(axis=1) == 0]
    in_test[empty[: int(fraction * empty.size)]] = bool(in_test.any())
    return in_test
