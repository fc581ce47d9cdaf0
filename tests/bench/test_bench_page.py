"""The page of a benchmark: its numbers are those of bench.json, and it needs and trusts nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.report.bench_page import Pictures, bench_page, main_figure
from feddiff_secure.report.owner_page import look_up
from feddiff_secure.report.page import MOST_BYTES, epsilon_text, render

Results = tuple[dict[str, Any], BenchFiles]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360"
    "606060000000050001a5f645400000000049454e44ae426082"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ATTACK = {"claimed": {"epsilon": 8.0}, "estimate": {
    "method": "<b>canaries</b>", "epsilon": 3.25, "epsilon_lower_limit": 2.0, "mu": 1.0,
    "mu_standard_error": 0.1,
}}  # fmt: skip


class Page(HTMLParser):
    """Tags, and whatever could fetch, run or lack a description."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page(results: Results) -> str:
    content, _ = results
    maps = {run["digest"]: {"predicted": PNG, "reference": PNG} for run in content["runs"][:2]}
    attacks = [("<u>audit</u>.json", ATTACK, PNG)]
    return bench_page(content, Pictures(maps=maps, tiles=PNG, attacks=attacks))


def test_every_number_of_the_page_is_that_of_bench_json(results: Results, page: str) -> None:
    content, _ = results
    shown = re.findall(r'<data value="([^"]*)" data-path="([^"]*)">([^<]*)</data>', page)
    assert len(shown) > 200
    for raw, path, text in shown:
        assert repr(look_up(content, path)) == raw
        digits = text.replace("−", "-").replace(",", "").lstrip("+")
        assert float(digits) == pytest.approx(float(raw), abs=6e-4, rel=1e-3)


def test_every_row_has_the_numbers_of_the_point_it_names(results: Results, page: str) -> None:
    content, _ = results
    seen: dict[str, set[int]] = {"points": set(), "differences": set()}
    for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL):
        found = re.findall(r'data-path="(points|differences)/(\d+)/(\w+)', row)
        if not found:
            continue
        ((kind, number),) = {(kind, int(number)) for kind, number, _ in found}
        point = content[kind][number]
        (epsilon,) = re.findall(r'data-label="ε">([^<]*)<', row)
        assert epsilon == epsilon_text(point["epsilon"])
        assert (f"{point['noise']} noise" in row) == (
            point.get("kind", "federated") == "federated" and point["noise"] != "none"
        )
        for label, name in (("overall accuracy", "oa"), ("average accuracy", "aa")):
            cell = re.search(rf'data-label="{label}"><data [^>]*/{name}/mean"', row)
            assert cell or "/oa/" not in row
        if "/oa/" in row:
            seen[kind].add(number)
    assert seen["points"] == set(range(len(content["points"])))
    assert seen["differences"] == set(range(len(content["differences"])))


def test_the_page_shows_what_a_report_is_asked_for(results: Results, page: str) -> None:
    for heading in (
        "What privacy costs", "What sharing the noise gains", "Against other ways to train",
        "By class", "What is taken for what", "Land cover", "Bytes and seconds",
        "Tiles through the diffusion branches", "What attacks found", "Privacy statement",
        "Every run",
    ):  # fmt: skip
        assert f">{heading}<" in page
    assert page.count("<svg") == 2 * (3 + 1 + 2 + 1)  # a data set: utility, class, confusion, time


def test_nothing_is_fetched_linked_or_run(page: str) -> None:
    parsed = Page(page)
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "a", "link", "iframe", "object", "embed", "form", "base"}
    for _, attributes in parsed.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                assert value is not None
                assert value.startswith(("data:image/png;base64,", "#"))
    assert "http://" not in page
    assert "https://" not in page
    assert len(page.encode()) < MOST_BYTES


def test_hostile_names_are_shown_as_text(page: str) -> None:
    assert "<script" not in page
    assert "<u>audit" not in page
    assert "<b>canaries" not in page
    assert "<i>an assumption" not in page
    words = " ".join(Page(page).words)
    assert "<script>alert(1)</script>" in words  # in the legend, whole
    assert "$x^2$ & co" in words


def test_every_picture_says_what_it_shows(page: str) -> None:
    parsed = Page(page)
    pictures = [attributes for tag, attributes in parsed.tags if tag == "img"]
    figures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(pictures) >= 4
    assert all(attributes.get("alt") for attributes in pictures)
    assert all(attributes.get("aria-label") for attributes in figures)


def test_equal_results_give_equal_pages_and_figures(results: Results, page: str) -> None:
    content, files = results
    again = json.loads(files.results.read_text())
    maps = {run["digest"]: {"predicted": PNG, "reference": PNG} for run in content["runs"][:2]}
    attacks = [("<u>audit</u>.json", ATTACK, PNG)]
    assert bench_page(again, Pictures(maps=maps, tiles=PNG, attacks=attacks)) == page
    assert main_figure(again) == main_figure(content)
    assert b"<dc:date>" not in main_figure(content)


def test_a_page_that_is_too_large_is_refused(results: Results) -> None:
    with pytest.raises(ValueError, match="limit 5000000"):
        bench_page(results[0], Pictures(tiles=PNG + bytes(MOST_BYTES)))


def test_a_large_grid_has_a_page_that_says_what_it_leaves_out(results: Results) -> None:
    content, _ = results
    points = [
        {**point, "owners": owners}
        for owners in range(2, 60)
        for point in content["points"]
        if point["data"] == "other"
    ]
    large = {**content, "points": points, "runs": content["runs"] * 20, "differences": []}
    page = bench_page(large, Pictures())
    assert "Figures of the first 6 settings" in page
    assert "1320 runs (the first 300; bench.json has them all)" in page
    assert page.count("<svg") < 30
    assert len(page.encode()) < MOST_BYTES


def test_numbers_that_are_absent_are_dashes() -> None:
    content = {"a": "x", "b": "y", "rows": [], "settings": [], "only_a": [], "only_b": []}
    text = render("diff_report.html.j2", content, metrics=(), epsilon_text=str)
    assert "data-path" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_the_page_without_a_sideways_scroll(
    page: str, tmp_path: Path, width: int
) -> None:
    assert CHROMIUM is not None
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        f'<iframe id=f src="page.html" style="width:{width}px;height:800px;border:0"></iframe>'
        "<script>f.onload = () => { const d = f.contentDocument.documentElement;"
        "document.title = [d.scrollWidth, d.clientWidth,"
        'd.querySelectorAll("svg").length].join(" "); }</script>'
    )
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=8000", "--dump-dom",
        (tmp_path / "frame.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>(\d+) (\d+) (\d+)</title>", done.stdout)
    assert found is not None, done.stderr[-500:]
    scroll, client, figures = map(int, found.groups())
    assert scroll == client
    assert figures == 14


def test_a_grid_without_privacy_has_a_page_too(
    drawn: Callable[[Path, tuple[str, ...]], Results], tmp_path: Path
) -> None:
    content, _ = drawn(tmp_path / "bench", ("a", "b"))
    kept = [p for p in content["points"] if p["epsilon"] == "inf" and p["kind"] == "federated"]
    runs = [
        r
        for r in content["runs"]
        if r["job"]["config"]["epsilon"] == "inf" and r["job"]["kind"] == "federated"
    ]
    text = bench_page({**content, "points": kept, "runs": runs, "differences": []}, Pictures())
    assert "there is nothing to state" in text
    assert "What privacy costs" not in text
