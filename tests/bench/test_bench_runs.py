"""Benchmarks that are really run, on a tiny table: what they leave, and how they go on."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.audit.attack_results import AttackResult
from feddiff_secure.bench import one_run
from feddiff_secure.bench.alone import epsilon_alone, together, train_alone
from feddiff_secure.bench.bench_files import BenchFiles
from feddiff_secure.bench.bench_report import read_attacks, write_report
from feddiff_secure.bench.execute import TimeLeft, run_bench
from feddiff_secure.bench.grid import DataSource, Grid
from feddiff_secure.bench.jobs import Job, jobs_of
from feddiff_secure.bench.record import check_record
from feddiff_secure.bench.results import read_bench
from feddiff_secure.bench.summary import points_of
from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.folds import fold_split
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.examples import blocks_of, describe, labelled_examples
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.run import simulate
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.paper.paper_run import run_paper
from feddiff_secure.paper.schedule import PaperSchedule

REPOSITORY = Path(__file__).parents[2]
BASE = {"rounds": 4, "delta": 1e-4}


class Quiet:
    def __init__(self) -> None:
        self.lines: list[tuple[int, int]] = []

    def begun(self, done: int, total: int) -> None:
        self.lines.append((done, total))

    def advanced(self, done: int, total: int, seconds_left: float, what: str) -> None:
        assert seconds_left >= 0
        assert "seed" in what
        self.lines.append((done, total))


def small(tiny: Path, **fields: Any) -> Grid:
    made: dict[str, Any] = {
        "epsilons": (math.inf, 8.0),
        "noises": ("distributed",),
        "owners": (3,),
        "seeds": 1,
        "data": (DataSource(name="tiny", path=str(tiny), folds=2),),
        "run": BASE,
    }
    return Grid(**made | fields)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "small"
    run_bench(small(tiny), out, workers=2, progress=Quiet())
    return out


def test_a_benchmark_leaves_a_record_of_every_run(finished: Path, tiny: Path) -> None:
    content = read_bench(finished / "bench.json")
    jobs, _ = jobs_of(small(tiny))
    assert [run["digest"] for run in content["runs"]] == [job.digest for job in jobs]
    assert [run["job"]["kind"] for run in content["runs"]] == [
        "federated", "alone", "centralised", "federated", "alone", "centralised",
    ]  # fmt: skip
    private = content["runs"][3]
    assert private["privacy"]["epsilon_target"] == 8.0
    assert len(private["privacy"]["adversaries"]) == 5
    assert [part["n_test"] for part in private["parts"]] == [120, 120]
    assert private["metrics"]["n_test"] == 240  # every region is tested once
    assert private["numbers"]["bytes_up_per_owner_per_round"] > 1000
    assert {"rounds", "features", "calibrate"} <= private["seconds"].keys()
    alone = content["runs"][4]
    assert len(alone["parts"]) == 2 * 3  # folds, owners
    assert alone["metrics"]["n_test"] == 3 * 240
    assert all(7.92 <= part["epsilon"] <= 8.0 for run in (private, alone) for part in run["parts"])


def test_a_finished_benchmark_is_not_run_again(finished: Path, tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()}
    progress = Quiet()
    run_bench(small(tiny), finished, workers=1, progress=progress)
    assert progress.lines == [(6, 6)]
    assert {path: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()} == before


def test_a_benchmark_that_was_killed_goes_on_where_it_was(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    grid = (
        f"epsilons = [inf]\nseeds = 3\nowners = [3]\ncomparisons = []\n[run]\nrounds = 4\n"
        f"delta = 1e-4\n[[data]]\nname = 'tiny'\npath = {str(tiny)!r}\n"
    )
    (tmp_path / "grid.toml").write_text(grid)
    command = ["bench", "--grid", str(tmp_path / "grid.toml"), "--out", str(out), "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started = subprocess.Popen(
        [sys.executable, "-m", "feddiff_secure", *command],
        env=environment, cwd=REPOSITORY, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list(out.glob("runs/*.json")):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    before = {path: path.read_bytes() for path in out.glob("runs/*.json")}
    assert 1 <= len(before) < 3
    assert not (out / "bench.json").exists()
    assert run_cli([*command, "--quiet"]) == 0
    assert len(read_bench(out / "bench.json")["runs"]) == 3
    assert all(path.read_bytes() == data for path, data in before.items())
    assert (out / "report.html").is_file()
    assert (out / "utility.svg").is_file()


def test_an_error_of_a_run_is_the_error_of_the_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "broken.h5"
    path.write_bytes(b"no data at all")
    grid = Grid(data=(DataSource(name="broken", path=str(path)),), seeds=1)
    with pytest.raises(DataError, match=r"^broken: .*broken\.h5"):
        run_bench(grid, tmp_path / "out", workers=1, progress=Quiet())
    assert not (tmp_path / "out" / "bench.json").exists()


def test_a_damaged_record_is_named_before_anything_is_run(
    finished: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    (out / "runs").mkdir(parents=True)
    (out / "grid.json").write_bytes((finished / "grid.json").read_bytes())
    first = sorted((finished / "runs").iterdir())[0]
    (out / "runs" / first.name).write_bytes(first.read_bytes()[:100])
    with pytest.raises(DataError, match=first.name):
        run_bench(small(tiny), out, workers=1, progress=Quiet())


def test_feddiff_as_published_is_tested_on_the_same_folds(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = PaperSchedule(
        widths=(8, 16), branch_rounds=1, branch_steps=2, batch=1, timesteps=(5,), head_width=8
    )
    monkeypatch.setattr(one_run, "run_paper", partial(run_paper, schedule=schedule))
    fields = with_profile_defaults({"data": str(tiny), "profile": "paper", "rounds": 1})
    source = DataSource(name="tiny", path=str(tiny), folds=2)
    job = Job("paper", source, RunConfig(**fields), ())
    record, _ = one_run.run_job(job, describe, tmp_path)
    check_record(record, "the record", "none")
    assert record["metrics"]["n_test"] == 240
    assert record["privacy"]["guarantee"] == "no privacy guarantee"
    assert [part["epsilon"] for part in record["parts"]] == [None, None]
    assert points_of([record])[0]["kind"] == "paper"


Material = tuple[Callable[..., Plan], list[Any], RunConfig]


@pytest.fixture(scope="module")
def material(tiny: Path) -> Material:
    config = RunConfig(data=str(tiny), owners=3, epsilon=math.inf, **BASE)  # type: ignore[arg-type]  # one dict for all fields
    prepared = prepare(config, partial(fold_split, folds=2, number=0, seed=0))
    features = FeatureMap.public(prepared.dataset.layout, tile=prepared.tile, seed=0)
    held = [labelled_examples(features, describe(features, t, Silent())) for t in prepared.owners]

    def plan(epsilon: float) -> Plan:
        noise = "local" if math.isfinite(epsilon) else "none"
        return make_plan(
            replace(config, epsilon=epsilon, noise=noise, owners=2),  # type: ignore[arg-type]  # a noise
            session=bytes(16),
            owners=("a", "b"),
            tile=prepared.tile,
            classes=3,
            features=sum(features.widths.values()),
            blocks=blocks_of(features, config),
        )

    return plan, held, config


def test_one_holder_of_all_tiles_learns_what_the_federation_learns(
    material: Material, tmp_path: Path
) -> None:
    plan, held, config = material
    found = simulate(
        config,
        log=lambda _line: None,
        progress=Silent(),
        on_ready=lambda _plan: None,
        ledgers=tmp_path,
        splitter=partial(fold_split, folds=2, number=0, seed=0),
    )
    alone = train_alone(plan(math.inf), together(iter(held)), SecureRandom())
    scale = float(np.abs(found.model.weights).max())
    assert np.abs(alone - found.model.weights).max() < 0.02 * scale  # the grid rounds each owner


def test_tiles_of_several_owners_stay_tiles_of_their_own(material: Material) -> None:
    _, held, _ = material
    joined = together(iter(held))
    assert joined.tiles == sum(part.tiles for part in held)
    assert len(joined.labels) == sum(len(part.labels) for part in held)


def test_one_holder_adds_all_the_noise_that_its_epsilon_needs(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, held, _ = material
    private = plan(8.0)
    reached = epsilon_alone(private)
    assert reached is not None
    assert 7.92 <= reached <= 8.0
    stds = []
    from feddiff_secure.bench import alone as module  # noqa: PLC0415  # to listen in

    made = module.contribution

    def listening(value: Any, grid: Any, **more: Any) -> Any:
        found = made(value, grid, **more)
        noise = grid.ring.from_ring(found.vector) - np.rint(value * grid.scale)
        stds.append((more["share_std"], float(np.std(noise))))
        return found

    monkeypatch.setattr(module, "contribution", listening)
    train_alone(private, held[0], SecureRandom())
    assert len(stds) == 2 + BASE["rounds"]
    for asked, measured in stds[1:]:  # the count is one number
        assert measured == pytest.approx(asked, rel=0.1)
    assert stds[-1][0] == private.train_share_std


def test_one_holder_refuses_noise_that_counts_on_others(material: Material) -> None:
    plan, held, _ = material
    with pytest.raises(ValueError, match="distributed"):
        train_alone(replace(plan(math.inf), noise="distributed"), held[0], SecureRandom())


def test_time_left_follows_the_kinds_that_were_measured(tiny: Path) -> None:
    jobs, _ = jobs_of(small(tiny, seeds=2))
    left = TimeLeft(jobs, workers=2)
    fed = [job for job in jobs if job.kind == "federated"]
    others = len(jobs) - len(fed)
    assert left.add(fed[0], 10.0) > 0
    for job in fed[1:]:
        seconds = left.add(job, 10.0)
    weights = {"alone": 1.0, "centralised": 0.6}
    expected = sum(10.0 * weights[job.kind] for job in jobs if job.kind != "federated") / 2
    assert seconds == pytest.approx(expected)
    assert others == 8


def test_wrong_options_are_refused_before_anything_is_made(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    grid = tmp_path / "grid.toml"
    grid.write_text("seeds = 1\n")
    for options, message in (
        (["--epsilons", "8,x"], "epsilons: 'x'"),
        (["--owners", "4,2.5"], "owners: '2.5'"),
        (["--noise", "locl"], "did you mean local?"),
        (["--grid", grid, "--seeds", "2"], "--grid with --seeds"),
        (["--data-dir", tmp_path], "--data-dir without --grid"),
        (["--data", tiny, "--folds", "1"], "folds is 1"),
        (["--data", tiny, "--data", tiny, "--test", tiny], "--test with 2 --data"),
        (["--jobs", "0", "--seeds", "1"], "jobs is 0"),
        (["--attack", grid], "attacks:"),
    ):
        code = run_cli(["bench", "--out", str(out), *map(str, options)])
        captured = capsys.readouterr()
        assert code == (3 if "--attack" in options else 2)
        assert message in captured.err
        assert captured.err.splitlines()[-1].startswith("hint: ")
        assert not out.exists()


def test_results_of_attacks_are_shown_with_their_picture(finished: Path, tmp_path: Path) -> None:
    result = {"version": 1, "claimed": {"epsilon": 8.0}, "lower_bounds": [{
        "method": "guessing canaries", "epsilon": 1.875, "ceiling": 4.0, "confidence": 0.95,
        "guesses": 100, "right": 80,
    }]}  # fmt: skip
    (tmp_path / "audit.json").write_text(json.dumps(result))
    (tmp_path / "audit.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (attack,) = read_attacks([tmp_path / "audit.json"])
    write_report(read_bench(finished / "bench.json"), BenchFiles(finished), [attack])
    page = (finished / "report.html").read_text()
    assert "guessing canaries" in page
    assert "1.88" in page
    assert 'alt="Picture of the attack audit.json"' in page
    assert 'alt="Tiles of the simulated scene: real, noised and reconstructed"' in page


def test_a_report_that_is_too_large_is_no_bug(finished: Path) -> None:
    attack = AttackResult("a.json", b"{}", {"claimed": {}}, b"\x89PNG\r\n\x1a\n" + bytes(5_000_000))
    with pytest.raises(UsageError, match="limit 5000000"):
        write_report(read_bench(finished / "bench.json"), BenchFiles(finished), [attack])


def group_of(job: Job) -> tuple[str, int]:
    return job.group


def test_runs_on_one_file_share_descriptors_and_simulated_scenes_do_by_seed(tiny: Path) -> None:
    both = (DataSource(name="tiny", path=str(tiny)), DataSource(name="scene"))
    jobs, _ = jobs_of(small(tiny, data=both, seeds=2))
    assert {group_of(job) for job in jobs} == {("tiny", -1), ("scene", 0), ("scene", 1)}


def test_the_answer_as_json_is_what_was_written(
    finished: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f"epsilons = [inf, 8]\nnoises = ['distributed']\nowners = [3]\nseeds = 1\n[run]\n"
        f"rounds = 4\ndelta = 1e-4\n[[data]]\nname = 'tiny'\npath = {str(tiny)!r}\nfolds = 2\n"
    )
    command = ["bench", "--grid", str(grid), "--out", str(finished), "--json", "--quiet"]
    assert run_cli(command) == 0
    answer = json.loads(capsys.readouterr().out)
    written = json.loads((finished / "bench.json").read_text())
    assert answer["points"] == written["points"]
    assert "runs" not in answer
