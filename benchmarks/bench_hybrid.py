"""What hybrid key agreement costs beside X25519 (rows without a target, with --full).

A vector of one element, so that what is left is keys, shares and contributions. The measured owners
have the lowest names: they make a contribution for nearly every other, and open hardly any. Opening
one costs about what making one does.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measured_round import RoundCost, least_cost
from benchmarks.rows import is_full, measure, record, row
from feddiff_crypto.hybrid import KeyAgreement

SIZES = (10, 100)
pytestmark = pytest.mark.skipif(not is_full(), reason="rows without a target run with --full")


def _costs(benchmark: BenchmarkFixture, owners: int) -> tuple[RoundCost, RoundCost]:
    """Hybrid, and X25519 in the same run."""
    hybrid = measure(benchmark, least_cost, (owners, 1, KeyAgreement.HYBRID), rounds=1)
    return hybrid, least_cost(owners, 1)


@pytest.mark.parametrize(
    "owners", [pytest.param(n, marks=row(f"hybrid client n={n} d=1")) for n in SIZES]
)
def bench_hybrid_client(benchmark: BenchmarkFixture, owners: int) -> None:
    """All that one owner computes in a round, but for the masks of a long vector."""
    hybrid, classical = _costs(benchmark, owners)
    reference = f"x25519 {classical.owner * 1e3:.1f}, same run"
    record(benchmark, "ms CPU", value=hybrid.owner * 1e3, reference=reference)


@pytest.mark.parametrize(
    "owners", [pytest.param(n, marks=row(f"hybrid coordinator n={n} d=1")) for n in SIZES]
)
def bench_hybrid_coordinator(benchmark: BenchmarkFixture, owners: int) -> None:
    """All that the coordinator computes, a tenth of the owners dropped, but for long vectors."""
    hybrid, classical = _costs(benchmark, owners)
    reference = f"x25519 {classical.coordinator * 1e3:.1f}, same run"
    record(benchmark, "ms CPU", value=hybrid.coordinator * 1e3, reference=reference)


@pytest.mark.parametrize(
    "owners", [pytest.param(n, marks=row(f"hybrid setup upload n={n}")) for n in SIZES]
)
def bench_hybrid_upload(benchmark: BenchmarkFixture, owners: int) -> None:
    """What the owner with the lowest name sends before its masked vector, the most of all."""
    hybrid, classical = _costs(benchmark, owners)
    reference = f"x25519 {classical.setup_bytes / 1e3:.1f}, same run"
    record(benchmark, "kB", value=hybrid.setup_bytes / 1e3, reference=reference)
