"""Skellam noise on the integers, vectorised: the difference of two Poisson variables.

Sk(0, v) is the law of X − Y with X, Y independent Poisson(v/2): mean 0, variance v, P[k] =
e^{−v}·I_k(v) with the modified Bessel function I. Sums of independent Skellams are Skellam, so a
sum of shares has exactly the law that is accounted (Agarwal, Kairouz and Liu 2021, arXiv
2110.04995).

Sampler: rejection from the envelope of `envelope.py`, one block by one 64-bit word, an offset and
an acceptance bit from a second. Unlike `DiscreteGaussian` the acceptance is decided in float64:

* below v = 4096 by a table of I_k(v)/I_0(v) (scipy's exponentially scaled Bessel function);
* above by Debye's uniform expansion with three terms (DLMF 10.41.3), s = √(k² + v²):
  log P[k] = s − v − k·asinh(k/v) − ½log(2πs) + log(1 + u₁ + u₂ + u₃), where u_j falls as s^−j.

Every probability is right to a factor within 1 ± 2^`ERROR_LOG2` (tests compare with 40 digits),
and the range leaves out less than 2^`TAIL_LOG2` (Chernoff's bound, both sides). The accountant
adds the factor to ε.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from feddiff_privacy.envelope import alias_table, block_weights, draw_blocks, nearest_to_zero
from feddiff_privacy.errors import MechanismError
from feddiff_privacy.noise import LEAST_STD, MOST_STD, TAIL_LOG2
from feddiff_privacy.randomness import SecureBytes, words

ERROR_LOG2 = -38
_TABLE_VARIANCE = 4096.0
_BLOCKS_PER_STD = 64
_ACCEPT_BITS = 40
_LEAST_LOG = -700.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Skellam:
    """A sampler of Sk(0, std²).

    Attributes:
        std: √v in [1, 2^29], in grid units.

    Raises:
        MechanismError: a standard deviation outside the range above.
    """

    std: float
    _width_bits: int = field(init=False, repr=False)
    _prob: NDArray[np.uint64] = field(init=False, repr=False)
    _alias: NDArray[np.int64] = field(init=False, repr=False)
    _ratio: Array = field(init=False, repr=False)
    _table: Array | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not LEAST_STD <= self.std <= MOST_STD:
            raise MechanismError(
                f"Skellam noise needs a standard deviation between {LEAST_STD:g} and "
                f"{MOST_STD:g} grid units, got {self.std}"
            )
        variance = self.std**2
        width_bits = max(0, math.floor(math.log2(self.std / _BLOCKS_PER_STD)))
        reach = least_range(variance)
        blocks = 1 << math.ceil(math.log2(2 * (reach + 1) / (1 << width_bits)))
        table = _table(variance, blocks // 2) if variance < _TABLE_VARIANCE else None
        object.__setattr__(self, "_table", table)
        weights, peak = block_weights(
            np.exp(self.log_mass(nearest_to_zero(blocks, 1 << width_bits)))
        )
        prob, alias = alias_table(weights)
        for name, value in (
            ("_width_bits", width_bits),
            ("_prob", prob),
            ("_alias", alias),
            ("_ratio", np.array([peak / w for w in weights])),
        ):
            object.__setattr__(self, name, value)

    def log_mass(self, k: Array) -> Array:
        """log(P[k] / P[0]) for integers k within the range, shape as `k`."""
        if self._table is not None:
            return np.asarray(self._table[np.abs(k).astype(np.int64)])
        return _expansion(k, self.std**2)

    def sample(self, size: int, source: SecureBytes) -> NDArray[np.int64]:
        """`size` independent draws from Sk(0, std²), shape (size,)."""
        parts: list[NDArray[np.int64]] = []
        missing = size
        while missing > 0:
            batch = self._accepted(missing + missing // 16 + 16, source)[:missing]
            parts.append(batch)
            missing -= len(batch)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def _accepted(self, candidates: int, source: SecureBytes) -> NDArray[np.int64]:
        block = draw_blocks(self._prob, self._alias, words(source, candidates))
        second = words(source, candidates)
        offset = (second & np.uint64((1 << self._width_bits) - 1)).astype(np.int64)
        k = ((block - len(self._prob) // 2) << self._width_bits) + offset
        u = (second >> np.uint64(64 - _ACCEPT_BITS)).astype(np.float64) + 0.5
        chance = np.exp(self.log_mass(k.astype(np.float64))) * self._ratio[block]
        return np.asarray(k[u * 2.0**-_ACCEPT_BITS < chance])


def least_range(variance: float) -> int:
    """The least K with 2·exp(−(K·asinh(K/v) − √(K² + v²) + v)) ≤ 2^`TAIL_LOG2` (Chernoff)."""
    needed = (1 - TAIL_LOG2) * math.log(2)
    low, high = 0, math.ceil(16 * math.sqrt(variance)) + 256
    while low < high:
        middle = (low + high) // 2
        root = middle**2 / (math.hypot(middle, variance) + variance)  # √(K² + v²) − v
        if middle * math.asinh(middle / variance) - root >= needed:
            high = middle
        else:
            low = middle + 1
    return high


def _table(variance: float, reach: int) -> Array:
    scaled = ive(np.arange(reach + 1, dtype=np.float64), variance)
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.log(scaled / scaled[0]), _LEAST_LOG))


def _expansion(k: Array, variance: float) -> Array:
    """log(P[k]/P[0]) by the uniform expansion of the Bessel function."""
    square = k * k
    s = np.sqrt(square + variance * variance)
    exponent = square / (s + variance) - np.abs(k) * np.arcsinh(np.abs(k) / variance)
    half = np.log1p(square / (variance * variance)) * 0.25  # ½·log(s/v)
    series = _series(square / (s * s), s) / _series(np.zeros(1), np.array([variance]))
    return np.asarray(exponent - half + np.log(series))


def _series(p2: Array, s: Array) -> Array:
    """1 + U₁(p)/ν + U₂(p)/ν² + U₃(p)/ν³ with p² = k²/s² and ν = k (DLMF 10.41.10)."""
    first = (3 - 5 * p2) / (24 * s)
    second = (81 + p2 * (-462 + 385 * p2)) / (1152 * s**2)
    third = (30375 + p2 * (-369603 + p2 * (765765 - 425425 * p2))) / (414720 * s**3)
    return np.asarray(1 + first + second + third)
