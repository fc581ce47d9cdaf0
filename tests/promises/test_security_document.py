"""SECURITY.md names tests that exist, and states each claim and non-claim beside one."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
FILES = {path.name: path for path in (REPOSITORY / "tests").rglob("*.py")}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"(test_\w+)`", PAGE)) | set(re.findall(r"::(test_\w+)", PAGE))
    source = "".join(path.read_text(encoding="utf-8") for path in FILES.values())
    assert len(named) > 40
    assert named <= set(re.findall(r"^def (test_\w+)\(", source, re.MULTILINE))


def test_every_file_that_the_page_names_exists() -> None:
    for name in re.findall(r"`((?:tests|scripts|docs)/[\w/.]+)(?:::\w+)?`", PAGE):
        assert (REPOSITORY / name).exists(), name


def test_every_claim_and_non_claim_of_aggregation_has_a_test_beside_it() -> None:
    part = PAGE.split("### Secure aggregation: what is claimed")[1].split("## What is not")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if not row.endswith(("violation |", "shows it |"))]
    assert len(rows) > 20
    for row in rows:
        assert re.search(r"`test_\w+`", row.split("|")[2]), row


def test_the_words_of_the_design_are_on_the_page() -> None:
    for words in (
        "learns at most one sum a round, over at least τ − c honest owners",
        "Honest inputs", "Liveness", "Privacy of the sum without noise", "Post-quantum secrecy",
        "Constant time of Shamir",
    ):  # fmt: skip
        assert words in PAGE
