"""The outcome of an audit as data: what is claimed, what was shown, what could have been shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feddiff_privacy.attacks.gaussian_estimate import GaussianEstimate
from feddiff_privacy.attacks.guesses import LowerBound
from feddiff_secure.attack.canary_audit import CanaryFindings, CanaryScores
from feddiff_secure.attack.rerun import RecordedRun
from feddiff_secure.attack.shadows import Membership
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.adversaries import CALIBRATED
from feddiff_secure.version import __version__

FORMAT = 1
Row = tuple[str, str, str, str]
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
                "row": CALIBRATED,
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
            "estimate": None if found.estimate is None else _estimate(found.estimate),
            "membership_inference": None
            if self.membership is None
            else _membership(self.membership),
            "claim_refuted": bool(self.refuted_by),
        }

    def to_lines(self) -> list[str]:
        """The table for people."""
        found, claimed = self.findings, self.run.epsilon
        claim = f"{claimed:.3f}" if math.isfinite(claimed) else "none"
        canaries = f"{len(self.scores.scores)} canaries; 1 is as claimed"
        rows = [("", "epsilon", "ceiling", ""), ("claimed", claim, "", f"delta {self.run.delta:g}")]
        rows += [_bound_row(bound) for bound in found.bounds]
        if found.estimate is not None:
            rows.append(_estimate_row(found.estimate))
        if found.noise_ratio is not None:
            rows.append(("noise seen over claimed", f"{found.noise_ratio:.3f}", "", canaries))
        rows.append(("gradient seen over clip", f"{found.gradient_ratio:.3f}", "", canaries))
        return [_row(*row) for row in [*rows, *_membership_rows(self.membership)]]


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


def write_report(found: Mapping[str, Any], out: Path) -> None:
    """Write an audit's object as JSON, whole or not at all."""
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial = out.with_name(out.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(out)


def finite(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return value if math.isfinite(value) else None


def _row(name: str, value: str, ceiling: str, remark: str) -> str:
    return f"{name:<44}{value:>9}{ceiling:>9}   {remark}".rstrip()


def _bound_row(bound: LowerBound) -> Row:
    right = f"{bound.guesses.correct} of {bound.guesses.made} guesses right"
    name = f"lower bound, {bound.method}"
    return name, f"{bound.epsilon:.3f}", f"{bound.ceiling:.3f}", f"{bound.confidence:.0%}; {right}"


def _estimate_row(found: GaussianEstimate) -> Row:
    limit = f"one-sided limit {found.epsilon_lower:.3f} ({found.confidence:.0%})"
    remark = f"mu {found.mu:.3f} ± {found.standard_error:.3f}; {limit}"
    return "estimate, Gaussian-parametric (not a bound)", f"{found.epsilon:.3f}", "none", remark


def _membership_rows(found: Membership | None) -> list[Row]:
    if found is None:
        return []

    def row(name: str, value: float, interval: tuple[float, float]) -> Row:
        remark = f"95% interval {interval[0]:.3f} to {interval[1]:.3f}"
        return name, f"{value:.3f}", "", remark

    return [
        row("membership inference (LiRA), AUC", found.curve.auc, found.auc_interval),
        row("LiRA, true positives at 1% false ones", found.tpr, found.tpr_interval),
    ]


def _bound(bound: LowerBound) -> dict[str, Any]:
    return {
        "method": bound.method,
        "epsilon": finite(bound.epsilon),
        "ceiling": finite(bound.ceiling),
        "confidence": bound.confidence,
        "guesses": bound.guesses.made,
        "right": bound.guesses.correct,
    }


def _estimate(found: GaussianEstimate) -> dict[str, Any]:
    return {
        "method": "Gaussian-parametric estimate (not a bound)",
        "epsilon": finite(found.epsilon),
        "epsilon_lower_limit": finite(found.epsilon_lower),
        "confidence_of_limit": found.confidence,
        "mu": finite(found.mu),
        "mu_standard_error": finite(found.standard_error),
        "ceiling": None,
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
