"""What the pages of runs and benchmarks share: templates, and numbers that name their place.

A number is written as `<data value="…" data-path="…">`, so that a program can compare the page
with the JSON it was made of. Texts come from files: all are escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from feddiff_secure.report.owner_page import look_up
from feddiff_secure.report.palette import class_colours

MOST_BYTES: Final = 5_000_000


def render(template: str, content: Mapping[str, Any], **more: Any) -> str:
    """A page.

    Args:
        template: its file in `templates`.
        content: the JSON that its numbers are looked up in.
        more: what else the template uses.

    Raises:
        ValueError: larger than 5 MB.
    """
    environment = Environment(
        loader=PackageLoader("feddiff_secure.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(
        content=content,
        get=lambda path: look_up(content, path),
        n=lambda path, form=".3f": number(content, path, form),
        score=lambda path: score(content, path),
        gain=lambda path: score(content, path, "+.3f"),
        data_address=data_address,
        **more,
    )
    size = len(page.encode())
    if size > MOST_BYTES:
        raise ValueError(f"page: {size} bytes > limit {MOST_BYTES}")
    return page


def number(content: Any, path: str, form: str = ".3f") -> Markup:
    """A number with its path; a dash where there is none."""
    value = look_up(content, path)
    if value is None:
        return Markup("–")
    shown = f"{value:{form}}".replace("-", "−")
    return Markup('<data value="{}" data-path="{}">{}</data>').format(repr(value), path, shown)


def score(content: Any, path: str, form: str = ".3f") -> Markup:
    """Mean ± standard deviation over seeds of a metric; the mean alone where there is one seed."""
    mean = number(content, f"{path}/mean", form)
    if look_up(content, path)["sd"] is None:
        return mean
    return Markup("{}&nbsp;±&nbsp;{}").format(mean, number(content, f"{path}/sd", ".3f"))


def epsilon_text(epsilon: float | str | None) -> str:
    """ε as a page shows it."""
    if epsilon is None or epsilon == "inf" or (isinstance(epsilon, float) and math.isinf(epsilon)):
        return "∞"
    return f"{epsilon:g}" if isinstance(epsilon, int | float) else str(epsilon)


def data_address(picture: bytes) -> str:
    """A PNG as an address within the page."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def legend(classes: list[str]) -> list[tuple[str, str]]:
    """(colour, name) of every class, as maps show them."""
    colours = class_colours(len(classes))[1:]
    return [
        ("#" + "".join(f"{part:02x}" for part in colour.tolist()), name)
        for colour, name in zip(colours, classes, strict=True)
    ]
