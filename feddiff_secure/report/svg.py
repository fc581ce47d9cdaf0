"""Figures as SVG inside a page: the same bytes for the same numbers, and nothing fetched."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

_NAMESPACES: Final = re.compile(r'\s+xmlns(:\w+)?="[^"]*"')
_METADATA: Final = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_TAG: Final = re.compile(r"<svg[^>]*>")
_VIEW: Final = re.compile(r'viewBox="[^"]*"')
LONGEST_NAME: Final = 24  # characters of a class name in a figure


def styled(salt: str, *, as_paths: bool = False) -> AbstractContextManager[None]:
    """The settings that a figure is drawn and saved with.

    Args:
        salt: makes the ids of this figure differ from those of others in the page.
        as_paths: draw text as outlines, which look alike everywhere and cannot be searched.
    """
    return mpl.rc_context(
        {
            "svg.fonttype": "path" if as_paths else "none",
            "svg.hashsalt": salt,
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def svg_of(figure: Figure, salt: str, label: str) -> Markup:
    """The `<svg>` element of a figure.

    Args:
        figure: drawn under `styled(salt)`.
        salt: as there.
        label: what it shows, for those who do not see it.
    """
    made = io.StringIO()
    with styled(salt):
        figure.savefig(made, format="svg", metadata={"Date": None, "Creator": None})
    text = made.getvalue()
    text = _METADATA.sub("", text[text.index("<svg") :])
    tag = _TAG.search(text)
    assert tag is not None
    view = _VIEW.search(tag.group())
    assert view is not None
    opened = f'<svg {view.group()} role="img" aria-label="{escape(label)}">'
    body = text[tag.end() :]
    # Colours come from the page's own figures, texts were escaped by matplotlib.
    return Markup(opened + _NAMESPACES.sub("", body))  # noqa: S704


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as a figure shows it: shortened, and without matplotlib's formula mode."""
    shown = name if len(name) <= longest else name[: longest - 1] + "…"
    return shown.replace("$", r"\$")
