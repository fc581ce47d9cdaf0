"""The integer grid of a release: how finely it rounds, and what one tile can move on it.

The owner's clipped sum is rounded once, to nearest or stochastically. Either way two neighbouring
sums differ by at most √dimension more than the s·C they differed by before (s is the scale in grid
units; `feddiff_crypto.fixedpoint` has the two arguments):

    add/remove one tile:  Δ = s·C + √dimension + 1

The last unit covers float64 arithmetic: a sum of up to 10⁶ clipped tiles errs by less than
10⁻⁹ of C, which is far below one grid unit. The scale is chosen so that all that rounding adds is
at most 1 % of s·C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from feddiff_crypto.fixedpoint import Grid

ROUNDING_SHARE = 0.01
_FLOAT_SLACK = 1.0  # grid units


@dataclass(frozen=True, slots=True)
class ReleaseGrid:
    """Grid, ring and sensitivity of one kind of release.

    Attributes:
        scale: grid units per unit of the released value.
        dimension: coordinates released.
        sensitivity: L2 sensitivity under add/remove of one tile, in grid units.
        ring_bits: 32 or 64.
    """

    scale: float
    dimension: int
    sensitivity: float
    ring_bits: int = 32

    @property
    def ring(self) -> Grid:
        """The fixed-point grid that encodes into the ring."""
        return Grid(scale=self.scale, ring_bits=self.ring_bits)

    @property
    def sensitivity_l1(self) -> float:
        """L1 sensitivity under add/remove of one tile, in grid units.

        Two neighbouring vectors are both integer (rounding and the projection onto the public box
        are done on the owner's sum), so their difference v is, and |v_i| ≤ v_i² gives ‖v‖₁ ≤
        ‖v‖₂²; Cauchy and Schwarz give ‖v‖₁ ≤ √dimension·‖v‖₂. What rounding adds is in ‖v‖₂.
        """
        return min(self.sensitivity**2, math.sqrt(self.dimension) * self.sensitivity)

    def coordinate_bound(self, owners: int, total_noise_std: float) -> int:
        """The most that one owner's coordinate may be, so that no sum can leave the ring.

        Owners project onto this box before adding noise. A projection onto a convex set does not
        raise the sensitivity.

        Args:
            owners: n on the roster.
            total_noise_std: standard deviation of the noise of all n shares, grid units.

        Returns:
            The bound in grid units; below 1 means that the noise alone fills the ring.
        """
        limit = self.ring.limit - math.ceil(12 * total_noise_std) - owners
        return limit // owners


def mean_grid(dimension: int, ring_bits: int = 32) -> ReleaseGrid:
    """The grid for a sum over tiles of their mean ψ, or one by class, of norm at most 1."""
    return gradient_grid(1.0, dimension, ring_bits)


def adapter_grid(clip: float, size: int, ring_bits: int = 32) -> ReleaseGrid:
    """The grid for a sum of per-tile gradients of an adapter of `size` numbers.

    One tile, labelled or not, is one term of norm at most `clip`, as in training: the same grid.
    """
    return gradient_grid(clip, size, ring_bits)


def gradient_grid(clip: float, dimension: int, ring_bits: int = 32) -> ReleaseGrid:
    """The grid for a sum of per-tile gradients clipped to `clip`."""
    root = math.sqrt(dimension)
    scale = math.ceil((root + _FLOAT_SLACK) / ROUNDING_SHARE) / clip
    return ReleaseGrid(
        scale=scale,
        dimension=dimension,
        sensitivity=scale * clip + root + _FLOAT_SLACK,
        ring_bits=ring_bits,
    )


def count_grid(ring_bits: int = 32) -> ReleaseGrid:
    """The grid for a number of tiles: an integer already, so one tile moves it by exactly 1."""
    return ReleaseGrid(scale=1.0, dimension=1, sensitivity=1.0, ring_bits=ring_bits)
