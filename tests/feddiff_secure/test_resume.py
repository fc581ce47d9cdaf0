"""Interrupted runs go on: bit for bit without noise, whenever their process was killed."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feddiff_secure.aggregation.update import Iterates, UpdateRule
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.data.hdf5_writer import write_scene
from scripts.make_tiny_table import tiny_table
from tests.support.interrupted import (
    PHASES,
    SmallRun,
    StoppedError,
    charged,
    killed,
    killing,
    lost,
    stop_at,
    stopping,
    verified,
    watching,
    watching_disk,
)
from tests.support.memoised import memoise_accounting

FEW = settings(
    max_examples=7, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
QUIET: dict[str, Any] = {"epsilon": math.inf}
WHOLE: dict[str, Any] = {**QUIET, "centring": True}
# plan, first leaves, five releases, last words, last leaf
EXCHANGES = 1 + 2 + len(PHASES) * 5 + 2


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    write_scene(path, tiny_table(pixels=60, bands=8, seed=0))
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, set[str]]:
    """Model and files of a run that nothing interrupts."""
    run = SmallRun.of(tmp_path_factory.mktemp("whole") / "run", data, **WHOLE)
    return run.finish(), files(run.directory)


def files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


@FEW
@given(kills=st.tuples(st.integers(1, EXCHANGES), st.integers(1, EXCHANGES)), before=st.booleans())
def test_a_run_killed_at_any_exchange_gives_the_same_model_and_files(
    kills: tuple[int, int],
    before: bool,
    data: Path,
    whole: tuple[bytes, set[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("killed") / "run", data, **WHOLE)

    def work() -> None:
        with watching(killing(kills[0]), before=before):
            run.finish()

    def once_more() -> None:
        with watching(killing(kills[1]), before=not before):
            run.finish()

    assert killed(work)
    if killed(once_more):
        assert run.finish() == whole[0]
    assert (run.directory / "model.safetensors").read_bytes() == whole[0]
    assert files(run.directory) == whole[1]
    history = verified(run.directory)
    assert lost(history) <= 2
    for spent in charged(run):
        assert all(spent[phase] >= 1 for phase in ("count", "mean"))


@FEW
@given(at=st.integers(30, 330))
def test_a_run_killed_before_any_write_is_on_disk_gives_the_same_model(
    at: int, data: Path, whole: tuple[bytes, set[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("killed") / "run", data, **WHOLE)

    def work() -> None:
        with watching_disk(killing(at)):
            run.finish()

    if killed(work):
        assert run.finish() == whole[0]
    assert files(run.directory) == whole[1]
    verified(run.directory)


@FEW
@given(at=st.integers(1, 200))
def test_ctrl_c_in_the_middle_of_a_write_leaves_ledgers_that_can_be_read(
    at: int, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = SmallRun.of(tmp_path_factory.mktemp("stopped") / "run", data, **QUIET, nominal_tiles=90)
    with suppress(StoppedError), watching_disk(stopping(at)):
        run.rounds()
    began = run.folder.checkpoint.path.exists()
    assert began or not any(map(any, charged(run)))
    if began:
        run.finish()
        verified(run.directory)


def test_the_averaging_window_survives_an_interruption(data: Path, tmp_path: Path) -> None:
    ten: dict[str, Any] = {**QUIET, "nominal_tiles": 90, "rounds": 10}
    whole = SmallRun.of(tmp_path / "whole", data, **ten).finish()
    run = SmallRun.of(tmp_path / "run", data, **ten)
    stop_at(run, "mask", 9)  # nine rounds are done, of which the last is averaged
    assert run.finish() == whole


def test_a_run_that_ends_short_averages_what_is_in_the_window() -> None:
    rule = UpdateRule(step_size=1.0, momentum=0.0, denominator=1.0, scale=1.0, rounds=10)
    state = Iterates(rule, np.zeros((1, 1)))
    found = []
    for round_index in range(10):
        state.apply(np.array([-1], dtype=np.int64))  # W_t = t
        found.append(float(state.model(round_index + 1)[0, 0]))
    assert found == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9.5]  # of 10 rounds, 9 and 10 are averaged
    with pytest.raises(RuntimeError, match="10 of 9"):
        state.model(9)


def test_a_finished_directory_has_nothing_of_what_it_could_go_on_from(
    whole: tuple[bytes, set[str]], data: Path, tmp_path: Path
) -> None:
    run = SmallRun.of(tmp_path / "run", data, **WHOLE)
    run.finish()
    assert not run.folder.path.exists()
    assert not any(name.startswith("resume") for name in whole[1])
    (run.directory / "resume").mkdir()
    (run.directory / "resume" / "x.key").write_text("left behind")
    failed = verify_run(run.directory).failed
    assert failed is not None
    assert failed.number == 7
