"""The HTML page of an owner's report: one file, nothing fetched, every value from the JSON.

A number is written as `<data value="…" data-path="…">`, so that a reader's program can compare the
page with `report.json`. Texts come from files that somebody may have changed: all are escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from feddiff_secure.report.attack_tables import attack_tables
from feddiff_secure.report.message_chart import message_chart

MAP: Final = "map.png"
MOST_BYTES: Final = 5_000_000
_MOST_ROWS: Final = 1000  # of one table; report.json has them all
_TEMPLATE: Final = "templates/owner_report.html.j2"


def owner_page(content: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page of a report.

    Args:
        content: the object of `report.json`.
        pictures: name of a file → PNG.

    Raises:
        ValueError: larger than 5 MB.
    """
    source = files("feddiff_secure.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(source)
    messages = content["messages"]
    page = template.render(
        get=lambda path: look_up(content, path),
        n=lambda path: number(content, path),
        t=lambda path: text(content, path),
        label=lambda name: name.replace("_", " "),
        escaped=_escaped,
        every=lambda direction: _every(content, direction),
        of_this_run=lambda attack: _claims_alike(content, attack),
        tables=attack_tables,
        steps_ok=lambda step: _steps_ok(content, step),
        chart=Markup(message_chart(messages["by_kind"])) if messages else "",  # noqa: S704  # our own SVG
        images={name: _data_address(picture) for name, picture in pictures.items()},
        map=MAP,
        most=_MOST_ROWS,
    )
    if len(page.encode()) > MOST_BYTES:
        raise ValueError(f"page: {len(page.encode())} bytes > limit {MOST_BYTES}")
    return page


def look_up(content: Any, path: str) -> Any:
    """The value at a path of names and indices (RFC 6901, without its leading slash)."""
    value = content
    for part in path.split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def number(content: Any, path: str) -> Markup:
    """A value as it is shown; numbers and absent ones with their path."""
    value = look_up(content, path)
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bool):
        return escape("yes" if value else "no")
    raw = "" if value is None else repr(value)
    return Markup('<data value="{}" data-path="{}">{}</data>').format(raw, path, formatted(value))


def text(content: Any, path: str) -> Markup:
    """A text, escaped; a dash where there is none."""
    value = look_up(content, path)
    return Markup("–") if value is None else escape(str(value))


def formatted(value: float | None) -> str:
    """Whole numbers with separators, others with five digits, a dash for no number."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if math.isfinite(value) else "–"


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _steps_ok(content: Mapping[str, Any], step: int) -> bool:
    return any(
        row["step"] == step and row["status"] in {"ok", "not recomputed"}
        for row in content["verdict"]["steps"]
    )


def _claims_alike(content: Mapping[str, Any], attack: Mapping[str, Any]) -> bool:
    """Whether an attack was on a claim that is this run's."""
    privacy, claimed = content["privacy"], attack["content"]["claimed"].get("epsilon")
    return privacy is None or privacy["epsilon"] == claimed


def _data_address(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


_ROW: Final = Markup(
    '<tr><td data-label="message">{}</td><td data-label="protection">{}</td>'
    '<td data-label="bytes">{}</td><td data-label="SHA-256" class="hash">{}</td>'
    '<td data-label="shown by">{}</td></tr>\n'
)
_HEAD: Final = Markup(
    "<table class=cards><thead><tr><th>message</th><th>protection</th><th>bytes</th>"
    "<th>SHA-256</th><th>shown by</th></tr></thead><tbody>\n"
)


def _every(content: Mapping[str, Any], direction: str) -> Markup:
    """The messages of one direction, one row each. (A template's loop would take seconds.)"""
    listed = content["messages"]["list"]
    chosen = [index for index, message in enumerate(listed) if message["direction"] == direction]
    rows = chosen[:_MOST_ROWS]
    table = Markup("").join(_row(content, index) for index in rows)
    note = "" if rows == chosen else " (the first of them; report.json has them all)"
    return (
        Markup("<details><summary>Message by message{}</summary>\n").format(note)
        + _HEAD
        + table
        + Markup("</tbody></table></details>")
    )


def _row(content: Mapping[str, Any], index: int) -> Markup:
    path = f"messages/list/{index}"
    message = content["messages"]["list"][index]
    name = escape(message["phase"])
    if message["release"] is not None:
        of, count = message["release"], number(content, f"{path}/release/round")
        name += Markup(", {} round {}").format(of["phase"], count)
    elif message["leaves"] is not None:
        name += Markup(", log of {} leaves").format(number(content, f"{path}/leaves"))
    return _ROW.format(
        name,
        message["protection"],
        number(content, f"{path}/bytes"),
        message["sha256"] or "–",
        message["evidence"],
    )
