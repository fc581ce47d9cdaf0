"""`report diff`: two benchmarks, or two runs, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.comparison import compared, read_side
from feddiff_secure.bench.record import to_bytes
from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import DataError, UsageError

Results = tuple[dict[str, Any], BenchFiles]
Drawn = Callable[[Path, tuple[str, ...]], Results]


@pytest.fixture(scope="module")
def two(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("two")
    for name, classes in (("a", ("x", "y", "z")), ("b", ("x", "y"))):
        drawn(folder / name, classes)
    return folder / "a", folder / "b"


def a_run(folder: Path, oa: float, **fields: Any) -> Path:
    folder.mkdir()
    (folder / "config.toml").write_text(dump_config(RunConfig(**fields)))
    metrics = {
        "oa": oa, "aa": 0.5, "kappa": 0.5, "owners": 4, "bytes_up_per_owner_per_round": 10,
        "communication_parameters": 3,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "privacy.json").write_text(json.dumps({"epsilon": 7.99}))
    return folder


def test_every_shared_point_is_compared_seed_by_seed(two: tuple[Path, Path]) -> None:
    a, b = (read_side(path) for path in two)
    found = compared(a, b)
    assert len(found["rows"]) == len(a.points)
    assert found["only_a"] == found["only_b"] == []
    row = found["rows"][0]
    ours, theirs = a.points[0]["oa"]["values"], b.points[0]["oa"]["values"]
    assert row["oa"]["change"]["values"] == [y - x for x, y in zip(ours, theirs, strict=True)]
    assert row["oa"]["b"] - row["oa"]["a"] == pytest.approx(row["oa"]["change"]["mean"])
    assert row["oa"]["change"]["mean"] != 0


def test_a_benchmark_does_not_differ_from_itself(two: tuple[Path, Path]) -> None:
    same = compared(read_side(two[0]), read_side(two[0] / "bench.json"))
    assert all(row[name]["change"]["mean"] == 0 for row in same["rows"] for name in ("oa", "kappa"))


def test_points_that_one_lacks_are_named(two: tuple[Path, Path]) -> None:
    whole = read_side(two[0])
    part = type(whole)(whole.path, False, whole.points[:3], {})
    assert len(compared(whole, part)["only_a"]) == len(whole.points) - 3
    assert len(compared(part, whole)["only_b"]) == len(whole.points) - 3


def test_two_runs_are_compared_with_the_settings_that_differ(tmp_path: Path) -> None:
    a = a_run(tmp_path / "a", 0.8)
    b = a_run(tmp_path / "b", 0.9, epsilon=2.0, rounds=30)
    found = compared(read_side(a), read_side(b))
    (row,) = found["rows"]
    assert row["oa"]["change"]["mean"] == pytest.approx(0.1)
    assert {(s["name"], s["a"], s["b"]) for s in found["settings"]} == {
        ("epsilon", 8.0, 2.0),
        ("rounds", 60, 30),
    }


def test_the_command_prints_writes_and_refuses_to_overwrite(
    two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "diff.html"
    command = ["report", "diff", str(two[0]), str(two[1]), "--out", str(out)]
    assert run_cli([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "feddiff-secure difference"
    page = out.read_text()
    assert repr(found["rows"][0]["oa"]["a"]) in page
    assert "://" not in page
    assert run_cli(command) == 2
    assert run_cli(command[:4]) == 0
    assert "only in" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"oa": 1.2}, "oa is 1.2"),
        ({"oa": "high"}, "oa is 'high'"),
        ({"owners": "four"}, "owners is 'four'"),
    ],
)
def test_metrics_that_are_none_are_bad_data(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    run = a_run(tmp_path / "run", 0.5)
    metrics = json.loads((run / "metrics.json").read_text()) | change
    (run / "metrics.json").write_bytes(to_bytes(metrics))
    with pytest.raises(DataError, match=message):
        read_side(run)


def test_what_cannot_be_compared_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_side(tmp_path / "none")
    with pytest.raises(DataError, match="neither"):
        read_side(tmp_path)
    run = a_run(tmp_path / "run", 0.5)
    with pytest.raises(UsageError, match="one is a run"):
        compared(read_side(run), read_side(two[0]))
