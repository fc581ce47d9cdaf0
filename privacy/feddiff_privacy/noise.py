"""Exact discrete Gaussian noise on the integers, vectorised.

The discrete Gaussian N_Z(0, σ²) has P[k] ∝ exp(−k²/2σ²) for integer k (Canonne, Kamath and
Steinke 2020, arXiv 2004.00010). Floating-point Gaussians are not an option: the gaps between floats
reveal the value they were added to (Mironov 2012).

Sampler: rejection from a piecewise-constant envelope.

1. The integers in ±16σ are cut into K blocks of equal width (K and the width are powers of two).
   Block m has an *integer* weight; the weights sum to exactly 2^64, and an alias table (Vose
   1991) over integers draws a block with one 64-bit word, with no rounding.
2. An offset inside the block is uniform from the low bits of a second word.
3. The candidate k is accepted with probability a(k) = S·exp(−k²/2σ²) / weight(m), where S makes
   every a(k) ≤ 1. The comparison u < a(k) is made in float64 with an error band; a draw inside
   the band (about 1 in 2^38) is decided with as many further random bits and decimal digits as
   it takes.

So every integer within the range has *exactly* its probability; the only gap is the range,
2·P[|k| > 16σ] < 2^-180 (`TAIL_LOG2`). Timing is not constant: it depends on how many candidates
are rejected, which is independent of the data that the noise is added to.

A sum of h independent shares N_Z(0, σ²/h) is not itself a discrete Gaussian, but within
`share_sum_gap` of one (Kairouz, Liu and Steinke 2021, arXiv 2102.06387).
"""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.envelope import alias_table, block_weights, draw_blocks, nearest_to_zero
from feddiff_privacy.errors import MechanismError
from feddiff_privacy.randomness import SecureBytes, words

LEAST_STD = 1.0
MOST_STD = 2.0**29
TAIL_LOG2 = -180
RANGE_STDS = 16
_BLOCKS_PER_STD = 64
_BAND = 2.0**-44  # relative; float64 exp and products err by less than 2^-48


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
    """A sampler of N_Z(0, std²).

    Attributes:
        std: σ in [1, 2^29], in grid units.
        accept_bits: resolution of the first acceptance comparison (fewer only slows it down).

    Raises:
        MechanismError: σ outside the range for which the construction above is proven.
    """

    std: float
    accept_bits: int = 40
    _width_bits: int = field(init=False, repr=False)
    _blocks: int = field(init=False, repr=False)
    _prob: NDArray[np.uint64] = field(init=False, repr=False)
    _alias: NDArray[np.int64] = field(init=False, repr=False)
    _weights: tuple[int, ...] = field(init=False, repr=False)
    _peak: float = field(init=False, repr=False)
    _ratio: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not LEAST_STD <= self.std <= MOST_STD:
            raise MechanismError(
                f"discrete Gaussian noise needs a standard deviation between {LEAST_STD:g} and "
                f"{MOST_STD:g} grid units, got {self.std}"
            )
        width_bits = max(0, math.floor(math.log2(self.std / _BLOCKS_PER_STD)))
        half = math.ceil(RANGE_STDS * self.std)
        blocks = 1 << math.ceil(math.log2(2 * half / (1 << width_bits)))
        nearest = nearest_to_zero(blocks, 1 << width_bits)
        weights, peak = block_weights(np.exp(-0.5 * np.square(nearest / self.std)))
        prob, alias = alias_table(weights)
        ratio = np.array([peak / w for w in weights], dtype=np.float64)
        for name, value in (
            ("_width_bits", width_bits),
            ("_blocks", blocks),
            ("_prob", prob),
            ("_alias", alias),
            ("_weights", tuple(weights)),
            ("_peak", peak),
            ("_ratio", ratio),
        ):
            object.__setattr__(self, name, value)

    def sample(self, size: int, source: SecureBytes) -> NDArray[np.int64]:
        """`size` independent draws from N_Z(0, std²), shape (size,)."""
        parts: list[NDArray[np.int64]] = []
        missing = size
        while missing > 0:
            batch = self._accepted(missing + missing // 16 + 16, source)[:missing]
            parts.append(batch)
            missing -= len(batch)
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def _accepted(self, candidates: int, source: SecureBytes) -> NDArray[np.int64]:
        """The accepted ones among a number of candidates (steps 1 to 3 of the module)."""
        block = draw_blocks(self._prob, self._alias, words(source, candidates))
        second = words(source, candidates)
        offset = (second & np.uint64((1 << self._width_bits) - 1)).astype(np.int64)
        k = ((block - self._blocks // 2) << self._width_bits) + offset
        u = (second >> np.uint64(64 - self.accept_bits)).astype(np.float64)
        u *= 2.0**-self.accept_bits  # the draw lies in [u, u + 2^-accept_bits)
        square = np.square(k.astype(np.float64))
        chance = np.exp(square * (-0.5 / self.std**2)) * self._ratio[block]
        accept = u + 2.0**-self.accept_bits <= chance * (1 - _BAND)
        unsure = ~accept & (u <= chance * (1 + _BAND))
        for i in np.flatnonzero(unsure):
            bits = int(second[i]) >> (64 - self.accept_bits)
            accept[i] = self._decide(int(k[i]), self._weights[int(block[i])], bits, source)
        return np.asarray(k[accept])

    def _decide(self, k: int, weight: int, bits: int, source: SecureBytes) -> bool:
        """Whether u < a(k), with u refined and a(k) computed until they part."""
        u, resolution = bits, self.accept_bits
        variance = Fraction(self.std) ** 2
        while True:
            digits = resolution + 30  # decimal digits: far finer than u's resolution in bits
            with decimal.localcontext(decimal.Context(prec=digits)):
                exponent = Fraction(k * k) / (2 * variance)
                power = -decimal.Decimal(exponent.numerator) / exponent.denominator
                scale = Fraction(self._peak) / weight
                chance = power.exp() * decimal.Decimal(scale.numerator) / scale.denominator
            exact = Fraction(chance)
            slack = exact * Fraction(1, 10 ** (digits - 5))
            if Fraction(u + 1, 1 << resolution) <= exact - slack:
                return True
            if Fraction(u, 1 << resolution) >= exact + slack:
                return False
            more = int.from_bytes(source.random_bytes(8), "little")
            u, resolution = (u << 64) | more, resolution + 64


def share_std(std: float, honest_shares: int) -> float:
    """Standard deviation of one owner's share, so that `honest_shares` of them make σ.

    Not σ/√n: the n − h owners whose noise an observer may know, or who may drop out, must not
    be counted on.
    """
    if honest_shares < 1:
        raise MechanismError(f"at least one honest share is needed, got {honest_shares}")
    return std / math.sqrt(honest_shares)


def share_sum_gap(share: float, shares: int) -> float:
    """Bound per coordinate on the max-divergence between a sum of shares and N_Z(0, shares·share²).

    Source: Kairouz, Liu and Steinke 2021 (arXiv 2102.06387), their τ:
    10·Σ_{k=1}^{n−1} exp(−2π²·share²·k/(k+1)).
    """
    return 10 * math.fsum(
        math.exp(-2 * math.pi**2 * share**2 * k / (k + 1)) for k in range(1, shares)
    )
