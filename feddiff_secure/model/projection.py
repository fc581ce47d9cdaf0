"""Public random projections: the same numbers for everybody, from a seed anyone may know.

These draws are not secret and protect nothing. They come from numpy's PCG64, whose stream is
fixed by NEP 19 for `Generator.standard_normal` only within a numpy feature release; the digest of
the drawn numbers is therefore part of a feature map's description and checked when it is read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from feddiff_secure.model.rowwise import row_matmul


def public_normal(seed: tuple[int, ...], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Standard normal draws from a public seed."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    return generator.standard_normal(shape)


@dataclass(frozen=True)
class FourierProjection:
    """Random Fourier features of the Gaussian kernel exp(−scale²‖x − y‖²/2).

    Rahimi and Recht, NIPS 2007, algorithm 1, in the paired form (cos, sin): every row has norm 1
    exactly, which bounds a pixel's gradient before it is clipped.

    Attributes:
        seed: public seed, any non-negative integers.
        inputs: descriptor length K.
        features: output length D, even.
        scale: inverse kernel width; the descriptor is multiplied by it.
    """

    seed: tuple[int, ...]
    inputs: int
    features: int
    scale: float

    @cached_property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """(D/2, K) frequencies, N(0, scale²)."""
        return self.scale * public_normal(self.seed, (self.features // 2, self.inputs))

    @property
    def digest(self) -> str:
        """SHA-256 of the frequencies as little-endian float64, hexadecimal."""
        return hashlib.sha256(self.frequencies.astype("<f8").tobytes()).hexdigest()

    def __call__(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(n, K) descriptors to (n, D) features of norm 1."""
        angles = row_matmul(rows, self.frequencies)
        both = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.asarray(both / np.sqrt(self.features / 2), dtype=np.float32)
