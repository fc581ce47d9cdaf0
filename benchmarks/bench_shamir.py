"""Secret sharing at the size of the largest roster (rows without a target, with --full)."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import is_full, measure, record, row
from feddiff_crypto import shamir
from feddiff_crypto.randomness import SecureRandom

OWNERS = 100
THRESHOLD = 67
pytestmark = pytest.mark.skipif(not is_full(), reason="rows without a target run with --full")


@row(f"shamir split {THRESHOLD} of {OWNERS}")
def bench_split(benchmark: BenchmarkFixture) -> None:
    """What an owner does twice a round."""
    random = SecureRandom()
    positions = range(1, OWNERS + 1)
    measure(
        benchmark, shamir.split, (random.random_bytes(32), THRESHOLD, positions, random), rounds=20
    )
    record(benchmark, "ms CPU", scale=1e3)


@row(f"shamir combine {THRESHOLD} of {OWNERS}")
def bench_combine(benchmark: BenchmarkFixture) -> None:
    """What the coordinator does for each owner; the weights are those of the last secret."""
    random = SecureRandom()
    shares = shamir.split(random.random_bytes(32), THRESHOLD, range(1, OWNERS + 1), random)
    measure(benchmark, shamir.combine, (shares[:THRESHOLD], THRESHOLD), rounds=20, iterations=5)
    record(benchmark, "ms CPU", scale=1e3)


@row(f"shamir weights {THRESHOLD} of {OWNERS}")
def bench_weights(benchmark: BenchmarkFixture) -> None:
    """The weights of one set of openers, once a round."""
    positions = tuple(range(1, THRESHOLD + 1))
    measure(benchmark, shamir._lagrange_at_zero.__wrapped__, (positions,), rounds=20)
    record(benchmark, "ms CPU", scale=1e3)
