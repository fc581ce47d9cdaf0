"""What stays of a run that did not end well: never less than what it released."""

from __future__ import annotations

from pathlib import Path

import pytest

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import (
    BudgetError,
    DataError,
    OutputError,
    ProtocolAbortedError,
    UsageError,
)
from feddiff_secure.report.run_directory import RunDirectory

REFUSED = [UsageError("a", "b"), DataError("a", "b"), BudgetError("a", "b")]
FULL = OutputError("a", "b")
ABORTED = ProtocolAbortedError("a", "b")
STOPPED = [KeyboardInterrupt(), RuntimeError("a bug")]


def left(out: Path, ended: BaseException, *, released: bool = False, is_new: bool = True) -> bool:
    """Whether the partial directory is there after a run that ended so."""
    directory = RunDirectory(out)
    with pytest.raises(type(ended)), directory.kept_on_record(is_new=is_new):  # noqa: PT012  # a block is what is tested
        directory.open(RunConfig())
        if released:
            directory.log({"round": 1})
        raise ended
    return directory.partial.exists()


@pytest.mark.parametrize("ended", [*REFUSED, FULL, *STOPPED], ids=lambda e: type(e).__name__)
def test_a_run_that_ends_before_its_first_release_leaves_nothing(
    tmp_path: Path, ended: BaseException
) -> None:
    assert not left(tmp_path / "r", ended)


@pytest.mark.parametrize("ended", [FULL, ABORTED, *STOPPED], ids=lambda e: type(e).__name__)
def test_a_run_that_released_something_leaves_the_record(
    tmp_path: Path, ended: BaseException
) -> None:
    assert left(tmp_path / "r", ended, released=True)


@pytest.mark.parametrize("ended", [*REFUSED, FULL, ABORTED], ids=lambda e: type(e).__name__)
def test_a_run_that_goes_on_is_never_removed_by_a_refusal(
    tmp_path: Path, ended: BaseException
) -> None:
    assert left(tmp_path / "r", ended, is_new=False)


def test_a_run_that_ends_well_is_left_alone(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "r")
    with directory.kept_on_record():
        directory.open(RunConfig())
    assert directory.partial.exists()
