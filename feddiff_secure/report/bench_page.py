"""The page of a benchmark: one file, nothing fetched, every number from `bench.json`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from markupsafe import Markup

from feddiff_secure.report.attack_tables import attack_tables
from feddiff_secure.report.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Series,
    class_chart,
    confusion_chart,
    seconds_chart,
    utility_chart,
    utility_figure,
)
from feddiff_secure.report.map_panels import MapPanels
from feddiff_secure.report.page import epsilon_text, legend, render

METRICS: Final = (("oa", "overall accuracy"), ("aa", "average accuracy"), ("kappa", "kappa"))
MOST_MAPS: Final = 4  # of a data set; the page has a size limit
MOST_VARIANTS: Final = 6  # of a data set, with figures of their own
MOST_ROWS: Final = 300  # of one table; bench.json has them all
_MOST_CONFUSED: Final = 30  # classes; a larger matrix cannot be read
_LOOKS: Final = {
    "distributed": ("distributed noise", BLUE, "-", "o"),
    "local": ("local noise", ORANGE, "-", "s"),
    "none": ("no noise", BLUE, "-", "o"),
    "alone": ("each owner alone", GREY, "--", "^"),
    "centralised": ("one trusted holder", GREEN, ":", "D"),
}
Numbered = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a page shows beside its figures.

    Attributes:
        maps: digest of a run → its land cover.
        tiles: PNG of tiles reconstructed by the shipped branches; None where there is none.
        attacks: name, content and PNG of results of `audit attack`.
    """

    maps: Mapping[str, MapPanels] = field(default_factory=dict)
    tiles: bytes | None = None
    attacks: Sequence[tuple[str, dict[str, Any], bytes | None]] = ()


def bench_page(content: Mapping[str, Any], pictures: Pictures) -> str:
    """The page.

    Args:
        content: the object of `bench.json`, checked.
        pictures: what was drawn.

    Raises:
        ValueError: larger than 5 MB.
    """
    attacks = [
        {"name": name, "content": found, "picture": picture, "tables": attack_tables(found)}
        for name, found, picture in pictures.attacks
    ]
    names = list(dict.fromkeys(point["data"] for point in content["points"]))
    return render(
        "bench_report.html.j2",
        content,
        sections=[_Section(content, name, pictures) for name in names],
        epsilon_text=epsilon_text,
        tiles=pictures.tiles,
        attacks=attacks,
        cell=attack_cell,
        metrics=METRICS,
        most_variants=MOST_VARIANTS,
        most_rows=MOST_ROWS,
    )


def main_figure(content: Mapping[str, Any]) -> bytes:
    """Overall accuracy against ε of every data set, side by side: an SVG file.

    Each panel has the first topology, aggregation and number of owners of the grid.
    """
    metric, title = METRICS[0]
    panels = []
    for name in dict.fromkeys(point["data"] for point in content["points"]):
        points = [(i, p) for i, p in enumerate(content["points"]) if p["data"] == name]
        panels.append((name, title, _series(points, next(_variants(points)), metric)))
    return utility_figure(panels, "utility")


class _Section:
    """What the template shows of one data set."""

    def __init__(self, content: Mapping[str, Any], name: str, pictures: Pictures) -> None:
        self.name = name
        self._content = content
        self._points = [(i, p) for i, p in enumerate(content["points"]) if p["data"] == name]
        self._runs = [
            (i, run) for i, run in enumerate(content["runs"]) if run["job"]["data"]["name"] == name
        ]
        self._pictures = pictures
        self.classes: list[str] = self._points[0][1]["classes"]
        self.legend = legend(self.classes)
        self.variants = list(_variants(self._points))
        self.first: Numbered = self._points[0]

    def points(self, *kinds: str) -> list[Numbered]:
        """Its points of some kinds, with their place in `points`."""
        found = [(i, point) for i, point in self._points if point["kind"] in kinds]
        return found[:MOST_ROWS]

    def differences(self, what: str) -> list[Numbered]:
        """Its differences of a kind, with their place in `differences`."""
        rows = enumerate(self._content["differences"])
        found = [(i, row) for i, row in rows if row["data"] == self.name and row["what"] == what]
        return found[:MOST_ROWS]

    def short(self, what: str) -> list[Numbered]:
        """Those of the first variant with distributed noise: what the page begins with."""
        return [
            (i, row)
            for i, row in self.differences(what)
            if _variant(row) == self.variants[0] and row["noise"] == "distributed"
        ]

    def utility(self, variant: tuple[Any, ...]) -> Iterator[Markup]:
        """The figures of one topology, aggregation and number of owners, a metric each."""
        for metric, title in METRICS:
            series = _series(self._points, variant, metric)
            yield utility_chart(title, series, f"{self.name} {variant} {metric}")

    def by_class(self) -> Markup:
        """Recall by class of the first variant, a line an ε."""
        lines = [
            (f"ε = {epsilon_text(point['epsilon'])}", point["per_class"])
            for _, point in self._main()[:4]
        ]
        return class_chart(self.classes, lines, f"{self.name} classes")

    def confusions(self) -> list[Markup]:
        """The confusion matrix at the largest and at the smallest ε."""
        if len(self.classes) > _MOST_CONFUSED:
            return []
        found = [self._main()[0], self._main()[-1]]
        return [
            confusion_chart(
                self.classes,
                point["confusion"],
                f"ε = {epsilon_text(point['epsilon'])}",
                f"{self.name} confusion {place}",
            )
            for place, (_, point) in enumerate(found[: 1 if found[0] is found[-1] else 2])
        ]

    def seconds(self) -> Markup:
        """Seconds by stage, of the first variant."""
        rows = [(f"ε = {epsilon_text(p['epsilon'])}", p["seconds"]) for _, p in self._main()]
        return seconds_chart(rows, f"{self.name} seconds")

    def maps(self) -> list[tuple[str, bytes]]:
        """Predicted land cover by ε, from the first seed."""
        found = [
            (f"ε = {epsilon_text(run['job']['config']['epsilon'])}", panels["predicted"])
            for run, panels in self._drawn()
        ]
        return found[:MOST_MAPS]

    def reference(self) -> bytes | None:
        """Reference land cover, from the first seed."""
        for _, panels in self._drawn():
            return panels.get("reference")
        return None

    def _drawn(self) -> Iterator[tuple[Mapping[str, Any], MapPanels]]:
        for _, run in self._runs:
            panels = self._pictures.maps.get(run["digest"])
            if panels and "predicted" in panels:
                yield run, panels

    def statement(self) -> Numbered | None:
        """The run whose privacy statement is shown: the first with a finite ε."""
        for i, run in self._runs:
            if run["job"]["kind"] == "federated" and run["job"]["config"]["epsilon"] != "inf":
                return i, run
        return None

    def _main(self) -> list[Numbered]:
        """The points of the first variant, with distributed noise where there is a choice."""
        found = [
            (i, p)
            for i, p in self.points("federated")
            if _variant(p) == self.variants[0] and p["noise"] in {"distributed", "none"}
        ]
        return sorted(found or self.points("federated"), key=lambda e: -_epsilon(e[1]))


def attack_cell(content: Mapping[str, Any], path: str) -> str:
    """A cell of a table of an attack, as text."""
    value: Any = content
    for part in path.split("/"):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _variant(point: Mapping[str, Any]) -> tuple[Any, ...]:
    return point["topology"], point["aggregation"], point["owners"]


def _variants(points: Sequence[Numbered]) -> Iterator[tuple[Any, ...]]:
    made = [_variant(point) for _, point in points if point["kind"] == "federated"]
    yield from dict.fromkeys(made)


def _series(points: Sequence[Numbered], variant: tuple[Any, ...], metric: str) -> list[Series]:
    """Lines by noise, and of what the variant is compared with; no noise belongs to the first."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for _, point in points:
        kind = point["kind"]
        if kind == "federated" and _variant(point) == variant:
            lines.setdefault(point["noise"], []).append(point)
        elif kind == "alone" and (point["topology"], point["owners"]) == (variant[0], variant[2]):
            lines.setdefault("alone", []).append(point)
        elif kind == "centralised":
            lines.setdefault("centralised", []).append(point)
    first = next((name for name in ("distributed", "local") if name in lines), None)
    if first is not None:
        lines[first] = [*lines[first], *lines.pop("none", [])]
    made = []
    for name in (name for name in _LOOKS if name in lines):
        values = tuple(
            (_epsilon(p), p[metric]["mean"], p[metric]["low"], p[metric]["high"])
            for p in lines[name]
        )
        made.append(Series(*_LOOKS[name], values))
    return made


def _epsilon(point: Mapping[str, Any]) -> float:
    return math.inf if point["epsilon"] == "inf" else float(point["epsilon"])
