"""Grid files are read strictly, and a grid becomes exactly the runs it asks for."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from feddiff_secure.bench.bench_files import BenchFiles, grid_values
from feddiff_secure.bench.grid import DataSource, Grid, load_grid, parse_grid
from feddiff_secure.bench.jobs import jobs_of
from feddiff_secure.errors import DataError, UsageError

WHOLE = """
epsilons = [inf, 8, 1.5]
topologies = ["paired", "mixed"]
aggregations = ["masked"]
noises = ["local"]
owners = [4, 8]
seeds = 2
comparisons = ["alone"]

[[data]]
name = "pixels"
path = "pixels.h5"
folds = 5
tile = 1

[[data]]
name = "scene"

[run]
rounds = 7
colluders = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_grid_is_read(tmp_path: Path) -> None:
    grid = load_grid(written(tmp_path, WHOLE), tmp_path / "data")
    assert grid.epsilons == (math.inf, 8.0, 1.5)
    assert grid.owners == (4, 8)
    assert grid.data[0].path == str(tmp_path / "data" / "pixels.h5")
    assert grid.data[1].path is None
    assert grid.run == {"rounds": 7, "colluders": 1}


def test_a_grid_comes_back_from_its_json_as_it_was(tmp_path: Path) -> None:
    grid = load_grid(written(tmp_path, WHOLE))
    files = BenchFiles(tmp_path / "bench")
    files.claim(grid)
    assert parse_grid(grid_values(files.read_grid()), "stored") == grid


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("epsilon = [8]", "unknown key 'epsilon'", "did you mean epsilons?"),
        ("noises = ['distribute']", "noises: 'distribute'", "did you mean distributed?"),
        ("noises = ['none']", "noises: 'none'", "distributed"),
        ("comparisons = ['papers']", "comparisons: 'papers'", "did you mean paper?"),
        ("epsilons = []", "epsilons is empty", "at least one"),
        ("epsilons = 8", "epsilons is 8", "list"),
        ("epsilons = ['8']", "'8'", "a number"),
        ("epsilons = [true]", "'True'", "a number"),
        ("epsilons = [8, 8.0]", "twice", "once"),
        ("owners = [4.0]", "'4.0'", "an integer"),
        ("seeds = 0", "seeds is 0", "1 to 100"),
        ("seeds = '3'", "seeds: '3'", "an integer"),
        ("[run]\nround = 3", "[run]: key 'round'", "did you mean rounds?"),
        ("[run]\nepsilon = 3", "[run]: key 'epsilon'", "axis"),
        ("[run]\nledger = 'x'", "[run]: key 'ledger'", "leave it out"),
        ("[run]\nrounds = 'x'", "[run]: rounds is 'x'", "an integer"),
        ("[[data]]\nname = 'a'\nfold = 3", "unknown key 'fold'", "did you mean folds?"),
        ("[[data]]\npath = 'a'", "without a name", "name"),
        ("[[data]]\nname = 'a'\nfolds = 1", "folds is 1", "2 to 20"),
        ("[[data]]\nname = '../x'", "name '../x'", "letters"),
        ("[[data]]\nname = 'a'\n[[data]]\nname = 'a'", "twice", "own name"),
        ("[[data]]\nname = 'a'\npath = 'p'\ntest = 't'\nfolds = 2", "test with folds", "alone"),
        ("epsilons = [", "not TOML", "docs/bench.md"),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused_with_what_to_do(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load_grid(written(tmp_path, text))
    assert message in str(refused.value)
    assert hint in refused.value.hint


def test_a_grid_that_is_missing_or_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_grid(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="larger than"):
        load_grid(written(tmp_path, "#" * (2 << 20)))


def test_noise_counts_at_finite_epsilon_only() -> None:
    jobs, _ = jobs_of(Grid(seeds=1, comparisons=()))
    points = [(job.config.epsilon, job.config.noise) for job in jobs]
    assert points == [
        (math.inf, "none"),
        (8.0, "distributed"),
        (8.0, "local"),
        (1.0, "distributed"),
        (1.0, "local"),
    ]


def test_comparisons_are_run_at_every_epsilon_and_the_paper_once() -> None:
    jobs, _ = jobs_of(Grid(seeds=2, comparisons=("alone", "centralised", "paper")))
    count = {kind: sum(job.kind == kind for job in jobs) for kind in ("alone", "centralised")}
    assert count == {"alone": 6, "centralised": 6}
    (paper,) = [job for job in jobs if job.kind == "paper"]
    assert (paper.config.profile, paper.config.epsilon) == ("paper", math.inf)


def test_every_job_has_a_digest_of_its_own_that_other_axes_do_not_move() -> None:
    some, _ = jobs_of(Grid(epsilons=(8.0,), seeds=1))
    more, _ = jobs_of(Grid(epsilons=(8.0, 2.0), seeds=3, owners=(4, 8)))
    assert len({job.digest for job in more}) == len(more)
    assert {job.digest for job in some} <= {job.digest for job in more}


def test_a_combination_that_no_run_allows_is_left_out_and_named() -> None:
    jobs, left_out = jobs_of(Grid(epsilons=(8.0,), aggregations=("masked", "plain"), seeds=1))
    assert [job.config.noise for job in jobs if job.config.aggregation == "plain"] == ["local"]
    (entry,) = left_out
    assert "aggregation plain" in entry.point
    assert "share of distributed noise" in entry.reason


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(epsilons=(8.0, 1000.0)), "epsilon 1000"),
        (Grid(epsilons=(float("nan"),)), "epsilon nan"),
        (Grid(owners=(4, 1)), "owners 1"),
        (Grid(noises=("distributed",), epsilons=(8.0,), aggregations=("plain",)), "plain"),
        (Grid(run={"colluders": 4}, owners=(101,)), "owners is 101"),
    ],
)
def test_a_value_that_no_run_allows_is_refused(grid: Grid, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        jobs_of(grid)


def test_a_data_file_that_changed_makes_other_runs(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    digests = []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        jobs, _ = jobs_of(Grid(data=(DataSource(name="data", path=str(path)),), seeds=1))
        digests.append({job.digest for job in jobs})
    assert not digests[0] & digests[1]


def test_a_data_file_that_is_missing_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.h5"):
        jobs_of(Grid(data=(DataSource(name="none", path=str(tmp_path / "none.h5")),)))


def test_a_folder_belongs_to_one_grid(tmp_path: Path) -> None:
    files = BenchFiles(tmp_path / "bench")
    files.claim(Grid())
    files.claim(Grid())
    with pytest.raises(UsageError, match="another grid"):
        files.claim(Grid(seeds=4))
    text = files.grid.read_text().replace('"seeds": 3', '"seeds": 4')
    files.grid.write_text(text)
    with pytest.raises(UsageError, match="edited"):
        files.claim(Grid(seeds=4))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds no grid"):
        BenchFiles(tmp_path).claim(Grid())
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
