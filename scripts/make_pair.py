"""Train the shipped branches together, with bilateral connections, on simulated scenes only.

    python scripts/make_pair.py --steps 1500 --out pair.safetensors

Tiles of 1×1 to 4×4 pixels of freshly simulated scenes, both sensors at the same step; all weights
are trained, the connections from zero. For the ablation of docs/results.md.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.model.branch_config import PRIOR_BRANCHES
from feddiff_secure.model.diffusion import noised, v_target
from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.paired import PairedBranches
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import resampling, standardise

FIRST_SCENE = 50_000  # seeds far from those that anything is measured on
SCENES = 24
SIDE = 64
PIXELS = 256  # a step


def scenes(seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Standardised spectra (h, w, G), LiDAR signal (2, h, w) and conditioning (2, G)."""
    found = []
    for number in range(SCENES):
        rng = np.random.default_rng([seed, number])
        bands = int(np.exp(rng.uniform(np.log(24.0), np.log(160.0))))
        scene = simulated_scene(FIRST_SCENE + 100 * seed + number, side=SIDE, bands=bands)
        values = scene.modalities["hsi"].values
        wavelengths = tuple(np.linspace(400.0, 1000.0, bands))
        sampling = resampling(bands, wavelengths)
        rows = np.ascontiguousarray(values.reshape(bands, -1).T)
        spectra = standardise(rows, sampling).reshape(SIDE, SIDE, -1)
        heights = lidar_signal(scene.modalities["lidar"].values[None])[0]
        found.append((spectra, heights, hsi_conditioning(sampling)))
    return found


def batch(
    drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Tiles of one scene: (T, s, s, 1, G) spectra, (T, 2, s, s) heights, (2, G) conditioning."""
    spectra, heights, conditioning = drawn[rng.integers(len(drawn))]
    side = int(rng.choice([1, 2, 4, 4]))
    corners = rng.integers(0, SIDE - side + 1, size=(PIXELS // side**2, 2))
    tiles = [spectra[r : r + side, c : c + side, None] for r, c in corners]
    above = [heights[:, r : r + side, c : c + side] for r, c in corners]
    return (
        torch.from_numpy(np.stack(tiles)),
        torch.from_numpy(np.stack(above)),
        torch.from_numpy(conditioning),
    )


def train(seed: int, steps: int) -> PairedBranches:
    """The connected branches after `steps` steps."""
    pair = PairedBranches(load_prior("hsi").branch, load_prior("lidar").branch).requires_grad_(True)
    connections = [*pair.to_hsi.parameters(), *pair.to_lidar.parameters()]
    own = [*pair.hsi.parameters(), *pair.lidar.parameters()]
    optimiser = torch.optim.Adam([{"params": connections}, {"params": own}], betas=(0.9, 0.99))
    schedule = linear_schedule()
    drawn, smooth = scenes(seed), [float("nan")] * 2
    for step in range(steps):
        rng = np.random.default_rng([seed, 1_000, step])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        decay = 0.02 + 0.98 * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        for group, peak in zip(optimiser.param_groups, (1e-3, 2e-4), strict=True):
            group["lr"] = peak * decay * min(1.0, (step + 1) / 50)
        spectra, heights, conditioning = batch(drawn, rng)
        t = torch.randint(1, schedule.steps + 1, (len(spectra),), generator=generator)
        noise = torch.randn(spectra.shape, generator=generator) * conditioning[:1]
        above = torch.randn(heights.shape, generator=generator)
        condition = conditioning.expand(*spectra.shape[:3], *conditioning.shape)
        x_t = torch.cat([noised(schedule, spectra, noise, t), condition], dim=3)
        found = pair(x_t, noised(schedule, heights, above, t), t)
        assert found.hsi is not None
        assert found.lidar is not None
        wrong = torch.square(found.hsi - v_target(schedule, spectra, noise, t)) * conditioning[:1]
        losses = (
            wrong.sum() / (conditioning[0].sum() * spectra[..., 0, 0].numel()),
            torch.square(found.lidar - v_target(schedule, heights, above, t)).mean(),
        )
        optimiser.zero_grad()
        (losses[0] + losses[1]).backward()
        torch.nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimiser.step()
        smooth = [
            loss.item() if np.isnan(old) else 0.98 * old + 0.02 * loss.item()
            for old, loss in zip(smooth, losses, strict=True)
        ]
        if (step + 1) % 100 == 0:
            print(f"{step + 1}/{steps} hsi {smooth[0]:.4f} lidar {smooth[1]:.4f}", file=sys.stderr)
    return pair


def load_pair(path: Path) -> PairedBranches:
    """The connected branches of a file that `main` wrote; strict in names, shapes and types."""
    pair = PairedBranches(*(UNet(PRIOR_BRANCHES[name]) for name in ("hsi", "lidar")))
    pair.load_state_dict(load_file(path))
    return pair.eval().requires_grad_(False)


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    given = parser.parse_args()
    state = train(given.seed, given.steps).state_dict()
    data = save({name: value.contiguous() for name, value in state.items()})
    given.out.write_bytes(data)
    print(f"{given.out} sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
