"""The picture of an inversion: true signals beside the reconstructed ones, attack by attack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from feddiff_secure.attack.inversion_report import InversionReport
from feddiff_secure.attack.reconstruction import InversionScore, Reconstruction

_TRUE, _FOUND, _OTHERS = "#222222", "#b2182b", "#cccccc"
_COLUMNS = 4


def write_inversion_picture(report: InversionReport, path: Path) -> None:
    """Write a PNG: a row an attack, a few attempts each, the other candidates in grey."""
    rows = len(report.scores)
    figure = Figure(figsize=(3.0 * _COLUMNS, 2.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for row, score in zip(axes, report.scores, strict=True):
        for column, place in enumerate(row):
            if column < len(score.shown):
                _draw(place, score.shown[column], legend=column == 0)
            else:
                place.set_axis_off()
        row[0].set_title(_title(score), fontsize=9, loc="left")
    figure.savefig(path, dpi=110, format="png")


def _title(score: InversionScore) -> str:
    return (
        f"{score.name}: {score.identification:.2f} identified, chance {score.chance:.2f}, "
        f"95% {score.interval[0]:.2f} to {score.interval[1]:.2f}"
    )


def _draw(axes: Axes, shown: Reconstruction, *, legend: bool) -> None:
    channels = np.arange(1, len(shown.truth) + 1)
    for other in np.delete(shown.candidates, shown.index, axis=0):
        axes.plot(channels, other, color=_OTHERS, linewidth=0.6)
    axes.plot(channels, shown.truth, color=_TRUE, linewidth=1.4, label="true")
    axes.plot(channels, shown.found, color=_FOUND, linewidth=1.0, label="reconstructed")
    low, high = float(shown.candidates.min()), float(shown.candidates.max())
    pad = 0.3 * max(high - low, 1e-6)
    axes.set_ylim(low - pad, high + pad)  # a reconstruction that leaves it is cut off
    axes.tick_params(labelsize=7)
    if legend:
        axes.set_xlabel("channel", fontsize=7)
        axes.legend(frameon=False, fontsize=7)
