"""How good a reconstruction is, against the truth and against chance.

Likeness alone shows little: spectra of one class resemble each other, so the mean of a class has a
high correlation with each of them. So a reconstruction must also pick its own tile out of m tiles
of one owner and one class. The tile was drawn evenly from the m, so whatever does not depend on
the draw is right with probability 1/m exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.attacks.roc import clopper_pearson
from feddiff_secure.errors import DataError
from feddiff_secure.model.quality import spectral_angle

Floats = NDArray[np.float64]
CANDIDATES = (10, 5, 3, 2)  # m, the largest that some class allows
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """One attempt.

    Attributes:
        found: (B,), what the attack says.
        candidates: (m, B), the true signals of the tiles that it could have been.
        index: which of them it was.
    """

    found: Floats
    candidates: Floats
    index: int

    @property
    def truth(self) -> Floats:
        """(B,), the signal that was attacked."""
        return np.asarray(self.candidates[self.index])

    @property
    def identified(self) -> bool:
        """Whether the nearest candidate is the right one."""
        return int(np.square(self.candidates - self.found).sum(axis=1).argmin()) == self.index


@dataclass(frozen=True, slots=True)
class Likeness:
    """Means over attempts.

    Attributes:
        correlation: Pearson's, over channels, −1…1.
        psnr: peak signal-to-noise ratio in dB of all values together, the peak being the range of
            the true ones.
        angle: spectral angle, radians.
    """

    correlation: float
    psnr: float
    angle: float


@dataclass(frozen=True, slots=True, eq=False)
class InversionScore:
    """What one attack on one kind of observation achieved.

    Attributes:
        name: what was observed.
        assumption: what the attacker knows besides.
        to_truth: likeness of reconstructions to the attacked signals.
        to_others: likeness to the other candidates: what a guess within the class would have.
        hits: tiles identified. attempts: tiles attacked.
        candidates: m.
        shown: some attempts, for the picture.
    """

    name: str
    assumption: str
    to_truth: Likeness
    to_others: Likeness
    hits: int
    attempts: int
    candidates: int
    shown: tuple[Reconstruction, ...]

    @classmethod
    def of(cls, name: str, assumption: str, found: Sequence[Reconstruction]) -> InversionScore:
        """Score the attempts, all with the same number of candidates.

        Raises:
            DataError: no attempt.
        """
        if not found:
            raise DataError(
                f"{name}: no class with two tiles to tell apart", "attack a run with more tiles"
            )
        truth = np.stack([one.truth for one in found])
        others = np.stack([np.delete(one.candidates, one.index, axis=0) for one in found])
        guesses = np.stack([one.found for one in found])
        return cls(
            name,
            assumption,
            _likeness(guesses, truth),
            _likeness(np.repeat(guesses, others.shape[1], axis=0), np.concatenate(others)),
            sum(one.identified for one in found),
            len(found),
            len(found[0].candidates),
            tuple(found[:6]),
        )

    @property
    def chance(self) -> float:
        """Identification by guessing."""
        return 1.0 / self.candidates

    @property
    def identification(self) -> float:
        """Share of tiles identified, 0…1."""
        return self.hits / self.attempts

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of it (Clopper and Pearson)."""
        return clopper_pearson(self.hits, self.attempts, CONFIDENCE)

    @property
    def ceiling(self) -> float:
        """The lower end that all attempts right would have had."""
        return clopper_pearson(self.attempts, self.attempts, CONFIDENCE)[0]

    @property
    def above_chance(self) -> bool:
        """Whether the whole interval lies above chance."""
        return self.interval[0] > self.chance


def candidate_count(available: Sequence[int]) -> int:
    """m: the largest allowed number of candidates that some class has tiles for; 0 for none."""
    most = max(available, default=0)
    return next((m for m in CANDIDATES if m <= most), 0)


def _likeness(found: Floats, truth: Floats) -> Likeness:
    a = found - found.mean(axis=1, keepdims=True)
    b = truth - truth.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    correlation = (a * b).sum(axis=1) / np.maximum(lengths, 1e-300)
    peak = max(float(truth.max() - truth.min()), 1e-12)
    error = max(float(np.square(found - truth).mean()), 1e-30)
    return Likeness(
        float(correlation.mean()),
        float(10.0 * np.log10(peak**2 / error)),
        float(spectral_angle(found, truth).mean()),
    )
