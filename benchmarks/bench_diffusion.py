"""The diffusion branches: features, a training step, sampling, size (`diffusion`)."""

from __future__ import annotations

import os
import resource
import sys

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.rows import is_full, measure, record, row
from feddiff_secure.model.branch_config import PRIOR_BRANCHES
from feddiff_secure.model.diffusion import v_loss
from feddiff_secure.model.features import FeatureSettings, hsi_features, lidar_features
from feddiff_secure.model.generation import generated_heights, generated_spectra
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import resampling

SIDE = 8
TILES = 10_000  # what the target is for
MEASURED = 500
TIMESTEPS = (5, 20, 50, 100, 200, 300)
TARGET_CORES = 2
BANDS = 72
BATCH, GRID = 64, 96

full = pytest.mark.skipif(not is_full(), reason="without a target: --full")


def _settings() -> FeatureSettings:
    return FeatureSettings(timesteps=TIMESTEPS, draws=1)


@row("diffusion features lidar")
def bench_lidar_features(benchmark: BenchmarkFixture) -> None:
    """10,000 tiles of 8×8 pixels at 6 timesteps, one draw each, from 500 of them."""
    prior = load_prior("lidar")
    tiles = np.random.default_rng(0).random((MEASURED, 2, SIDE, SIDE), dtype=np.float32)
    measure(benchmark, lidar_features, (prior, tiles, _settings()), rounds=2)
    _record_extraction(benchmark, "a tile is one sample of the branch")


@row("diffusion features hsi")
def bench_hsi_features(benchmark: BenchmarkFixture) -> None:
    """The same for spectra, as ψ takes them: every pixel of a tile is a sample of its own."""
    prior = load_prior("hsi")
    pixels = MEASURED * SIDE**2
    spectra = np.random.default_rng(0).random((pixels, BANDS), dtype=np.float32)
    arguments = (prior, spectra, resampling(BANDS, None), _settings())
    measure(benchmark, hsi_features, arguments, rounds=1)
    _record_extraction(benchmark, "64 samples of the branch a tile")


def _record_extraction(benchmark: BenchmarkFixture, what: str) -> None:
    """CPU time spread over two cores: batches are independent and each runs on one thread."""
    assert benchmark.stats is not None
    seconds = benchmark.stats.stats.min / TARGET_CORES * TILES / MEASURED
    record(
        benchmark,
        "s / 10,000 tiles, 2 cores",
        value=seconds,
        reference=f"{what}; extrapolated from {MEASURED} tiles; {TILES / seconds:.0f} tiles/s",
    )


@full
@row("diffusion train hsi")
def bench_training_step(benchmark: BenchmarkFixture) -> None:
    """Loss, gradient and Adam step of the HSI branch on a batch of 64 spectra."""
    torch.set_num_threads(1)
    branch = UNet(PRIOR_BRANCHES["hsi"])
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn((BATCH, 1, GRID), generator=generator)
    ones, schedule = torch.ones(BATCH, 1, GRID), linear_schedule()

    def step() -> None:
        loss = v_loss(
            branch,
            schedule,
            x0,
            conditioning=ones.expand(BATCH, 2, GRID),
            mask=ones,
            generator=generator,
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()

    measure(benchmark, step, rounds=5)
    record(benchmark, "ms CPU / batch of 64", scale=1e3, reference=_sizes("hsi"))


@full
@row("diffusion sample hsi")
def bench_spectra(benchmark: BenchmarkFixture) -> None:
    """256 spectra by 50 steps of DDIM."""
    torch.set_num_threads(1)
    prior, sampling = load_prior("hsi"), resampling(BANDS, None)
    generator = torch.Generator().manual_seed(0)
    measure(
        benchmark,
        lambda: generated_spectra(prior, 256, sampling, steps=50, generator=generator),
        rounds=1,
    )
    record(benchmark, "ms CPU / spectrum", scale=1e3 / 256, reference="50 steps of DDIM")


@full
@row("diffusion sample lidar")
def bench_heights(benchmark: BenchmarkFixture) -> None:
    """64 tiles of 8×8 by 50 steps of DDIM."""
    torch.set_num_threads(1)
    prior, generator = load_prior("lidar"), torch.Generator().manual_seed(0)
    measure(
        benchmark,
        lambda: generated_heights(prior, 64, SIDE, steps=50, generator=generator),
        rounds=1,
    )
    record(benchmark, "ms CPU / tile of 8×8", scale=1e3 / 64, reference=_sizes("lidar"))


def _sizes(modality: str) -> str:
    """Parameters of the branch, and the most memory this process has held so far."""
    parameters = sum(p.numel() for p in load_prior(modality).branch.parameters())
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    return f"{parameters:,} parameters; peak of the process {peak:.0f} MiB; {os.cpu_count()} cores"
