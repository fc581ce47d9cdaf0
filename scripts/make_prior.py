"""Train the public prior: both diffusion branches, on simulated spectra and heights only.

    python scripts/make_prior.py hsi --steps 5000 --batch 256 --out hsi.safetensors
    python scripts/make_prior.py lidar --steps 1500 --batch 128 --out lidar.safetensors

made the two files in feddiff_secure/model/priors (8 and 3 minutes on one core, OMP_NUM_THREADS=1).

No measured data is read. Every step draws its batch and its noise from (seed, step), so a run
resumed from a checkpoint continues bit-identically on the same machine.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

from feddiff_secure.data.simulate.curves import add_sensor_noise
from feddiff_secure.data.simulate.heights import random_height_tiles
from feddiff_secure.data.simulate.spectra import random_spectra
from feddiff_secure.model.branch_config import PRIOR_BRANCHES
from feddiff_secure.model.checkpoint import load_checkpoint, save_checkpoint
from feddiff_secure.model.diffusion import update_average, v_loss
from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.prior import save_prior
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import resampling, standardise

SCRIPT_VERSION = 1
SENSORS_A_BATCH = 4


def random_sensor(rng: np.random.Generator, shortwave: bool) -> np.ndarray:
    """Wavelengths (B,) of a random sensor: range, band count and spacing vary; holes occur."""
    last = rng.uniform(1200.0, 2500.0) if shortwave else rng.uniform(800.0, 1060.0)
    first = rng.uniform(360.0, 520.0)
    bands = int(np.exp(rng.uniform(np.log(8.0), np.log(400.0))))
    at = np.linspace(first, last, bands)
    if shortwave and bands > 60 and rng.random() < 0.5:  # water-vapour bands removed
        at = at[(np.abs(at - 1385.0) > 45.0) & (np.abs(at - 1875.0) > 65.0)]
    return at


def hsi_batch(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised spectra (size, 1, G) of a few random sensors, and conditioning (size, 2, G)."""
    shortwave = bool(rng.random() < 0.4)
    share = size // SENSORS_A_BATCH
    signals, conditions = [], []
    while len(signals) < SENSORS_A_BATCH:
        at = random_sensor(rng, shortwave)
        sampling = resampling(at.size, tuple(at))
        if sampling.covered.size != (128 if shortwave else 96):
            continue
        level = 10.0 ** rng.uniform(-3.5, -1.8, size=(share, 1))
        spectra = add_sensor_noise(rng, random_spectra(rng, share, at), level)
        signals.append(standardise(spectra.astype(np.float32), sampling)[:, None])
        conditions.append(np.repeat(hsi_conditioning(sampling)[None], share, axis=0))
    return np.concatenate(signals), np.concatenate(conditions)


def lidar_batch(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles (size, 2, s, s) of one random side 1…16, and no conditioning (size, 0, s, s)."""
    side = int(rng.integers(1, 17))
    tiles = lidar_signal(random_height_tiles(rng, size, side))
    return tiles, np.zeros((size, 0, side, side), dtype=np.float32)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 200 steps, then half a cosine to 1 % of the peak."""
    decay = 0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * step / steps))
    return float(peak * min(1.0, (step + 1) / 200.0) * decay)


def train(
    name: str,
    out: Path,
    *,
    seed: int,
    steps: int,
    size: int,
    checkpoint: Path,
    parts: tuple[str, ...] = (),
) -> None:
    """Train one branch, with optional parts by name, and write its averaged weights to `out`."""
    config = dataclasses.replace(PRIOR_BRANCHES[name], **dict.fromkeys(parts, True))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        branch = UNet(config)
    average = copy.deepcopy(branch)
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-3, betas=(0.9, 0.99))
    schedule = linear_schedule()
    first = load_checkpoint(checkpoint, branch, average, optimiser) if checkpoint.exists() else 0
    started, smooth = time.monotonic(), float("nan")
    for step in range(first, steps):
        rng = np.random.default_rng([seed, step])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        signal, conditioning = (hsi_batch if name == "hsi" else lidar_batch)(rng, size)
        x0, condition = torch.from_numpy(signal), torch.from_numpy(conditioning)
        mask = condition[:, :1] if condition.shape[1] else torch.ones_like(x0)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 1e-3)
        loss = v_loss(branch, schedule, x0, conditioning=condition, mask=mask, generator=generator)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        optimiser.step()
        update_average(average, branch, step)
        smooth = loss.item() if np.isnan(smooth) else 0.99 * smooth + 0.01 * loss.item()
        if (step + 1) % 100 == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            print(f"{name} {step + 1}/{steps} loss {smooth:.4f} {pace:.3f} s/step", file=sys.stderr)
        if (step + 1) % 1000 == 0:
            save_checkpoint(checkpoint, branch, average, optimiser, step + 1)
    provenance = "".join(
        [
            f"simulated {name}, ",
            *(f"{part}, " for part in parts),
            f"seed {seed}, {steps} steps of {size}, make_prior {SCRIPT_VERSION}",
        ]
    )
    digest = save_prior(out, name, average, provenance)
    print(f"{out} sha256 {digest}")


def main() -> None:
    """Parse the command line and train one branch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("branch", choices=sorted(PRIOR_BRANCHES))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=20240104)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--checkpoint", type=Path, help="default: OUT with .checkpoint appended")
    parser.add_argument(
        "--part",
        action="append",
        choices=["token_interaction", "frequency_parser"],
        default=[],
        help="an optional part of the branch; may be given twice",
    )
    arguments = parser.parse_args()
    out: Path = arguments.out
    checkpoint = arguments.checkpoint or out.with_name(out.name + ".checkpoint")
    train(
        arguments.branch,
        out,
        seed=arguments.seed,
        steps=arguments.steps,
        size=arguments.batch,
        checkpoint=checkpoint,
        parts=tuple(arguments.part),
    )


if __name__ == "__main__":
    main()
