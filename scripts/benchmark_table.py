"""Print the table of benchmarks as Markdown, or put it into a page between its two markers.

    python -m benchmarks --json > rows.json
    python scripts/benchmark_table.py rows.json                     # to stdout
    python scripts/benchmark_table.py rows.json --write README.md   # between the markers

The page must have the lines `<!-- benchmarks -->` and `<!-- /benchmarks -->`, once each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

OPEN: Final = "<!-- benchmarks -->"
CLOSE: Final = "<!-- /benchmarks -->"
_MET: Final = {True: "yes", False: "no", None: "–"}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, in the order given."""
    lines = ["| row | measured | target | met | reference |", "|---|---:|---:|---|---|"]
    for row in rows:
        sign = "≥" if row["at_least"] else "≤"
        target = "–" if row["target"] is None else f"{sign} {row['target']:g}"
        lines.append(
            f"| {row['name']} | {row['value']:.3g} {row['unit']} | {target} | {_MET[row['met']]} | "
            f"{row['reference'] or '–'} |"
        )
    return "\n".join(lines)


def replaced(page: str, table: str) -> str:
    """The page with its table replaced.

    Raises:
        ValueError: a marker is missing or there twice.
    """
    if page.count(OPEN) != 1 or page.count(CLOSE) != 1:
        raise ValueError(f"the page needs {OPEN} and {CLOSE} once each")
    before, rest = page.split(OPEN)
    _, after = rest.split(CLOSE)
    return f"{before}{OPEN}\n{table}\n{CLOSE}{after}"


def main() -> int:
    """Read the rows, print or write the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("rows", type=Path, help="JSON of python -m benchmarks --json")
    arguments.add_argument("--write", type=Path, metavar="PAGE", help="a page with the markers")
    chosen = arguments.parse_args()
    table = markdown(json.loads(chosen.rows.read_text(encoding="utf-8")))
    if chosen.write is None:
        print(table)
        return 0
    try:
        page = replaced(chosen.write.read_text(encoding="utf-8"), table)
    except ValueError as error:
        print(f"error: {chosen.write}: {error}\nhint: add the two lines", file=sys.stderr)
        return 2
    chosen.write.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
