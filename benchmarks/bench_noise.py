"""One owner's noise share (`noise`)."""

from __future__ import annotations

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.noise import DiscreteGaussian

COORDINATES = 10**6
STD = 40_000.0  # grid units: the order of a training round's share at ε = 8


@row("noise")
def bench_noise(benchmark: BenchmarkFixture) -> None:
    """Drawing exact discrete Gaussian noise from the operating system's randomness."""
    sampler, source = DiscreteGaussian(STD), SecureRandom()
    measure(benchmark, sampler.sample, (COORDINATES, source), rounds=7)
    record(benchmark, "s CPU / 1e6 coordinates", reference=f"exact, std {STD:g}")
