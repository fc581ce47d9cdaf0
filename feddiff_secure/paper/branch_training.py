"""Training of one modality's branch over its owners: local steps on own tiles, then the mean.

Each owner trains on its own tiles alone, ε with the L1 norm as published. The branches of one
modality start equal and are averaged after every round, so that features of different owners mean
the same and one head can read them all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.diffusion import denoising_loss
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.paper.averaging import synchronise
from feddiff_secure.paper.schedule import PaperSchedule

Blocks = Sequence[NDArray[np.float32]]


def branch_config(channels: int, schedule: PaperSchedule) -> BranchConfig:
    """The published shape: channels of the sensor as channels of a spatial U-Net, MSA and FDP."""
    return BranchConfig(
        axes=2,
        in_channels=channels,
        out_channels=channels,
        patch=1,
        widths=schedule.widths,
        token_interaction=True,
        frequency_parser=True,
    )


def train_branches(
    owners: Sequence[Blocks],
    schedule: PaperSchedule,
    *,
    rng: np.random.Generator,
    advance: Callable[[], None],
) -> UNet:
    """Train the branch of one modality and return the one all its owners end with.

    Args:
        owners: for each owner of the modality its scaled blocks, (T, C, h, w) each.
        schedule: the constants.
        rng: of the start, the batches, the steps and the noise.
        advance: called once a round.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    start = _fresh(owners[0][0].shape[1], schedule, int(rng.integers(2**62)))
    copies = [copy.deepcopy(start) for _ in owners]
    optimisers = [torch.optim.Adam(one.parameters(), lr=schedule.branch_rate) for one in copies]
    sizes = [float(sum(len(block) for block in blocks)) for blocks in owners]
    for done in range(schedule.branch_rounds):
        rate = schedule.branch_rate * (1.0 - done / schedule.branch_rounds)
        for branch, optimiser, blocks in zip(copies, optimisers, owners, strict=True):
            optimiser.param_groups[0]["lr"] = rate
            for _ in range(schedule.branch_steps):
                _step(branch, optimiser, _batch(blocks, schedule, rng), generator)
        synchronise(copies, sizes)
        advance()
    return copies[0].eval()


def _fresh(channels: int, schedule: PaperSchedule, seed: int) -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return UNet(branch_config(channels, schedule))


def _batch(blocks: Blocks, schedule: PaperSchedule, rng: np.random.Generator) -> Tensor:
    """Tiles of one size, drawn with repetition; a size in proportion to its number of tiles."""
    counts = np.array([len(block) for block in blocks], dtype=np.float64)
    block = blocks[int(rng.choice(len(blocks), p=counts / counts.sum()))]
    drawn = rng.integers(len(block), size=schedule.batch_of(*block.shape[2:]))
    return torch.from_numpy(block[drawn])


def _step(
    branch: UNet, optimiser: torch.optim.Adam, batch: Tensor, generator: torch.Generator
) -> None:
    nothing = torch.zeros(len(batch), 0, *batch.shape[2:])
    loss = denoising_loss(
        branch,
        linear_schedule(),
        batch,
        conditioning=nothing,
        mask=torch.ones(1),
        generator=generator,
        objective="eps",
        norm="l1",
    )
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
