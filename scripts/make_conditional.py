"""Train a small class-conditional HSI branch on the simulated scene's own training tiles.

    python scripts/make_conditional.py --out conditional.safetensors

What `prior_quality.py --conditional FILE` measures. No measured data is read, and the file is not
shipped. Tiles are 4×4, a fifth of them is held out by region. Every batch draws as many spectra of
rare classes as of frequent ones, and leaves a label out in one case of seven, so that one network
learns with and without it. Every step draws from (seed, step): a run resumed from a checkpoint
continues bit-identically on the same machine.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from make_prior import learning_rate

from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.data.split import train_test_split
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.model.branch_config import PRIOR_BRANCHES
from feddiff_secure.model.checkpoint import load_checkpoint, save_checkpoint
from feddiff_secure.model.descriptors import pixels
from feddiff_secure.model.diffusion import denoising_loss, update_average
from feddiff_secure.model.inputs import hsi_conditioning
from feddiff_secure.model.prior import save_prior
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import Resampling, resampling, standardise

SCRIPT_VERSION = 1
SIDE = 4  # a run's default for rasters
WIDTHS = (32, 48, 64)
LABEL_DROPOUT = 1.0 / 7.0
PEAK_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class Labelled:
    """Standardised spectra (n, G) and their label (n,), 1…K."""

    spectra: np.ndarray
    label: np.ndarray


@dataclass(frozen=True, eq=False)
class SceneParts:
    """The simulated scene's labelled pixels, parted by region as a run parts them."""

    classes: tuple[str, ...]
    sampling: Resampling
    training: Labelled
    held_out: Labelled


def scene_parts(seed: int) -> SceneParts:
    """Cut, split and standardise the scene of a seed."""
    scene = simulated_scene(seed)
    tiles = cut_tiles(Dataset(scenes=(scene,)), SIDE)
    layout = tiles.layout.get("hsi")
    assert layout is not None
    sampling = resampling(len(layout.channels), layout.wavelengths_nm)
    training, held_out, _ = train_test_split(tiles, 0.2, seed)
    parts = [labelled(each, sampling) for each in (training, held_out)]
    return SceneParts(tuple(tiles.classes), sampling, *parts)


def labelled(tiles: TileSet, sampling: Resampling) -> Labelled:
    """The labelled pixels of some tiles."""
    spectra, label = [], []
    for block in tiles:
        assert block.hsi is not None
        known = block.label.reshape(-1) > 0
        spectra.append(standardise(pixels(block.hsi)[known], sampling))
        label.append(block.label.reshape(-1)[known].astype(np.int64))
    return Labelled(np.concatenate(spectra), np.concatenate(label))


def batch(rng: np.random.Generator, data: Labelled, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Spectra (size, 1, G) and labels (size,), every class equally often."""
    wanted = rng.choice(np.unique(data.label), size)
    chosen = [rng.choice(np.flatnonzero(data.label == k)) for k in wanted]
    return data.spectra[chosen][:, None], wanted


def train(out: Path, *, seed: int, steps: int, size: int, checkpoint: Path) -> None:
    """Train the branch and write its averaged weights."""
    parts = scene_parts(seed)
    config = dataclasses.replace(PRIOR_BRANCHES["hsi"], widths=WIDTHS, classes=len(parts.classes))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        branch = UNet(config)
    average = copy.deepcopy(branch)
    optimiser = torch.optim.Adam(branch.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99))
    first = load_checkpoint(checkpoint, branch, average, optimiser) if checkpoint.exists() else 0
    condition = torch.from_numpy(hsi_conditioning(parts.sampling)).expand(size, -1, -1)
    started, smooth = time.monotonic(), float("nan")
    for step in range(first, steps):
        spectra, label = batch(np.random.default_rng([seed, step]), parts.training, size)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, PEAK_RATE)
        loss = denoising_loss(
            branch,
            linear_schedule(),
            torch.from_numpy(spectra),
            conditioning=condition,
            mask=condition[:, :1],
            generator=torch.Generator().manual_seed(seed * 1_000_003 + step),
            label=torch.from_numpy(label),
            label_dropout=LABEL_DROPOUT,
        )
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        optimiser.step()
        update_average(average, branch, step)
        smooth = loss.item() if np.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        if (step + 1) % 500 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"{step + 1}/{steps} loss {smooth:.4f} {pace:.3f} s/step", file=sys.stderr)
            save_checkpoint(checkpoint, branch, average, optimiser, step + 1)
    provenance = (
        f"simulated scene {seed}, its training tiles with their classes, {steps} steps of {size}, "
        f"make_conditional {SCRIPT_VERSION}"
    )
    print(f"{out} sha256 {save_prior(out, 'hsi', average, provenance)}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the scene and of the training")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--checkpoint", type=Path, help="default: OUT with .checkpoint appended")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out: Path = arguments.out
    train(
        out,
        seed=arguments.seed,
        steps=arguments.steps,
        size=arguments.batch,
        checkpoint=arguments.checkpoint or out.with_name(out.name + ".checkpoint"),
    )


if __name__ == "__main__":
    main()
