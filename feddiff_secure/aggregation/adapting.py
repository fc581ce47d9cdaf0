"""The adapter of the HSI branch, from noised sums: the public rule, in elementwise numpy.

Before the mean of ψ the owners release R sums of per-tile gradients of the diffusion loss, clipped
to C, at the adapter θ_t. All that follows is post-processing, repeated by verifiers:

    u_t     = max(0, 1 − v/‖S_t‖²) · S_t / ‖S_t‖     v: squared norm that the noise alone has
    θ_{t+1} = θ_t − η (1 − t/R) · u_t                 θ_0 = 0, the shipped branch
    A_{t+1} = A_t + (1 − β)(θ_{t+1} − A_t)            A_0 = 0

and A_R is the released adapter. A step has a direction and no length of its own, so no number of
tiles is in it: unlabelled tiles take part here, and how many there are is released nowhere. The
first factor (James and Stein 1961, positive part, as for the mean of ψ) takes back the part of a
step that noise explains: where the sum is all noise, the branch stays as shipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STEP = 0.3  # η, of the length of θ: the least held-out loss on the simulated scene (ADR 13)
DECAY = 0.5  # β
CLIP = 0.05  # C: most gradients of a tile are longer
MOST_SIZE = 1 << 16  # P


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The public numbers of the phase `prior`.

    Attributes:
        size: P, numbers in the adapter.
        rounds: R.
        clip: C, the L2 bound of one tile's gradient.
        share_std: one owner's noise in a round, grid units.
    """

    size: int
    rounds: int
    clip: float
    share_std: float


@dataclass(frozen=True, slots=True, eq=False)
class AdapterState:
    """The adapter between two rounds.

    Attributes:
        rounds: t, done. values: θ_t, where the next gradients are taken. average: A_t.
    """

    rounds: int
    values: Array
    average: Array

    @property
    def arrays(self) -> tuple[Array, Array]:
        """`values` and `average`."""
        return self.values, self.average

    @classmethod
    def begun(cls, size: int) -> AdapterState:
        """The shipped branch."""
        return cls(0, np.zeros(size), np.zeros(size))

    def after(self, total: NDArray[np.int64], noise_std: Array, rounds: int) -> AdapterState:
        """The state after one more round.

        Args:
            total: the decoded sum, grid units, (P,).
            noise_std: standard deviation of the sum's noise, grid units, (P,).
            rounds: R of the plan.
        """
        squared = _sum(np.square(total.astype(np.float64)))
        values = self.values
        if squared > 0:
            kept = max(0.0, 1 - _sum(np.square(noise_std)) / squared)
            length = STEP * (1 - self.rounds / rounds) * kept / math.sqrt(squared)
            values = values - length * total
        average = self.average + (1 - DECAY) * (values - self.average)
        return AdapterState(self.rounds + 1, values, average)


def to_rows(adapter: Array, columns: int) -> Array:
    """The adapter as rows of so many columns, filled up with zeros."""
    rows = -(-len(adapter) // columns)
    return np.concatenate([adapter, np.zeros(rows * columns - len(adapter))]).reshape(rows, columns)


def from_rows(rows: Array, size: int) -> Array:
    """The adapter (P,) that `to_rows` made rows of.

    Raises:
        ValueError: the rest is not zeros.
    """
    flat = rows.ravel()
    if flat[size:].any():
        raise ValueError("numbers behind the adapter")
    return flat[:size]


def _sum(values: Array) -> float:
    """The sum, rounded once: the same in any order, on any machine."""
    return math.fsum(values.tolist())
