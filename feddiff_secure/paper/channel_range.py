"""Scaling of every channel to −1…1 by the training owners' minimum and maximum.

The authors scale training and test data each by its own extremes. Here the owners of a modality
send theirs, and all data, the test part too, is scaled by the extremes over the training owners.
They are statistics of private data and travel in clear: the paper profile claims nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError

Floats = NDArray[np.float32]
LEAST_SPREAD = 1e-6  # of a channel; keeps a constant one finite


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRange:
    """The extremes of each channel of one modality.

    Attributes:
        low: (C,) float32. high: (C,) float32, not below `low`.

    Raises:
        DataError: shapes differ, or a value is not finite or out of order.
    """

    low: Floats
    high: Floats

    def __post_init__(self) -> None:
        fits = self.low.shape == self.high.shape and self.low.ndim == 1
        if not fits or not (np.isfinite(self.low) & np.isfinite(self.high)).all():
            raise DataError("channel range: not two finite rows of one length", "rerun the profile")
        if (self.low > self.high).any():
            raise DataError("channel range: a minimum above its maximum", "rerun the profile")

    @classmethod
    def over(cls, owners: Sequence[TileSet], modality: str) -> ChannelRange:
        """The extremes over all tiles of the owners of a modality."""
        found = [block.modalities[modality] for tiles in owners for block in tiles]
        low = np.min([values.min(axis=(0, 2, 3)) for values in found], axis=0)
        high = np.max([values.max(axis=(0, 2, 3)) for values in found], axis=0)
        return cls(low.astype(np.float32), high.astype(np.float32))

    @property
    def spread(self) -> Floats:
        """Half the width of each channel's range, (C,), above 0."""
        wide = np.maximum(self.high - self.low, np.float32(LEAST_SPREAD))
        return np.asarray(wide / np.float32(2))

    def scale(self, values: Floats) -> Floats:
        """(T, C, h, w) in sensor units to the branch's range, −1…1 where inside the extremes."""
        shape = (-1, 1, 1)
        centred = values - self.low.reshape(shape) - self.spread.reshape(shape)
        return np.asarray(centred / self.spread.reshape(shape), dtype=np.float32)

    def unscale(self, values: Floats) -> Floats:
        """(T, C, h, w) in the branch's range back to sensor units."""
        shape = (-1, 1, 1)
        back = values * self.spread.reshape(shape) + self.spread.reshape(shape)
        return np.asarray(back + self.low.reshape(shape), dtype=np.float32)

    def scaled_blocks(self, tiles: TileSet, modality: str) -> list[Floats]:
        """The scaled values of every block of a tile set, (T, C, h, w) each."""
        return [self.scale(block.modalities[modality]) for block in tiles]
