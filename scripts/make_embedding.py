"""Train the public spectral embedding, on simulated materials only.

    python scripts/make_embedding.py --steps 2500 --out embedding.safetensors

made feddiff_secure/model/priors/embedding.safetensors (4 minutes on one shared core,
OMP_NUM_THREADS=1). No measured data is read. Every step draws its sensor and its classes from
(seed, step). The loss is the supervised contrastive one of Khosla et al., arXiv 2004.11362,
equation 2: spectra of one class attract, all others in the batch repel.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from make_prior import learning_rate, random_sensor
from torch import nn
from torch.nn import functional

from feddiff_secure.data.simulate.neighbourhoods import class_batch
from feddiff_secure.errors import DataError
from feddiff_secure.model.embedding import SHAPES, embedding_inputs, save_embedding
from feddiff_secure.model.wavelengths import resampling

SCRIPT_VERSION = 1
CLASSES = 96  # a batch
EACH = 5  # spectra a class
TEMPERATURE = 0.1
MOST_BANDS = 140  # the grid keeps no more detail than these, and they cost time


def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (480, 257) of random classes seen by one random sensor, and their classes."""
    shortwave = bool(rng.random() < 0.35)
    while True:
        at = random_sensor(rng, shortwave) if rng.random() < 0.8 else _usual_sensor(rng)
        at = at[np.linspace(0, at.size - 1, min(at.size, MOST_BANDS)).astype(int)]
        try:
            sampling = resampling(at.size, tuple(at))
        except DataError:  # a few bands that miss the grid
            continue
        spectra, classes = class_batch(rng, CLASSES, EACH, at)
        inputs = embedding_inputs(spectra.astype(np.float32), sampling)
        return torch.from_numpy(inputs), torch.from_numpy(classes)


def _usual_sensor(rng: np.random.Generator) -> np.ndarray:
    """A visible and near-infrared imaging spectrometer of many bands."""
    first, last = rng.uniform(365.0, 410.0), rng.uniform(980.0, 1055.0)
    return np.linspace(first, last, int(rng.integers(60, 370)))


def contrastive_loss(rows: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss of unit-norm rows (n, K)."""
    itself = torch.eye(len(rows), dtype=torch.bool)
    scores = (rows @ rows.T / TEMPERATURE).masked_fill(itself, -1e9)
    log_share = scores - torch.logsumexp(scores, dim=1, keepdim=True)
    same = (classes[:, None] == classes[None]) & ~itself
    return -((log_share * same).sum(dim=1) / same.sum(dim=1)).mean()


def network(seed: int) -> nn.Sequential:
    """The embedding's layers before the last normalisation."""
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for outputs, inputs in SHAPES:
            layers += [nn.Linear(inputs, outputs), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def train(out: Path, *, seed: int, steps: int) -> None:
    """Train and write the file."""
    layers = network(seed)
    optimiser = torch.optim.AdamW(layers.parameters(), lr=2e-3, weight_decay=1e-4)
    started, smooth = time.monotonic(), float("nan")
    for step in range(steps):
        inputs, classes = batch(np.random.default_rng([seed, step]))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, 2e-3)
        loss = contrastive_loss(functional.normalize(layers(inputs), dim=1), classes)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
        optimiser.step()
        smooth = loss.item() if np.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 250 == 0:
            pace = (time.monotonic() - started) / (step + 1)
            print(f"{step + 1}/{steps} loss {smooth:.3f} {pace:.3f} s/step", file=sys.stderr)
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    pairs = tuple((one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear)
    provenance = f"simulated materials, seed {seed}, {steps} steps, make_embedding {SCRIPT_VERSION}"
    print(f"{out} sha256 {save_embedding(out, pairs, provenance)}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train(arguments.out, seed=arguments.seed, steps=arguments.steps)


if __name__ == "__main__":
    main()
