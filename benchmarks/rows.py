"""A row of the table: one measured quantity, its target, and what it is compared with.

A benchmark is a function `bench_…` in a file `bench_*.py`. Its row's name is the group of its
`benchmark` marker; `record` attaches the rest after the measurement. Times are CPU time of this
process and the least of the rounds: what the code costs, not what else the machine was doing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.budgets import budgets

T = TypeVar("T")
ROW: Final = "row"  # the key in `extra_info`
FULL: Final = "FEDDIFF_BENCHMARKS_FULL"  # the environment variable behind --full
DATA: Final = "FEDDIFF_BENCHMARKS_DATA"  # and that behind --data-dir


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: begins with the name that the design gives the target.
        value: what was measured, in `unit`.
        unit: of value and target.
        target: the most that `value` should be; None where the row is for information.
        reference: limits and peers, in words.
        at_least: whether the target is the least that it should be.
        ratio: value over its peer or limit of the same run; None where there is none.
        most_ratio: the most that the ratio may be.
    """

    name: str
    value: float
    unit: str
    target: float | None
    reference: str
    at_least: bool = False
    ratio: float | None = None
    most_ratio: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def failed(self) -> bool:
        """Whether the ratio to peer or limit is too large: the one thing no machine excuses."""
        if self.ratio is None or self.most_ratio is None:
            return False
        return self.ratio > self.most_ratio

    def to_json(self) -> dict[str, Any]:
        """The row as one object."""
        return {**asdict(self), "met": self.met, "failed": self.failed}


def is_full() -> bool:
    """Whether rows without a target run too."""
    return os.environ.get(FULL) == "1"


def row(name: str) -> pytest.MarkDecorator:
    """The marker of a benchmark whose row is `name`."""
    return pytest.mark.benchmark(group=name, timer=time.process_time, warmup=False)


def measure(
    benchmark: BenchmarkFixture,
    call: Callable[..., T],
    args: tuple[Any, ...] = (),
    *,
    rounds: int,
    iterations: int = 1,
) -> T:
    """Time `rounds` rounds of `iterations` calls; the result of the last."""
    result: T = benchmark.pedantic(call, args, rounds=rounds, iterations=iterations)  # type: ignore[no-untyped-call]  # pytest-benchmark has no annotations
    return result


def record(
    benchmark: BenchmarkFixture,
    unit: str,
    *,
    scale: float = 1.0,
    value: float | None = None,
    peer: float | None = None,
    reference: str = "–",
) -> None:
    """Attach the row of a benchmark that has been measured.

    Args:
        benchmark: the fixture, after its measurement.
        unit: of the value.
        scale: units in one second.
        value: what was measured, where it is not the time of a round.
        peer: what it is compared with, measured in the same run, in the same unit.
        reference: limits and peers, in words.

    Raises:
        ValueError: the row's budget is in another unit, or counts on a peer that is not there.
    """
    if value is None:
        assert benchmark.stats is not None
        value = benchmark.stats.stats.min * scale
    budget = budgets().get(str(benchmark.group))
    if budget is not None and budget.unit != unit:
        raise ValueError(f"{budget.name}: measured in {unit}, its budget in {budget.unit}")
    if budget is not None and budget.most_ratio is not None and peer is None:
        raise ValueError(f"{budget.name}: its budget counts on a peer of the same run")
    benchmark.extra_info[ROW] = {
        "value": value,
        "unit": unit,
        "target": None if budget is None else budget.target,
        "reference": reference,
        "at_least": budget is not None and budget.at_least,
        "ratio": None if peer is None else value / peer,
        "most_ratio": None if budget is None else budget.most_ratio,
    }
