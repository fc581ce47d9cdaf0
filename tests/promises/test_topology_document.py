"""docs/topologies.md rests on tests that exist, and names the one message of alignment as it is."""

from __future__ import annotations

import re
from pathlib import Path

from feddiff_secure.data.ground_grid import GroundGrid

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "topologies.md").read_text(encoding="utf-8")


def test_every_row_of_who_can_compute_what_names_a_test_that_exists() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")
    )
    defined = set(re.findall(r"^def (test_\w+)\(", source, re.MULTILINE))
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= defined
    table = PAGE.split("## Who can compute what")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 14
    for row in rows:
        assert re.search(r"`test_\w+` \|$", row), row


def test_the_page_names_exactly_the_fields_of_an_alignment() -> None:
    sentence = PAGE.split("**Alignment**")[1].split("From both")[0]
    fields = set(GroundGrid(None, None, ((1, 1),)).to_message()) - {"kind"}
    named = set(re.findall(r"`(crs|transform|shapes|positions|valid)`", sentence))
    assert named == fields
