"""Which tiles enter a round: all of them, or an independent (Poisson) sample.

Amplification by sampling, as the accountant uses it, holds for independent inclusion only. A
shuffled batch of fixed size is another mechanism with a larger ε (Chua et al. 2024, arXiv
2403.17673), so no such sampler exists here. The empty batch is a sample like any other: its
round releases noise around zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.errors import MechanismError
from feddiff_privacy.events import Sampler
from feddiff_privacy.randomness import SecureBytes, words


@dataclass(frozen=True, slots=True)
class TileSampler:
    """Draws the tiles of one round.

    Attributes:
        rate: inclusion probability in (0, 1]; 1 takes every tile and draws nothing.

    Raises:
        MechanismError: a rate outside (0, 1].
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise MechanismError(f"the sampling rate must be in (0, 1], got {self.rate}")

    @property
    def kind(self) -> Sampler:
        """The name under which events record what was executed."""
        return "full_batch" if self.rate == 1 else "poisson"

    def draw(self, tiles: int, source: SecureBytes) -> NDArray[np.bool_]:
        """A mask over `tiles` tiles, shape (tiles,), from the operating system's randomness.

        Each tile is in with probability floor(rate·2^64)/2^64: never more than the rate that is
        accounted.
        """
        if self.rate == 1:
            return np.ones(tiles, dtype=np.bool_)
        threshold = np.uint64(math.floor(self.rate * 2.0**64))
        return words(source, tiles) < threshold
