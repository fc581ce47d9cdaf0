"""`python -m benchmarks`: one row a target, as a table and as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import Selection, table
from benchmarks.budgets import budgets
from benchmarks.rows import Row
from scripts.benchmark_table import CLOSE, OPEN, markdown, replaced

REPOSITORY = Path(__file__).parents[2]
FAST = Row("noise", 0.03, "s CPU", 0.1, "exact")
SLOW = Row("round", 31.0, "ms CPU", 30.0, "four owners")
INFORMATION = Row("shamir split", 2.0, "ms CPU", None, "–")


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_one_target_is_measured_and_printed_as_json() -> None:
    done = benchmarks("--only", "upload", "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    (masked,) = [row for row in rows if row["name"] == "upload masked"]
    assert set(masked) == {
        "name", "value", "unit", "target", "met", "reference",
        "at_least", "ratio", "most_ratio", "failed",
    }  # fmt: skip
    assert masked["ratio"] == masked["value"] / 4
    assert 4 < masked["value"] < 4.001
    assert masked["met"] is True


def test_a_row_that_does_not_exist_is_a_usage_error() -> None:
    done = benchmarks("--only", "no such row")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert done.stderr.splitlines()[-1].startswith("hint: ")


def test_a_missed_target_is_told_from_a_met_one_and_from_none() -> None:
    assert [row.met for row in (FAST, SLOW, INFORMATION)] == [True, False, None]
    lines = table([FAST, SLOW, INFORMATION]).splitlines()
    assert lines[0].split() == ["name", "value", "unit", "target", "met", "reference"]
    assert " yes " in lines[1]
    assert " NO " in lines[2]


def test_only_a_ratio_to_a_peer_of_the_same_run_fails() -> None:
    alike = Row("mask", 0.9, "ns", 0.65, "limit", ratio=1.1, most_ratio=1.25)
    slower = Row("mask", 0.5, "ns", 0.65, "limit", ratio=1.3, most_ratio=1.25)
    assert (SLOW.met, SLOW.failed) == (False, False)
    assert (alike.met, alike.failed) == (False, False)
    assert (slower.met, slower.failed) == (True, True)


def test_accuracy_is_to_be_at_least_its_target() -> None:
    good = Row("accuracy", 0.87, "OA", 0.86, "folds", at_least=True)
    bad = Row("accuracy", 0.85, "OA", 0.86, "folds", at_least=True)
    assert (good.met, bad.met) == (True, False)
    assert "≥ 0.86" in table([good])
    assert "≥ 0.86" in markdown([good.to_json()])


def test_every_target_is_of_a_row_that_there_is() -> None:
    rows = set()
    for path in (REPOSITORY / "benchmarks").glob("bench_*.py"):
        rows |= set(re.findall(r'(?:row\(|group=)"([^"{]+)"', path.read_text()))
    for kind in ("client", "coordinator"):
        rows |= {f"{kind} n={n} d=1e7" for n in (10, 32, 100)}
    assert set(budgets()) <= rows
    assert {b.name for b in budgets().values() if b.most_ratio is not None} == {
        "mask", "upload masked", "upload encrypted", "encrypt", "dp_step head", "dp_step unet",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '[[row]]\nname = "a"\nunit = "s"\nmost = 1\nlest = 2',
        '[[row]]\nname = "a"\nunit = "s"\nmost = 1\nleast = 2',
        '[[row]]\nname = "a"\nunit = "s"',
        '[[row]]\nname = "a"\nmost = 1',
        '[[row]]\nname = "a"\nunit = "s"\nmost = "1"',
        '[[row]]\nname = "a"\nunit = "s"\nmost = 1\n' * 2,
        "[other]",
    ],
)
def test_wrong_budgets_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "budgets.toml").write_text(text)
    with pytest.raises(ValueError, match=r"budgets\.toml"):
        budgets(tmp_path / "budgets.toml")


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        (None, "noise", True),
        ("mask", "mask", True),
        ("[mask]", "mask", True),
        ("mask", "upload masked", False),
        ("client n=10 *", "client n=10 d=1e7", True),
        ("client n=10 *", "client n=100 d=1e7", False),
        ("*n=100*", "coordinator n=100 d=1e7", True),
    ],
)
def test_only_selects_by_the_beginning_of_a_name_or_by_shell_pattern(
    pattern: str | None, name: str, wanted: bool
) -> None:
    assert Selection(pattern).wants(name) is wanted


def test_the_table_for_the_readme_is_made_of_the_rows_and_replaces_the_old_one() -> None:
    rows = [
        {"name": "mask", "value": 0.5954, "unit": "ns", "target": 0.65, "met": True,
         "reference": "limit 0.57", "at_least": False},
        {"name": "size", "value": 3.0, "unit": "B", "target": None, "met": None, "reference": "",
         "at_least": False},
    ]  # fmt: skip
    table = markdown(rows)
    assert "| mask | 0.595 ns | ≤ 0.65 | yes | limit 0.57 |" in table
    assert "| size | 3 B | – | – | – |" in table
    page = f"before\n{OPEN}\nold\n{CLOSE}\nafter\n"
    assert replaced(page, table) == f"before\n{OPEN}\n{table}\n{CLOSE}\nafter\n"
    for broken in ("no markers", page + OPEN):
        with pytest.raises(ValueError, match="once each"):
            replaced(broken, table)
