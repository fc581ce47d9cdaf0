"""Differential-privacy guarantees as types: a number without its unit is not a guarantee."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class Unit(enum.StrEnum):
    """What one neighbouring data set has more, or has changed."""

    RECORD = "record"
    """One labelled example (a pixel with its features)."""
    TILE = "tile"
    """All that one owner holds inside one tile of its grid."""
    PIXEL = "pixel"
    """One ground pixel, labelled or not, wherever it enters a computation."""


class Adjacency(enum.StrEnum):
    """The neighbouring relation between two data sets."""

    ADD_REMOVE = "add_remove"
    """One has one unit more than the other (Dwork and Roth 2014)."""
    REPLACE_ONE = "replace_one"
    """Both have the same number of units and differ in the content of one."""


@dataclass(frozen=True, slots=True)
class Guarantee:
    """An (ε, δ) guarantee together with what it is a guarantee of.

    Attributes:
        epsilon: ε ≥ 0; `math.inf` where nothing is guaranteed.
        delta: δ in (0, 1).
        unit: what is protected.
        adjacency: the neighbouring relation.

    Raises:
        ValueError: a number outside its range; never rounded or clamped into it.
    """

    epsilon: float
    delta: float
    unit: Unit
    adjacency: Adjacency

    def __post_init__(self) -> None:
        if math.isnan(self.epsilon) or self.epsilon < 0:
            raise ValueError(f"epsilon must be at least 0, got {self.epsilon}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}")

    @property
    def is_finite(self) -> bool:
        """Whether anything at all is guaranteed."""
        return math.isfinite(self.epsilon)

    def json_epsilon(self) -> float | None:
        """ε as written to disk: `None` (JSON null) where it is infinite."""
        return self.epsilon if self.is_finite else None
