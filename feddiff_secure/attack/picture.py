"""The picture of an audit: what the canaries' scores look like, and how well an attack can sort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feddiff_privacy.attacks.roc import roc
from feddiff_secure.attack.audit_report import AuditReport

_IN, _OUT, _CHANCE = "#b2182b", "#2166ac", "#888888"


def write_picture(report: AuditReport, path: Path) -> None:
    """Write a PNG: histograms of the scores in and out, and the ROC of both attacks."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    _histograms(left, report)
    _curves(right, report)
    figure.savefig(path, dpi=130, format="png")


def _histograms(axes: Axes, report: AuditReport) -> None:
    scores, included = report.scores.scores, report.scores.included
    bins = np.histogram_bin_edges(scores, bins=40).tolist()
    for kind, colour, label in ((~included, _OUT, "out"), (included, _IN, "in")):
        axes.hist(scores[kind], bins=bins, color=colour, alpha=0.6, label=f"canaries {label}")
    unit = "of the claimed noise" if report.findings.noise_ratio is not None else "of the clip"
    axes.set_xlabel(f"score, in units {unit}")
    axes.set_ylabel("canaries")
    axes.legend(frameon=False)
    estimate = report.findings.estimate
    axes.set_title(
        "no noise"
        if estimate is None
        else f"claimed ε {report.run.epsilon:.3g}, estimate {estimate.epsilon:.3g} (not a bound)",
        fontsize=10,
    )


def _curves(axes: Axes, report: AuditReport) -> None:
    curves = [("canaries, white box", roc(report.scores.scores, report.scores.included), _IN)]
    if report.membership is not None:
        curves.append(("LiRA, final model", report.membership.curve, _OUT))
    for label, curve, colour in curves:
        axes.plot(curve.fpr, curve.tpr, color=colour, label=f"{label}: AUC {curve.auc:.3f}")
    axes.plot([0, 1], [0, 1], color=_CHANCE, linewidth=0.8, linestyle="--")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_title("who is in the training data?", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
