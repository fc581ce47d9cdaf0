"""docs/privacy.md names, for every planted fault, tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "privacy.md").read_text(encoding="utf-8")
FAULTS = (
    "halved noise",
    "no clipping",
    "shuffling accounted as Poisson",
    "private denominator",
    "colluder share ignored",
    "a retry that is not charged",
    "tile features reading across the tile edge",
    "float noise",
)


def rows() -> dict[str, list[str]]:
    """Fault → test names, from the page's table."""
    table = PAGE.split("## Planted faults")[1].split("\n## ")[0]
    lines = re.findall(r"^\| ([^|]+?) \| [^|]+ \| ([^|]+) \|$", table, re.MULTILINE)
    return {fault: re.findall(r"`(test_\w+)`", tests) for fault, tests in lines}


def test_every_fault_of_the_list_has_tests_that_exist() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py")
    )
    defined = set(re.findall(r"^def (test_\w+)\(", source, re.MULTILINE))
    table = rows()
    for fault in FAULTS:
        assert table.get(fault), fault
    for fault, tests in table.items():
        assert set(tests) <= defined, fault
