"""The range of every number in the configuration, in one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from feddiff_privacy.calibrate import COUNT_SHARE
from feddiff_privacy.ledger.entries import MOST_LIFETIME
from feddiff_secure.errors import UsageError

MOST_OWNERS = 100
MOST_ROUNDS = 10_000
MOST_SPARE = 100
MOST_PRIOR_ROUNDS = 1000
MOST_TILE = 64
LEAST_EPSILON = 0.01
MOST_EPSILON = 100.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values a number may have.

    Attributes:
        low: the least. high: the largest.
        open_ended: whether low and high themselves are excluded.
        or_infinite: whether `inf` is allowed too.
    """

    low: float
    high: float
    open_ended: bool = False
    or_infinite: bool = False

    def admits(self, value: float) -> bool:
        """Whether a value is in range; nan never is."""
        if value == math.inf:
            return self.or_infinite
        if self.open_ended:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.open_ended:
            return f"above {self.low:.10g} and below {self.high:.10g}"
        return f"{self.low:.10g} to {self.high:.10g}" + (", or inf" if self.or_infinite else "")


BOUNDS: Mapping[str, Bounds] = MappingProxyType(
    {
        "epsilon": Bounds(LEAST_EPSILON, MOST_EPSILON, or_infinite=True),
        "delta": Bounds(0, 1, open_ended=True),
        "sampling_rate": Bounds(1e-3, 1.0),
        "rounds": Bounds(1, MOST_ROUNDS),
        "spare_attempts": Bounds(0, MOST_SPARE),
        "seed": Bounds(0, 2**32 - 1),
        "dropouts": Bounds(0, MOST_OWNERS),
        "owners": Bounds(2, MOST_OWNERS),
        "colluders": Bounds(0, MOST_OWNERS),
        "nominal_tiles": Bounds(1, 10**8),
        "count_fraction": Bounds(1e-4, COUNT_SHARE),
        "mean_fraction": Bounds(1e-4, 0.5),
        "class_fraction": Bounds(1e-4, 0.5),
        "prior_rounds": Bounds(1, MOST_PRIOR_ROUNDS),
        "prior_fraction": Bounds(1e-4, 0.5),
        "clip": Bounds(1e-3, 100.0),
        "tile": Bounds(1, MOST_TILE),
        "lifetime_epsilon": Bounds(LEAST_EPSILON, MOST_LIFETIME),
    }
)
"""By key; a number of the configuration that is not here is a choice (`ring_bits`)."""


def check_bounds(name: str, value: float) -> None:
    """Refuse a value outside the bounds of its key.

    Raises:
        UsageError: naming the key, the value and the bounds.
    """
    bounds = BOUNDS[name]
    if not bounds.admits(value):
        raise UsageError(f"{name} is {_short(value)}", f"give a value: {bounds}")


def _short(value: float) -> str:
    """A number for a message; an integer from a file may have thousands of digits."""
    try:
        return f"{value:g}"
    except OverflowError:  # beyond any float
        return f"{str(value)[:12]}…"
