"""What one owner adds to a secure sum: its rounded value plus its noise share, in the ring.

Nothing else of an owner ever enters a sum, and nothing leaves the owner without the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.fixedpoint import RingArray, round_nearest, round_stochastic, saturate
from feddiff_privacy.mechanisms import Mechanism, noise_sampler
from feddiff_privacy.randomness import SecureBytes
from feddiff_secure.aggregation.grid import ReleaseGrid

ROUNDINGS = ("nearest", "stochastic")


@dataclass(frozen=True, slots=True)
class Contribution:
    """One owner's vector for a secure sum, and what only the owner may know about it.

    Attributes:
        vector: ring elements, shape (dimension,): masked next, never sent as it is.
        saturated: fraction of coordinates that hit the coordinate bound. Computed from private
            data: for the owner's own log.
    """

    vector: RingArray
    saturated: float


def contribution(
    value: NDArray[np.float64],
    grid: ReleaseGrid,
    *,
    coordinate_bound: int,
    share_std: float | NDArray[np.float64],
    mechanism: Mechanism = "discrete_gaussian",
    source: SecureBytes,
    rounding: str = "nearest",
) -> Contribution:
    """Round, project onto the public box, add the noise share, reduce into the ring.

    Args:
        value: the clipped sum (or the count), flattened to (dimension,).
        grid: the release's grid.
        coordinate_bound: public bound on a coordinate, grid units.
        share_std: standard deviation of this owner's noise in grid units, one for all coordinates
            or one each; 0 adds none.
        mechanism: which integer noise.
        source: secure randomness.
        rounding: `nearest` or `stochastic`; the same sensitivity bound holds for both.

    Raises:
        ValueError: another number of coordinates than the grid's, or another rounding.
        MechanismError: a standard deviation above 0 that the noise is not proven for.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding {rounding!r} is not one of {ROUNDINGS}")
    if value.shape != (grid.dimension,):
        raise ValueError(f"value has shape {value.shape}, the grid ({grid.dimension},)")
    on_grid = (
        round_nearest(value, grid.scale)
        if rounding == "nearest"
        else round_stochastic(value, grid.scale, source)
    )
    rounded, saturated = saturate(on_grid, coordinate_bound)
    stds = np.broadcast_to(np.asarray(share_std, dtype=np.float64), (grid.dimension,))
    for std in np.unique(stds[stds > 0]):
        chosen = np.flatnonzero(stds == std)
        rounded[chosen] += noise_sampler(mechanism, float(std)).sample(chosen.size, source)
    return Contribution(vector=grid.ring.to_ring(rounded), saturated=saturated)
