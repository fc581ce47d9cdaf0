"""The least noise for a target ε over two phases (`calibrate`)."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row
from feddiff_privacy.calibrate import Calibration, calibrate, count_noise_multiplier
from feddiff_privacy.events import NoisedSum

EPSILON, DELTA = 8.0, 1e-5
ROUNDS = 60
SENSITIVITY = 1000.0  # grid units; only its ratio to the noise matters


def _plan(noise_multiplier: float) -> list[NoisedSum]:
    """A count of the tiles, then the training rounds, facing one share of noise."""
    count = count_noise_multiplier(EPSILON, DELTA)
    facts = {"sampling_rate": 1.0, "sampler": "full_batch", "sensitivity": SENSITIVITY}
    return [
        NoisedSum("count", 1, share_std=count * SENSITIVITY, dimension=1, **facts),  # type: ignore[arg-type]  # one dict for both
        NoisedSum(
            "train",
            ROUNDS,
            share_std=noise_multiplier * SENSITIVITY,
            dimension=15_000,
            **facts,  # type: ignore[arg-type]  # one dict for both
        ),
    ]


def _calibrate() -> Calibration:
    return calibrate(_plan, shares=1, target=EPSILON, delta=DELTA)


@row("calibrate")
def bench_calibrate(benchmark: BenchmarkFixture) -> None:
    """Calibrating by privacy-loss distributions."""
    found = measure(benchmark, _calibrate, rounds=3)
    record(
        benchmark,
        "s CPU",
        reference=f"reaches epsilon {found.epsilon:.3f} of {EPSILON:g}",
    )
