"""Real vectors on an integer grid, and integers in the ring of the masks.

A value v lies on the grid as q = round(v · scale): `scale` is the number of grid steps in one unit
of v. The ring is ℤ₂ᵏ with k = 32 or 64, read back centred, in [−2ᵏ⁻¹, 2ᵏ⁻¹).

Reduction modulo 2ᵏ is a homomorphism, so the decoded sum is exact whenever the true sum lies in the
centred range, whatever single vectors did. `Grid.plan` refuses, from public numbers alone and
before any data is touched, a plan whose sum could leave that range; afterwards a wrap, however
improbable, is post-processing of a private sum and costs no privacy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import OverflowRefusedError
from feddiff_crypto.randomness import RandomBytes

RingArray: TypeAlias = NDArray[np.uint32] | NDArray[np.uint64]

RING_BITS: Final = (32, 64)
_EXACT_FLOAT: Final = 2.0**53  # above it, float64 no longer holds every integer


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a plan needs of the ring, in grid units."""

    worst: int  # the largest |coordinate| of the sum that the plan allows for
    limit: int  # the largest that the ring can hold

    @property
    def bits(self) -> float:
        """Unused bits of the ring, ≥ 0."""
        return math.log2(self.limit / max(self.worst, 1))


@dataclass(frozen=True, slots=True)
class Grid:
    """A fixed-point grid and the ring that carries it.

    Args:
        scale: grid steps per unit of the real value, finite and > 0.
        ring_bits: 32 or 64.

    Raises:
        ValueError: `scale` or `ring_bits` outside these.
    """

    scale: float
    ring_bits: int = 32

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale: {self.scale} is not finite and > 0")
        if self.ring_bits not in RING_BITS:
            raise ValueError(f"ring_bits: {self.ring_bits} is not 32 or 64")

    @property
    def limit(self) -> int:
        """The largest centred value, 2ᵏ⁻¹ − 1."""
        return (1 << (self.ring_bits - 1)) - 1

    def plan(
        self,
        *,
        owners: int,
        coordinate_bound: int,
        noise_std: float,
        tail: float = 12.0,
    ) -> Headroom:
        """Refuse a plan whose sum could overflow the ring.

        Args:
            owners: the most vectors that are summed, ≥ 1.
            coordinate_bound: the public bound on one owner's |coordinate| before noise, grid units.
            noise_std: standard deviation of the noise of the whole sum, grid units: with n shares
                of variance σ²/h it is σ·√(n/h).
            tail: noise up to `tail` standard deviations must fit. A (discrete) Gaussian exceeds 12
                with probability < 4e-33 a coordinate.

        Returns:
            The room left.

        Raises:
            ValueError: a number out of range or not finite.
            OverflowRefusedError: the sum does not fit; the message says by how much.
        """
        if owners < 1 or coordinate_bound < 0:
            raise ValueError(f"owners {owners} < 1 or coordinate_bound {coordinate_bound} < 0")
        if not (math.isfinite(noise_std) and noise_std >= 0):
            raise ValueError(f"noise_std: {noise_std} is not finite and ≥ 0")
        if not (math.isfinite(tail) and tail > 0):
            raise ValueError(f"tail: {tail} is not finite and > 0")
        worst = owners * coordinate_bound + math.ceil(tail * noise_std)
        if worst > self.limit:
            raise OverflowRefusedError(
                f"{owners} owners × {coordinate_bound} + {tail} × {noise_std} noise = {worst} "
                f"grid units > {self.limit}, the most that {self.ring_bits} bits hold"
            )
        return Headroom(worst=worst, limit=self.limit)

    def to_ring(self, values: NDArray[np.int64]) -> RingArray:
        """Reduce grid integers of any shape modulo 2ᵏ.

        Raises:
            TypeError: `values` is not int64.
        """
        _check_dtype("values", values, np.dtype(np.int64))
        if self.ring_bits == 32:
            return values.astype(np.uint32)  # C's unsigned conversion reduces modulo 2³²
        return values.astype(np.uint64)

    def from_ring(self, elements: RingArray) -> NDArray[np.int64]:
        """Read ring elements centred, as grid integers in [−2ᵏ⁻¹, 2ᵏ⁻¹).

        Raises:
            TypeError: `elements` is not the unsigned type of this ring.
        """
        _check_dtype("elements", elements, np.dtype(f"u{self.ring_bits // 8}"))
        return elements.astype(f"i{self.ring_bits // 8}").astype(np.int64)

    def from_grid(self, values: NDArray[np.int64]) -> NDArray[np.float64]:
        """Grid integers back to real values: q / scale."""
        return values / self.scale


def round_nearest(values: NDArray[np.float64], scale: float) -> NDArray[np.int64]:
    """Round `values · scale` to the nearest integer, ties to even. Deterministic.

    Rounding moves a vector of `d` coordinates by at most √d / 2 in L2, in grid units; two
    neighbouring sums therefore differ by at most √d more than before.

    Args:
        values: float64, any shape.
        scale: grid steps per unit.

    Raises:
        TypeError: `values` is not float64.
        OverflowRefusedError: a coordinate is not finite, or beyond ±2⁵³ grid units, where float64
            skips integers and rounding would no longer be to nearest.
    """
    _check_dtype("values", values, np.dtype(np.float64))
    steps = values * scale
    largest = float(np.max(np.abs(steps), initial=0.0))  # a NaN stays a NaN
    if not largest <= _EXACT_FLOAT:
        raise OverflowRefusedError(f"largest |coordinate| {largest} is not within 2^53 grid units")
    return np.rint(steps).astype(np.int64)


def round_stochastic(
    values: NDArray[np.float64], scale: float, random: RandomBytes
) -> NDArray[np.int64]:
    """Round `values · scale` up with the probability of its fraction, else down. Unbiased.

    Each coordinate is rounded with a threshold u, uniform on a grid of 2⁻⁵³: up if u is below its
    fraction. For one u, rounding is monotone and moves by whole steps with its argument, so two
    values differ by less than one step more afterwards than before, as with `round_nearest`: two
    vectors of `d` coordinates by at most √d more. Divergences that are jointly convex, as the one
    that defines (ε, δ), are then bounded by those for the worst u.

    Args:
        values: float64, any shape.
        scale: grid steps per unit.
        random: where the thresholds come from.

    Raises:
        TypeError, OverflowRefusedError: as `round_nearest`.
    """
    _check_dtype("values", values, np.dtype(np.float64))
    steps = values * scale
    largest = float(np.max(np.abs(steps), initial=0.0))
    if not largest <= _EXACT_FLOAT:
        raise OverflowRefusedError(f"largest |coordinate| {largest} is not within 2^53 grid units")
    words = np.frombuffer(random.random_bytes(8 * values.size), np.uint64).reshape(values.shape)
    threshold = (words >> np.uint64(11)) * 2.0**-53
    floor = np.floor(steps)
    return floor.astype(np.int64) + (threshold < steps - floor)


def saturate(values: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], float]:
    """Project each coordinate to [−bound, bound].

    The projection is per coordinate and idempotent. The fraction is computed from private values:
    it is for the owner's own eyes and must not leave it.

    Args:
        values: int64, any shape.
        bound: ≥ 0, grid units.

    Returns:
        The projected array, and the fraction of coordinates that were outside, in [0, 1].

    Raises:
        TypeError: `values` is not int64.
        ValueError: `bound` is negative.
    """
    _check_dtype("values", values, np.dtype(np.int64))
    if bound < 0:
        raise ValueError(f"bound: {bound} < 0")
    projected = np.clip(values, -bound, bound)
    clipped = int(np.count_nonzero(projected != values))
    return projected, clipped / max(values.size, 1)


def _check_dtype(what: str, array: NDArray[np.generic], expected: np.dtype[np.generic]) -> None:
    if array.dtype != expected:
        raise TypeError(f"{what}: dtype {array.dtype}, expected {expected}")
