"""Masks, owners, coordinator and bytes on the wire (`mask`, `client`, `coordinator`, `upload`).

An owner's row is all that it computes in a round, five phases with every check and signature, for
one vector of d parameters. The coordinator's is all that it computes for n owners of whom a tenth
drops out between sharing and masked input, the worst moment: their masks are to be recovered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.limits import mask_limit
from benchmarks.measured_round import least_cost
from benchmarks.rows import is_full, measure, record, row
from feddiff_crypto.encoding import encode
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_crypto.prg import MaskSeed, add_masks

MASKS = 32
MASK_PARAMETERS = 2**21
TARGET_DIMENSION = 10**7
FLOWER_CLIENT = {10: 1.26, 32: 2.9, 100: 8.6}  # seconds, on the design's reference machine
FLOWER_COORDINATOR = {10: 2.8, 32: 13.5, 100: 155.0}


def _rows(kind: str) -> pytest.MarkDecorator:
    """The rows with a target, and the whole grid of n and d with --full."""
    sizes = [(n, TARGET_DIMENSION) for n in FLOWER_CLIENT]
    if is_full():
        sizes = [(n, d) for d in (10**5, 10**6, 10**7) for n in (4, 10, 32, 100)]
    cases: list[Any] = [
        pytest.param(n, d, id=f"{n}-{d}", marks=row(f"{kind} n={n} d=1e{len(str(d)) - 1}"))
        for n, d in sizes
    ]
    return pytest.mark.parametrize(("owners", "dimension"), cases)


@row("mask")
def bench_mask(benchmark: BenchmarkFixture) -> None:
    """One mask over one parameter, against AES and addition alone in the same run."""
    seeds = [MaskSeed(bytes([i]) * 32) for i in range(MASKS)]
    total = np.zeros(MASK_PARAMETERS, np.uint32)
    limit = mask_limit(MASK_PARAMETERS * 4)
    measure(benchmark, add_masks, (total, seeds), rounds=7)
    record(
        benchmark,
        "ns/parameter/mask",
        scale=1e9 / (MASKS * MASK_PARAMETERS),
        peer=limit,
        reference=f"limit {limit:.3f} (AES-256-CTR and addition alone, same run)",
    )


@_rows("client")
def bench_client(benchmark: BenchmarkFixture, owners: int, dimension: int) -> None:
    """All that one owner computes in a round."""
    cost = measure(benchmark, least_cost, (owners, dimension), rounds=1)
    known = dimension == TARGET_DIMENSION and owners in FLOWER_CLIENT
    record(
        benchmark,
        "s CPU",
        value=cost.owner,
        reference=f"Flower {FLOWER_CLIENT[owners]:g}" if known else "–",
    )


@_rows("coordinator")
def bench_coordinator(benchmark: BenchmarkFixture, owners: int, dimension: int) -> None:
    """All that the coordinator computes in a round with a tenth of the owners dropped."""
    cost = measure(benchmark, least_cost, (owners, dimension), rounds=1)
    known = dimension == TARGET_DIMENSION and owners in FLOWER_COORDINATOR
    record(
        benchmark,
        "s CPU",
        value=cost.coordinator,
        reference=f"Flower {FLOWER_COORDINATOR[owners]:g}" if known else "–",
    )


@row("upload masked")
def bench_upload(benchmark: BenchmarkFixture) -> None:
    """Bytes of one owner's masked vector as it is sent."""
    dimension = 10**6
    message = MaskedInput(bytes(32), "owner-000", np.zeros(dimension, np.uint32)).to_message()
    sent = measure(benchmark, encode, (message,), rounds=3)
    record(
        benchmark,
        "B/parameter",
        value=len(sent) / dimension,
        peer=4.0,  # bytes of an element of the ring; the rest is a header
        reference=f"Flower 8, NVFLARE 57.6; {len(sent) - 4 * dimension} B of header",
    )
