"""The figures of a report: utility against ε, accuracy by class, confusion, seconds by stage."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from feddiff_secure.report.svg import plain, styled, svg_of

BLUE, ORANGE, GREEN, GREY, RED = "#0072b2", "#d55e00", "#009e73", "#666666", "#882255"
_WIDTH: Final = 4.6  # inches: on a narrow screen 10 pt is still 10 pixels
_NO_PRIVACY_GAP: Final = 0.35  # decades between the largest ε and ∞
_ROOM: Final = 0.08  # of a metric, below and above the means
_STAGES: Final = (BLUE, "#56b4e9", GREEN, "#e69f00", ORANGE, "#cc79a7", GREY, "#332288")
_SERIES: Final = (BLUE, ORANGE, GREEN, RED)


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a figure.

    Attributes:
        label: in the legend. colour: of line and bars. dashes: of the line, as matplotlib has it.
        marker: of its points.
        values: (ε, mean, low, high); low and high None without an interval.
    """

    label: str
    colour: str
    dashes: str
    marker: str
    values: tuple[tuple[float, float, float | None, float | None], ...]


def utility_chart(metric: str, series: Sequence[Series], salt: str) -> Markup:
    """A metric against ε, logarithmic, ∞ at the right; bars are intervals.

    Args:
        metric: its name, as the axis has it.
        series: at least one, of at least one value.
        salt: of the figure's ids.
    """
    with styled(salt):
        figure = Figure(figsize=(_WIDTH, 3.1), layout="constrained")
        _utility(figure.subplots(), metric, series)
        columns = 2 if len(series) > 2 else max(1, len(series))
        figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return svg_of(figure, salt, f"{metric} against epsilon")


def utility_figure(panels: Sequence[tuple[str, str, Sequence[Series]]], salt: str) -> bytes:
    """Several utility charts side by side, as an SVG file of its own.

    Args:
        panels: title, metric and lines of each; at least one.
        salt: of the figure's ids.
    """
    with styled(salt, as_paths=True):
        figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
        for axes, (title, metric, series) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _utility(axes, metric, series)
            axes.set_title(plain(title, 40), fontsize=10)
        handles = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, frameon=False)
        made = io.BytesIO()
        figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    return made.getvalue()


def _utility(axes: Any, metric: str, series: Sequence[Series]) -> None:
    finite = sorted({e for line in series for e, *_ in line.values if math.isfinite(e)})
    at = {e: math.log10(e) for e in finite}
    at[math.inf] = (max(at.values()) if at else 0.0) + _NO_PRIVACY_GAP
    shown = [e for e in (*finite, math.inf) if any(e == v[0] for s in series for v in s.values)]
    step = 0.02 * max(1.0, max(at.values()) - min(at.values()))
    for number, line in enumerate(series):
        _draw(axes, line, at, step * (number - (len(series) - 1) / 2))
    axes.set_xticks([at[e] for e in shown], ["∞" if math.isinf(e) else f"{e:g}" for e in shown])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("ε (∞: no privacy)")
    axes.set_ylabel(metric)
    means = [mean for line in series for _, mean, *_ in line.values]
    axes.set_ylim(min(means) - _ROOM, min(max(means) + _ROOM, 1.02))  # longer bars leave it
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)


def _draw(axes: Any, line: Series, at: Mapping[float, float], shift: float) -> None:
    values = sorted(line.values)
    x = [at[e] + shift for e, *_ in values]
    y = [mean for _, mean, *_ in values]
    finite = sum(math.isfinite(e) for e, *_ in values)
    look = {"color": line.colour, "marker": line.marker, "markersize": 5}
    # No line across to ∞: there is nothing between.
    axes.plot(x[:finite], y[:finite], linestyle=line.dashes, label=line.label, **look)
    axes.plot(x[finite:], y[finite:], linestyle="none", **look)
    for place, (_, _, low, high) in zip(x, values, strict=True):
        if low is not None and high is not None:
            axes.plot([place, place], [low, high], color=line.colour, linewidth=1.2, alpha=0.4)


def class_chart(
    classes: Sequence[str], lines: Sequence[tuple[str, Mapping[str, float | None]]], salt: str
) -> Markup:
    """Recall of every class, a marker a line; a class that was not tested has none.

    Args:
        classes: the names, from the top.
        lines: label → recall by class, at most four.
        salt: of the figure's ids.
    """
    with styled(salt):
        figure = Figure(figsize=(_WIDTH, 0.26 * len(classes) + 1.0), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(classes))
        for number, (label, recall) in enumerate(lines):
            shift = 0.16 * (number - (len(lines) - 1) / 2)
            found = [(i, recall.get(name)) for i, name in enumerate(classes)]
            known = [(i, value) for i, value in found if value is not None]
            axes.scatter(
                [value for _, value in known],
                [i + shift for i, _ in known],
                color=_SERIES[number % len(_SERIES)],
                marker="osD^"[number % 4],
                s=22,
                label=label,
                clip_on=False,
                zorder=3,
            )
        axes.set_yticks(rows, [plain(name) for name in classes], fontsize=9)
        axes.set_ylim(len(classes) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_xlabel("share of the class's test pixels that are right")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return svg_of(figure, salt, "accuracy by class")


def confusion_chart(
    classes: Sequence[str], confusion: Sequence[Sequence[int]], title: str, salt: str
) -> Markup:
    """The confusion matrix in percent of each reference class.

    Args:
        classes: the names.
        confusion: counts, reference by row, predicted by column.
        title: above it.
        salt: of the figure's ids.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(classes)
    side = max(3.0, 0.31 * size)
    with styled(salt):
        figure = Figure(figsize=(side + 2.0, side + 0.9), layout="constrained")
        axes = figure.subplots()
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=130, edgecolors="white", linewidth=0.5)
        for row in range(size):
            for column in range(size):
                if share[row, column] >= 0.5:
                    shade = "white" if share[row, column] > 70 else "black"
                    axes.text(
                        column + 0.5,
                        row + 0.5,
                        f"{share[row, column]:.0f}",
                        color=shade,
                        ha="center",
                        va="center",
                        fontsize=8,
                    )
        middle = np.arange(size) + 0.5
        numbers = [str(k + 1) for k in range(size)]
        names = [f"{plain(name)} · {k}" for name, k in zip(classes, numbers, strict=True)]
        axes.set_yticks(middle, names, fontsize=9)
        axes.set_xticks(middle, numbers, fontsize=9)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_ylim(size, 0)
        axes.set_aspect("equal")
        axes.set_xlabel("predicted")
        axes.set_title(title, fontsize=10)
    return svg_of(figure, salt, f"confusion matrix, {title}")


def seconds_chart(rows: Sequence[tuple[str, Mapping[str, float]]], salt: str) -> Markup:
    """Seconds by stage, a bar a row, stages one after another.

    Args:
        rows: label → seconds by stage.
        salt: of the figure's ids.
    """
    stages = list(dict.fromkeys(stage for _, seconds in rows for stage in seconds))
    with styled(salt):
        figure = Figure(figsize=(_WIDTH, 0.32 * len(rows) + 1.3), layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(rows))
        places = np.arange(len(rows))
        for number, stage in enumerate(stages):
            widths = np.array([seconds.get(stage, 0.0) for _, seconds in rows])
            axes.barh(places, widths, left=left, color=_STAGES[number % len(_STAGES)], label=stage)
            left += widths
        axes.set_yticks(places, [plain(label, 30) for label, _ in rows], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return svg_of(figure, salt, "seconds by stage")
