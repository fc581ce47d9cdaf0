"""The outcome of an inversion as data: likeness, identification, chance, and what that says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from feddiff_secure.attack.audit_report import PRIVATE_NOTE, finite
from feddiff_secure.attack.reconstruction import CONFIDENCE, InversionScore
from feddiff_secure.attack.rerun import RecordedRun
from feddiff_secure.version import __version__

FORMAT = 1
LIMITS = (
    "One attack (a linear decoder) on a few tiles. Chance level is not a proof of privacy, only "
    "the failure of this attack; each interval is wrong with probability at most 5 %."
)


@dataclass(frozen=True, slots=True)
class InversionReport:
    """Everything that one inversion found.

    Attributes:
        run: the recorded run.
        seed: of targets and candidates.
        scores: one a kind of observation.
    """

    run: RecordedRun
    seed: int
    scores: tuple[InversionScore, ...]

    def to_json(self) -> dict[str, Any]:
        """The object of the audit's file."""
        return {
            "version": FORMAT,
            "kind": "inversion",
            "code_version": __version__,
            "note": PRIVATE_NOTE,
            "run": str(self.run.directory),
            "profile": self.run.config.profile,
            "seed": self.seed,
            "claimed": {"epsilon": finite(self.run.epsilon), "delta": self.run.delta},
            "limits": LIMITS,
            "attacks": [_score(score) for score in self.scores],
        }

    def to_lines(self) -> list[str]:
        """The table for people."""
        head = f"{'':<40}{'identified':>11}{'chance':>8}   {'95% interval':<17}{'ceiling':>8}"
        lines = [f"{head}{'corr.':>8}{'(others)':>9}{'PSNR':>7}{'angle':>7}"]
        for score in self.scores:
            low, high = score.interval
            lines.append(
                f"{score.name:<40}{score.identification:>11.3f}{score.chance:>8.3f}   "
                f"{f'{low:.3f} to {high:.3f}':<17}{score.ceiling:>8.3f}"
                f"{score.to_truth.correlation:>8.3f}{score.to_others.correlation:>9.3f}"
                f"{score.to_truth.psnr:>7.1f}{score.to_truth.angle:>7.3f}"
            )
        lines += [f"{score.name}: {verdict(score)}" for score in self.scores]
        return [*lines, LIMITS]


def verdict(score: InversionScore) -> str:
    """What the numbers say, and no more."""
    counted = f"{score.hits} of {score.attempts} tiles identified among {score.candidates}"
    if score.above_chance:
        return f"{counted}: above chance, reconstructions show which tile it was"
    if score.interval[1] < score.chance:
        return f"{counted}: below chance, look for a mistake in the attack"
    return f"{counted}: not distinguished from chance by this attack"


def _score(score: InversionScore) -> dict[str, Any]:
    return {
        "observed": score.name,
        "attacker_knows": score.assumption,
        "attempts": score.attempts,
        "candidates": score.candidates,
        "identified": score.identification,
        "chance": score.chance,
        "interval": list(score.interval),
        "confidence": CONFIDENCE,
        "ceiling": score.ceiling,
        "likeness_to_truth": asdict(score.to_truth),
        "likeness_to_other_candidates": asdict(score.to_others),
        "above_chance": score.above_chance,
        "verdict": verdict(score),
    }
