"""Flower's own SecAgg+ functions on the same work (`mask Flower`, `client Flower`), if installed.

Flower is no dependency: its pins clash with ours, so these rows appear only where somebody put it
beside this package. What is timed are the functions that its client calls in its masking stage; its
key agreement, which costs little, is left out.
"""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row

pytest.importorskip("flwr", reason="Flower is not installed: its rows are left out")
arithmetic: Any = pytest.importorskip("flwr.common.secure_aggregation.ndarrays_arithmetic")
utilities: Any = pytest.importorskip("flwr.common.secure_aggregation.secaggplus_utils")

RANGE = 2**32  # the ring; Flower's default is 2²²
DIMENSION = 10**7
OWNERS = 10


def _mask(vector: list[Any], seed: bytes) -> list[Any]:
    mask = utilities.pseudo_rand_gen(seed, RANGE, [array.shape for array in vector])
    masked: list[Any] = arithmetic.parameters_addition(vector, mask)
    return masked


def _client(vector: list[Any], seeds: list[bytes]) -> list[Any]:
    for seed in seeds:
        vector = _mask(vector, seed)
    reduced: list[Any] = arithmetic.parameters_mod(vector, RANGE)
    return reduced


@row("mask Flower")
def bench_flower_mask(benchmark: BenchmarkFixture) -> None:
    """One mask over one parameter."""
    vector = [np.zeros(DIMENSION, np.int64)]
    measure(benchmark, _mask, (vector, secrets.token_bytes(32)), rounds=3)
    record(
        benchmark,
        "ns/parameter/mask",
        scale=1e9 / DIMENSION,
        reference="MT19937, 32-bit seed, int64",
    )


@row(f"client Flower n={OWNERS} d=1e7")
def bench_flower_client(benchmark: BenchmarkFixture) -> None:
    """A self mask and n − 1 pairwise masks."""
    seeds = [secrets.token_bytes(32) for _ in range(OWNERS)]
    measure(benchmark, _client, ([np.zeros(DIMENSION, np.int64)], seeds), rounds=1)
    record(benchmark, "s CPU", reference="masks alone")
