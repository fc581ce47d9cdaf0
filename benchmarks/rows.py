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

T = TypeVar("T")
ROW: Final = "row"  # the key in `extra_info`
FULL: Final = "FEDDIFF_BENCHMARKS_FULL"  # the environment variable behind --full


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: begins with the name that the design gives the target.
        value: what was measured, in `unit`.
        unit: of value and target.
        target: the most that `value` may be; None where the row is for information.
        reference: limits and peers, in words.
    """

    name: str
    value: float
    unit: str
    target: float | None
    reference: str

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.value <= self.target

    def to_json(self) -> dict[str, Any]:
        """The row as one object."""
        fields = asdict(self)
        reference = fields.pop("reference")
        return {**fields, "met": self.met, "reference": reference}


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
    target: float | None = None,
    reference: str = "–",
) -> None:
    """Attach the row of a benchmark that has been measured.

    Args:
        benchmark: the fixture, after its measurement.
        unit: of the value.
        scale: units in one second.
        value: what was measured, where it is not the time of a round.
        target: the most that it may be.
        reference: limits and peers, in words.
    """
    if value is None:
        assert benchmark.stats is not None
        value = benchmark.stats.stats.min * scale
    benchmark.extra_info[ROW] = {
        "value": value,
        "unit": unit,
        "target": target,
        "reference": reference,
    }
