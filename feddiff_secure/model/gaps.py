"""Tiles in which a sensor has no value for some pixels: what stands in for them.

A network that looks around a pixel needs something in a gap. It gets the value of the nearest pixel
of the same tile that is there, which invents no heights that the tile does not have and, like the
replication at a tile's edge, reads no other tile. ψ of a missing pixel itself is zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Tiles = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def filled(values: Tiles, valid: Mask) -> Tiles:
    """Tiles with their gaps filled from the nearest pixel of the tile.

    Args:
        values: (T, C, h, w), 0 where missing.
        valid: (T, h, w), the pixels that are there.

    Returns:
        The same where pixels are there. Of pixels at one distance the first, row by row, is taken.
        A tile of which nothing is there stays 0.
    """
    out = values.copy()
    there = valid.reshape(len(valid), -1)
    place = np.indices(valid.shape[1:]).reshape(2, -1)
    for number in np.flatnonzero(there.any(axis=1) & ~there.all(axis=1)):
        known, gaps = np.flatnonzero(there[number]), np.flatnonzero(~there[number])
        away = np.square(place[:, gaps, None] - place[:, None, known]).sum(axis=0)
        nearest = known[away.argmin(axis=1)]
        tile = out[number].reshape(len(out[number]), -1)  # a view
        tile[:, gaps] = tile[:, nearest]
    return out
