"""The public update rule: from noised sums to the model. Elementwise numpy, no torch.

Everything here is post-processing of noised sums, so it costs no privacy, and a verifier can
repeat it from the recorded sums alone.

    W_{t+1} = Y_t − η · S_t / (scale · N),     Y_t = W_t + β (W_t − W_{t−1})
    model   = mean of the iterates after round T - max(1, ⌊T/5⌋)

S_t is the decoded sum of clipped per-tile gradients at Y_t, and N the public denominator (the
expected number of tiles in a batch). N is never an owner's true count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AVERAGED_SHARE = 5  # the model averages one in so many of the rounds, the last ones


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """The constants of a run's updates.

    Attributes:
        step_size: η.
        momentum: β in [0, 1).
        denominator: N > 0, expected tiles a batch.
        scale: grid units per unit of gradient.
        rounds: T.
    """

    step_size: float
    momentum: float
    denominator: float
    scale: float
    rounds: int

    @property
    def averaged(self) -> int:
        """How many of the last iterates the model is the mean of."""
        return max(1, self.rounds // AVERAGED_SHARE)


@dataclass(slots=True)
class Iterates:
    """The state of the optimisation between rounds.

    Attributes:
        rule: the constants.
        weights: W_t, shape (K, D).
        round_index: t, rounds done.
    """

    rule: UpdateRule
    weights: Array
    round_index: int = 0
    _previous: Array = field(init=False)
    _average: Array = field(init=False)

    def __post_init__(self) -> None:
        self._previous = self.weights.copy()
        self._average = np.zeros_like(self.weights)

    @property
    def query(self) -> Array:
        """Y_t, the point at which owners evaluate their gradients in the next round."""
        return self.weights + self.rule.momentum * (self.weights - self._previous)

    def apply(self, total: NDArray[np.int64]) -> None:
        """Take one step with the decoded integer sum, shape (K·D,)."""
        factor = self.rule.step_size / (self.rule.scale * self.rule.denominator)
        updated = self.query - factor * total.reshape(self.weights.shape)
        self._previous, self.weights = self.weights, updated
        self.round_index += 1
        if self.round_index > self.rule.rounds - self.rule.averaged:
            self._average += updated / self.rule.averaged

    def model(self, rounds: int | None = None) -> Array:
        """The mean of the last iterates, once all rounds are done.

        A run that ended short averages what it has in the same window, which begins at a round
        fixed by T; where it ended before that round, the model is its last iterate.

        Args:
            rounds: how many the run has; None for T.

        Raises:
            RuntimeError: called before the last round.
        """
        due = self.rule.rounds if rounds is None else rounds
        if self.round_index != due:
            raise RuntimeError(f"model after {self.round_index} of {due} rounds")
        taken = self.round_index - (self.rule.rounds - self.rule.averaged)
        if taken == self.rule.averaged:
            return self._average
        return self.weights if taken <= 0 else self._average * (self.rule.averaged / taken)

    def arrays(self) -> dict[str, Array]:
        """All that the next steps depend on beside the rule and `round_index`."""
        return {"weights": self.weights, "previous": self._previous, "average": self._average}

    @classmethod
    def restored(cls, rule: UpdateRule, round_index: int, arrays: Mapping[str, Array]) -> Iterates:
        """The state that `arrays` was taken of after `round_index` rounds."""
        iterates = cls(rule, arrays["weights"], round_index)
        iterates._previous, iterates._average = arrays["previous"], arrays["average"].copy()
        return iterates
