"""Features of several timesteps: what FedDiff's encoder makes of a noised tile.

For every timestep the tile is noised, encoded, and all encoder levels are brought to the tile's
size and concatenated; then the timesteps are. The noise is public and the same for every tile and
for whoever computes features, so training, testing and an attacker see the same function.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from feddiff_secure.model.projection import public_normal
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.paper.schedule import PaperSchedule

Blocks = Sequence[NDArray[np.float32]]

NOISE_SEED = 2401_02433  # of the public noise draws
_TILES_A_BATCH = 64


def tile_features(branch: UNet, x0: Tensor, schedule: PaperSchedule) -> Tensor:
    """Features of scaled tiles (T, C, h, w): (T, F, h, w); differentiable in `x0`."""
    noising, found = linear_schedule(), []
    for t in schedule.timesteps:
        draw = public_normal((NOISE_SEED, t), tuple(x0.shape[1:])).astype(np.float32)
        x_t = float(noising.signal(t)) * x0 + float(noising.noise(t)) * torch.from_numpy(draw)
        time = branch.embed(torch.full((len(x0),), t))
        levels = branch.encode(x_t, time)
        size = x0.shape[2:]
        found += [functional.interpolate(one, size=size, mode="nearest") for one in levels]
    return torch.cat(found, dim=1)


def block_features(
    branch: UNet, blocks: Blocks, schedule: PaperSchedule
) -> list[NDArray[np.float32]]:
    """Features of every block of scaled tiles, (T, F, h, w) each."""
    out = []
    with torch.inference_mode():
        for block in blocks:
            parts = [
                tile_features(branch, torch.from_numpy(block[at : at + _TILES_A_BATCH]), schedule)
                for at in range(0, len(block), _TILES_A_BATCH)
            ]
            out.append(torch.cat(parts).numpy())
    return out


def to_rows(blocks: Blocks) -> NDArray[np.float32]:
    """Blocks (T, F, h, w) to one row a pixel, (N, F): block, tile, row, column."""
    rows = [block.transpose(0, 2, 3, 1).reshape(-1, block.shape[1]) for block in blocks]
    return np.concatenate(rows)


def from_rows(
    rows: NDArray[np.float32], shapes: Sequence[tuple[int, int, int]]
) -> list[NDArray[np.float32]]:
    """The inverse of `to_rows` for blocks of T tiles of h × w pixels each.

    Args:
        rows: (N, F).
        shapes: (T, h, w) of each block, with Σ T·h·w = N.
    """
    ends = np.cumsum([t * h * w for t, h, w in shapes])[:-1]
    # A true copy: torch's GroupNorm crashes in its backward pass on 1×1 tiles whose strides are
    # those of channels last, which `ascontiguousarray` leaves as they are.
    return [
        np.array(part.reshape(t, h, w, -1).transpose(0, 3, 1, 2), order="C", copy=True)
        for part, (t, h, w) in zip(np.split(rows, ends), shapes, strict=True)
    ]
