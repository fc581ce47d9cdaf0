"""The price of clipping each tile's gradient: a linear head and a U-Net (`dp_step`)."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from benchmarks.rows import measure, record, row
from feddiff_privacy.clipping import TileExamples, clipped_sum
from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_secure.model.branch_config import PRIOR_BRANCHES
from feddiff_secure.model.unet import UNet

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
        peer=1.0,  # the value is a ratio already
        reference=f"plain step {plain * 1e3:.1f} ms CPU; hooks 67×",
    )


BATCH, DRAWS, BANDS = 64, 4, 144


def _v_loss(call: Call, x: Tensor, t: Tensor, v: Tensor) -> Tensor:
    return (call(x, t) - v).square().mean()


@row("dp_step unet")
def bench_unet(benchmark: BenchmarkFixture) -> None:
    """A clipped step of the shipped HSI branch over a plain one: 64 tiles of 4 noise draws."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    config = PRIOR_BRANCHES["hsi"]
    module = UNet(config)
    x = torch.randn(BATCH, DRAWS, config.in_channels, BANDS, generator=generator)
    t = torch.randint(1, 500, (BATCH, DRAWS), generator=generator)
    v = torch.randn(BATCH, DRAWS, config.out_channels, BANDS, generator=generator)

    def plain_step() -> None:
        module.zero_grad()
        loss = _v_loss(module, x.flatten(0, 1), t.flatten(), v.flatten(0, 1))
        loss.backward()  # type: ignore[no-untyped-call]  # torch's

    plain = float("inf")
    for _ in range(4):
        began = time.process_time()
        plain_step()
        plain = min(plain, time.process_time() - began)
    measure(
        benchmark,
        lambda: clipped_gradient_sum(module, _v_loss, (x, t, v), clip=0.1, chunk=16),
        rounds=3,
    )
    assert benchmark.stats is not None
    record(
        benchmark,
        "× a plain step",
        value=benchmark.stats.stats.min / plain,
        peer=1.0,  # the value is a ratio already
        reference=f"plain step {plain * 1e3:.0f} ms CPU; hooks 4.4× (design)",
    )
