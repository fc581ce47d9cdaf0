"""Folds of the ground for testing: every fold is tested once on a model trained on the others.

Folds are made of whole cells (`feddiff_secure.data.cells`), never of single pixels. A class that
lives in one cell is trained on and never tested, with that cell: whichever fold it were in, no
model would have seen the class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.cells import ground_cells
from feddiff_secure.data.split import cell_class_counts
from feddiff_secure.data.tiles import NO_ID, TileSet
from feddiff_secure.errors import DataError, UsageError

MOST_FOLDS = 20
NEVER_TESTED = -1


def fold_split(tiles: TileSet, folds: int, number: int, seed: int) -> tuple[TileSet, TileSet, str]:
    """The training part and the test part of one fold, and how folds were formed, in words.

    Args:
        tiles: the tiles of one data set.
        folds: how many, 2 to 20.
        number: which one is tested, from 0.
        seed: orders cells of equal merit; the same for all folds of one division.

    Raises:
        UsageError: a number outside these.
        DataError: a fold that would have nothing to test.
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"folds is {folds}", f"give a number from 2 to {MOST_FOLDS}")
    if not 0 <= number < folds:
        raise UsageError(f"fold {number} of {folds}", f"give a number from 0 to {folds - 1}")
    cells = ground_cells(tiles)
    fold_of_cell = deal_folds(cell_class_counts(tiles, cells), folds, seed)
    fold = np.full(tiles.n_units, NEVER_TESTED)
    known = cells.cell != NO_ID
    fold[known] = fold_of_cell[cells.cell[known]]
    units = tiles.units.unit
    test = tiles.select(units[fold == number])
    if not test.labelled_units().size:
        raise DataError(
            f"fold {number + 1} of {folds} has no labelled pixel: {cells.n_cells} cells "
            f"({cells.how})",
            "give fewer folds",
        )
    how = f"{folds} folds by {cells.how}"
    return tiles.select(units[fold != number]), test, how


def deal_folds(counts: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of every cell, or `NEVER_TESTED`.

    Rarest class first, each cell goes to the fold that has least of the class so far, so that a
    class of two cells or more is in two folds or more unless a rarer one decided otherwise.

    Args:
        counts: labelled pixels of each class in each cell, (cells, K).
        folds: how many.
        seed: orders cells and folds of equal merit.
    """
    rng = np.random.default_rng(seed)
    present = counts > 0
    fold = np.full(len(counts), NEVER_TESTED)
    fixed = present[:, present.sum(axis=0) == 1].any(axis=1)
    held = np.zeros((folds, counts.shape[1]), dtype=np.int64)
    for label in np.argsort(present.sum(axis=0), kind="stable"):
        for cell in rng.permutation(np.flatnonzero(present[:, label] & ~fixed)):
            if fold[cell] != NEVER_TESTED:
                continue
            order = rng.permutation(folds)
            merit = np.lexsort((held[order].sum(axis=1), held[order, label]))
            fold[cell] = order[merit[0]]
            held[fold[cell]] += counts[cell]
    return fold
