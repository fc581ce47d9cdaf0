"""The outcome of an audit as data: what is claimed, what was shown, what could have been shown."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feddiff_privacy.attacks.guesses import LowerBound
from feddiff_secure.attack.canary_audit import CanaryFindings, CanaryScores
from feddiff_secure.attack.rerun import RecordedRun
from feddiff_secure.attack.shadows import Membership
from feddiff_secure.errors import UsageError
from feddiff_secure.version import __version__

FORMAT = 1
PRIVATE_NOTE = (
    "Computed from data without noise, outside epsilon: results on private data stay with the "
    "owner of that data."
)


@dataclass(frozen=True, slots=True, eq=False)
class AuditReport:
    """Everything that one `audit attack` found.

    Attributes:
        run: the recorded run.
        seed: of canaries, coins and halves.
        scores: the canaries' scores.
        findings: what they show.
        membership: LiRA on shadow runs; None where none were asked for.
    """

    run: RecordedRun
    seed: int
    scores: CanaryScores
    findings: CanaryFindings
    membership: Membership | None

    @property
    def refuted_by(self) -> list[LowerBound]:
        """The bounds above the claimed ε; an estimate never refutes."""
        return [bound for bound in self.findings.bounds if bound.epsilon > self.run.epsilon]

    def to_json(self) -> dict[str, Any]:
        """The object of the audit's file; infinite values are null."""
        found = self.findings
        return {
            "version": FORMAT,
            "code_version": __version__,
            "note": PRIVATE_NOTE,
            "run": str(self.run.directory),
            "seed": self.seed,
            "claimed": {"epsilon": finite(self.run.epsilon), "delta": self.run.delta},
            "observer": {
                "row": "coordinator_and_colluders",
                "noise_shares": self.scores.view.shares,
                "colluding": list(self.scores.view.colluding),
                "dropped": list(self.scores.view.dropped),
            },
            "canaries": {
                "number": len(self.scores.scores),
                "included": int(self.scores.included.sum()),
                "noise_ratio": found.noise_ratio,
                "gradient_ratio": finite(found.gradient_ratio),
            },
            "lower_bounds": [_bound(bound) for bound in found.bounds],
            "estimate": {
                "method": "Gaussian-parametric estimate (not a bound)",
                "epsilon": finite(found.estimate.epsilon),
                "epsilon_lower_limit": finite(found.estimate.epsilon_lower),
                "confidence_of_limit": found.estimate.confidence,
                "mu": finite(found.estimate.mu),
                "mu_standard_error": finite(found.estimate.standard_error),
                "ceiling": None,
            },
            "membership_inference": None
            if self.membership is None
            else _membership(self.membership),
            "claim_refuted": bool(self.refuted_by),
        }

    def to_lines(self) -> list[str]:
        """The table for people."""
        found, run = self.findings, self.run
        claim = (
            f"{run.epsilon:.3f} at delta {run.delta:g}" if math.isfinite(run.epsilon) else "none"
        )
        estimate = found.estimate
        lines = [
            f"{'claimed epsilon':<42}{claim}",
            f"{'':<42}{'epsilon':>9}{'ceiling':>9}",
            *(
                f"{f'lower bound, {b.method} ({b.confidence:.0%})':<42}{b.epsilon:>9.3f}"
                f"{b.ceiling:>9.3f}   {b.guesses.correct} of {b.guesses.made} guesses right"
                for b in found.bounds
            ),
            f"{'estimate, Gaussian-parametric (no bound)':<42}{estimate.epsilon:>9.3f}{'none':>9}   "
            f"mu {estimate.mu:.3f} +- {estimate.standard_error:.3f}; lower limit "
            f"{estimate.epsilon_lower:.3f} ({estimate.confidence:.0%})",
        ]
        if found.noise_ratio is not None:
            lines.append(
                f"{'noise seen / claimed, gradient / clip':<42}{found.noise_ratio:>9.3f}"
                f"{found.gradient_ratio:>9.3f}   {len(self.scores.scores)} canaries"
            )
        if self.membership is not None:
            m = self.membership
            lines += [
                f"{'membership inference (LiRA), AUC':<42}{m.curve.auc:>9.3f}{'':>9}   "
                f"95 %: {m.auc_interval[0]:.3f} to {m.auc_interval[1]:.3f}",
                f"{'true positives at 1 % false ones':<42}{m.tpr:>9.3f}{'':>9}   "
                f"95 %: {m.tpr_interval[0]:.3f} to {m.tpr_interval[1]:.3f}",
            ]
        return lines


def check_output(out: Path, run: Path) -> None:
    """Refuse to write over anything, or into the run: its files are evidence.

    Raises:
        UsageError: a path inside the run directory, an existing file, or no folder for it.
    """
    if out.suffix != ".json":
        raise UsageError(f"out: {out} is not a .json path", "give --out FILE.json")
    if out.resolve().is_relative_to(run.resolve()):
        raise UsageError(
            f"out: {out} lies inside the run directory",
            "write elsewhere: the files of a run are not added to afterwards",
        )
    for path in (out, picture_path(out)):
        if path.exists():
            raise UsageError(f"out: {path} exists", "give another --out, or remove it")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"out: {out.parent} is not a directory", "make it first")


def picture_path(out: Path) -> Path:
    """Where the picture goes: beside the JSON."""
    return out.with_suffix(".png")


def write_report(report: AuditReport, out: Path) -> None:
    """Write the JSON whole or not at all."""
    text = json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial = out.with_name(out.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, out)


def finite(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return value if math.isfinite(value) else None


def _bound(bound: LowerBound) -> dict[str, Any]:
    return {
        "method": bound.method,
        "epsilon": finite(bound.epsilon),
        "ceiling": finite(bound.ceiling),
        "confidence": bound.confidence,
        "guesses": bound.guesses.made,
        "right": bound.guesses.correct,
    }


def _membership(found: Membership) -> dict[str, Any]:
    return {
        "attack": "LiRA, online, on the final model",
        "auc": found.curve.auc,
        "auc_interval": list(found.auc_interval),
        "tpr_at_1_percent_fpr": found.tpr,
        "tpr_interval": list(found.tpr_interval),
        "pool_tiles": found.pool,
        "shadow_models": found.shadows,
        "attacked_models": found.attacked,
    }
