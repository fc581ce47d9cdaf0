"""What records come to, and that results which do not follow from them are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.record import read_record, to_bytes
from feddiff_secure.bench.results import read_bench
from feddiff_secure.bench.summary import spread
from feddiff_secure.errors import DataError

Results = tuple[dict[str, Any], BenchFiles]


def point(content: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    (found,) = [p for p in content["points"] if all(p[k] == v for k, v in wanted.items())]
    return dict(found)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9))
def test_the_interval_is_that_of_student(values: list[float]) -> None:
    found = spread(values)
    if found["sd"] < 1e-9:
        return
    low, high = stats.t.interval(
        0.95, len(values) - 1, loc=found["mean"], scale=found["sd"] / math.sqrt(len(values))
    )
    assert found["low"] == pytest.approx(low)
    assert found["high"] == pytest.approx(high)


def test_one_seed_has_no_interval() -> None:
    assert spread([0.5]) == {"mean": 0.5, "sd": None, "low": None, "high": None, "values": [0.5]}


def test_a_point_is_the_mean_of_its_seeds(results: Results) -> None:
    content, _ = results
    one = point(content, data="other", kind="federated", epsilon=8.0, noise="local")
    runs = [
        run
        for run in content["runs"]
        if run["job"]["kind"] == "federated"
        and run["job"]["data"]["name"] == "other"
        and run["job"]["config"]["epsilon"] == 8.0
        and run["job"]["config"]["noise"] == "local"
    ]
    assert one["seeds"] == [0, 1, 2]
    assert one["oa"]["values"] == [run["metrics"]["oa"] for run in runs]
    assert one["oa"]["mean"] == pytest.approx(sum(one["oa"]["values"]) / 3)
    assert sum(map(sum, one["confusion"])) == sum(one["n_test"])
    assert one["epsilon_reached"] == pytest.approx(7.992)


def test_differences_are_taken_seed_by_seed(results: Results) -> None:
    content, _ = results
    private = point(content, data="other", kind="federated", epsilon=1.0, noise="distributed")
    without = point(content, data="other", kind="federated", epsilon="inf")
    (cost,) = [
        row
        for row in content["differences"]
        if row["what"] == "privacy"
        and (row["data"], row["epsilon"], row["noise"]) == ("other", 1.0, "distributed")
    ]
    pairs = zip(private["oa"]["values"], without["oa"]["values"], strict=True)
    assert cost["oa"]["values"] == [a - b for a, b in pairs]
    kinds = {row["what"] for row in content["differences"]}
    assert kinds == {"privacy", "shared noise", "federation", "trust"}


def test_bench_json_is_read_back_as_it_was_written(results: Results) -> None:
    content, files = results
    assert read_bench(files.results) == json.loads(to_bytes(content))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "not feddiff-secure bench of version 1"),
        (("points", 0, "oa", "mean"), 0.99, "points do not follow"),
        (("differences", 0, "oa", "mean"), 0.99, "points do not follow"),
        (("runs", 0, "metrics", "oa"), 1.5, "metrics.oa is 1.5"),
        (("runs", 0, "metrics", "oa"), "high", "metrics.oa is 'high'"),
        (("runs", 0, "metrics", "n_test"), 3, "not the sum of the confusion"),
        (("runs", 0, "classes"), ["one"], "is not 1 rows"),
        (("runs", 0, "privacy"), 3, "field privacy"),
        (("runs", 0), None, "is no object"),
        (("extra",), 1, "its fields are"),
    ],
)
def test_results_that_were_edited_are_refused(
    results: Results, tmp_path: Path, path: tuple[Any, ...], value: Any, message: str
) -> None:
    content = json.loads(to_bytes(results[0]))
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    (tmp_path / "bench.json").write_bytes(to_bytes(content))
    with pytest.raises(DataError, match=message):
        read_bench(tmp_path / "bench.json")


def test_a_number_that_is_none_is_refused(results: Results, tmp_path: Path) -> None:
    text = results[1].results.read_text().replace('"wall_seconds": 3.0', '"wall_seconds": NaN', 1)
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(DataError, match="the number NaN"):
        read_bench(tmp_path / "bench.json")


def test_a_record_under_the_name_of_another_is_refused(results: Results, tmp_path: Path) -> None:
    content, files = results
    first, second = (run["digest"] for run in content["runs"][:2])
    other = tmp_path / f"{second}.json"
    other.write_bytes(files.record(first).read_bytes())
    with pytest.raises(DataError, match="holds the run") as refused:
        read_record(other, second)
    assert "remove" in refused.value.hint
    other.write_bytes(files.record(second).read_bytes()[:-200])
    with pytest.raises(DataError, match="not JSON"):
        read_record(other, second)
