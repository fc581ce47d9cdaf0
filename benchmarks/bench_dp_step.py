"""The price of clipping each tile's gradient (`dp_step head`)."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import measure, record, row
from feddiff_privacy.clipping import TileExamples, clipped_sum

TILES, TILE_PIXELS = 500, 4
FEATURES, CLASSES = 1024, 15
ROUNDS = 15


def _plain_step(
    features: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The gradient of the cross-entropy of a linear head, summed, without clipping."""
    scores = features @ weights.T
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    scores[np.arange(len(scores)), labels] -= 1
    gradient: NDArray[np.float64] = scores.T @ features
    return gradient


@row("dp_step head")
def bench_head(benchmark: BenchmarkFixture) -> None:
    """A clipped step over a plain one of the same size, both in float64."""
    random = np.random.Generator(np.random.PCG64(0))
    pixels = TILES * TILE_PIXELS
    features = random.normal(size=(pixels, FEATURES)) / np.sqrt(FEATURES)
    labels = random.integers(CLASSES, size=pixels)
    weights = random.normal(size=(CLASSES, FEATURES))
    examples = TileExamples.group(features, labels, np.arange(pixels) // TILE_PIXELS)
    everyone = np.ones(TILES, dtype=np.bool_)
    plain = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        _plain_step(features, labels, weights)
        plain = min(plain, time.process_time() - began)
    measure(benchmark, clipped_sum, (examples, weights, 0.3, everyone), rounds=ROUNDS)
    assert benchmark.stats is not None
    record(
        benchmark,
        "× a plain step",
        value=benchmark.stats.stats.min / plain,
        target=4.0,
        reference=f"plain step {plain * 1e3:.1f} ms CPU; hooks 67×",
    )
