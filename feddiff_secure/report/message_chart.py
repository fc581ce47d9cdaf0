"""A picture of what an owner sent: bytes by kind of message, as SVG inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

_DATA, _OTHER = "#c77700", "#4c78a8"
_NAMESPACES: Final = re.compile(r'\s+xmlns(:\w+)?="[^"]*"')
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def message_chart(kinds: Sequence[dict[str, Any]]) -> str:
    """Horizontal bars on a logarithmic scale, each with its bytes; an `<svg>` element.

    Args:
        kinds: rows of `messages.by_kind`; those that were sent are drawn. Their phases are words of
            the protocol, nothing that came from a file.
    """
    rows = sorted((k for k in kinds if k["direction"] == "sent"), key=lambda kind: kind["bytes"])
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "messages", "font.size": 10}):
        figure = Figure(figsize=(4.6, 0.28 * len(rows) + 0.5), layout="constrained")
        axes = figure.subplots()
        colours = [_DATA if kind["from_data"] else _OTHER for kind in rows]
        sizes = [max(kind["bytes"], 1) for kind in rows]
        bars = axes.barh([kind["phase"] for kind in rows], sizes, color=colours)
        axes.bar_label(bars, [f"{kind['bytes']:,}" for kind in rows], padding=4)
        axes.set_xscale("log")
        axes.set_xlim(1, 30 * max(sizes, default=1))
        axes.xaxis.set_visible(False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_title("bytes sent, by kind of message (logarithmic)", fontsize=10)
        made = io.StringIO()
        figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    svg = made.getvalue()
    return _NAMESPACES.sub("", _METADATA.sub("", svg[svg.index("<svg") :]))
