"""`python -m benchmarks`: run the suites and print one row a target.

    name  value  unit  target  met  reference

Targets are those of budgets.toml. Exits with 0, also if a target is missed, as seconds are the
machine's; with 1 if a ratio to a peer or limit of the same run is too large or a benchmark failed;
with 2 if no row matches.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.rows import DATA, FULL, ROW, Row

FOLDER = Path(__file__).parent
PYTEST = (
    "-o", "addopts=--import-mode=importlib", "-o", "python_files=bench_*.py",
    "-o", "python_functions=bench_* test_*", "--benchmark-only", "--benchmark-quiet", "-q",
    "-p", "no:cacheprovider", "--continue-on-collection-errors",
)  # fmt: skip


class Selection:
    """Keeps the benchmarks whose row is asked for.

    Args:
        pattern: the beginning of a row's name, brackets or not, or a shell pattern; None for all.
    """

    def __init__(self, pattern: str | None) -> None:
        self._pattern = None if pattern is None else pattern.strip("[]").lower()
        self.kept = 0

    def wants(self, name: str) -> bool:
        """Whether the row `name` is asked for."""
        name = name.lower()
        pattern = self._pattern
        return pattern is None or name.startswith(pattern) or fnmatch.fnmatchcase(name, pattern)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Drop the others."""
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            marker = item.get_closest_marker("benchmark")
            options = marker.kwargs if marker else {}
            chosen = self.wants(options.get("group", item.name))
            (kept if chosen else dropped).append(item)
        items[:] = kept
        self.kept = len(kept)
        config.hook.pytest_deselected(items=dropped)


def run(selection: Selection, *, full: bool, data: Path | None = None) -> tuple[int, list[Row]]:
    """Run the selected benchmarks; pytest's exit code and the rows, in order of measurement."""
    os.environ[FULL] = "1" if full else ""
    os.environ[DATA] = "" if data is None else str(data.resolve())
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]  # started from a parallel test run: these are not its workers
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "benchmarks.json"
        with contextlib.redirect_stdout(sys.stderr):  # the table alone goes to stdout
            code = pytest.main([str(FOLDER), *PYTEST, f"--benchmark-json={out}"], [selection])
        measured = json.loads(out.read_text()) if out.is_file() and out.stat().st_size else {}
    rows = [
        Row(name=bench["group"], **bench["extra_info"][ROW])
        for bench in measured.get("benchmarks", [])
        if ROW in bench["extra_info"]
    ]
    return int(code), rows


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned columns."""
    met = {True: "yes", False: "NO", None: "–"}
    lines = [("name", "value", "unit", "target", "met", "reference")]
    for each in rows:
        target = "–" if each.target is None else f"{'≥' if each.at_least else '≤'} {each.target:g}"
        lines.append(
            (each.name, f"{each.value:.4g}", each.unit, target, met[each.met], each.reference)
        )
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    padded = (
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="rows whose name begins like this")
    parser.add_argument("--json", action="store_true", help="a list of objects on stdout")
    parser.add_argument("--full", action="store_true", help="rows without a target too")
    parser.add_argument("--data-dir", type=Path, help="folder of real data: adds rows of accuracy")
    options = parser.parse_args()
    if options.data_dir is not None and not options.data_dir.is_dir():
        print(f"error: {options.data_dir} is not a folder", file=sys.stderr)
        print("hint: give one that holds the files of docs/bench.md", file=sys.stderr)
        return 2
    selection = Selection(options.only)
    code, rows = run(selection, full=options.full, data=options.data_dir)
    if not selection.kept:
        print(f"error: no row begins with {options.only!r}", file=sys.stderr)
        print("hint: leave out --only, or add --full", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([each.to_json() for each in rows], ensure_ascii=False))
    else:
        print(table(rows))
    failed = [each for each in rows if each.failed]
    for each in failed:
        print(f"{each.name}: ratio {each.ratio:.3g} > {each.most_ratio:g}", file=sys.stderr)
    return 1 if code or failed else 0


if __name__ == "__main__":
    sys.exit(main())
