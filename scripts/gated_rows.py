"""FedDiff's gated fusion on ψ's features, at the noise of a federation: rows of the ablation.

    python -m scripts.ablation --variants gated [--data FILE] [--folds 5]

The head is `PairedHead` with three outputs and FedDiff's loss. It reads what the default ψ reads
(`FeatureMap.describe`: embedding, tile mean and diffusion features of HSI; LiDAR's values and its
diffusion features) as maps, with channels scaled by public constants. One trusted holder of all
tiles stands for the federation: a tile's gradient is clipped to C, every round is full batch, and
noise and number of tiles are those of a plan that `make_plan` calibrates for the configuration
(by default 4 owners, 1 colluder) and as many parameters as the head has.

The noise is float64 from a seeded generator and nothing is put on a grid or masked. That is good
for a comparison and for nothing else: no ε may be claimed for what this makes.

The penalty 0.01·Σ‖W‖ is of public weights alone, so its gradient is added outside the clipping.
Constants were chosen on the simulated scene (docs/results.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feddiff_privacy.dpsgd import Call, clipped_gradient_sum
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileBlock
from feddiff_secure.federation.examples import Described, Descriptors
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import Prepared
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.remembered import Remembered
from feddiff_secure.federation.run import SESSION_BYTES
from feddiff_secure.model.gated_fusion import (
    WEIGHT_PENALTY,
    Outputs,
    PairedHead,
    paired_loss,
    weight_norms,
)
from feddiff_secure.model.psi import FeatureMap

UNIT_NORM = frozenset({"embedding", "tile"})
"""Sources of norm 1; so are the first columns of `diffusion`."""
_TILES_A_CHUNK = 256

Labels = NDArray[np.int64]
_remembered = Remembered()


@dataclass(frozen=True)
class Constants:
    """The public constants of a training.

    Attributes:
        width: channels of the fusion.
        rounds: T.
        clip: C, L2 bound of one tile's gradient.
        rate: step size of Adam.
        averaged: share of the iterates, the last ones, whose mean is the model.
    """

    width: int
    rounds: int
    clip: float
    rate: float
    averaged: float


LEAST_EPSILON = 4.0  # with little noise
LITTLE_NOISE = Constants(width=32, rounds=60, clip=1.0, rate=3e-2, averaged=0.2)
MUCH_NOISE = Constants(width=32, rounds=60, clip=1.0, rate=1.5e-2, averaged=0.2)
NOISELESS = Constants(width=16, rounds=240, clip=10.0, rate=1e-2, averaged=0.2)


@dataclass(frozen=True, eq=False)
class TileMaps:
    """Tiles of one size, as the head takes them.

    Attributes:
        hsi: float32 (T, C_hsi, h, w).
        lidar: float32 (T, C_lidar, h, w).
        label: int64 (T, h, w), 1…K, 0 = unlabelled.
    """

    hsi: Tensor
    lidar: Tensor
    label: Tensor

    def labelled(self) -> TileMaps:
        """The tiles with a labelled pixel."""
        kept = (self.label > 0).flatten(1).any(dim=1)
        return TileMaps(self.hsi[kept], self.lidar[kept], self.label[kept])


def constants_of(config: RunConfig) -> Constants:
    """The constants for a budget."""
    if not config.is_private:
        return NOISELESS
    return LITTLE_NOISE if config.epsilon >= LEAST_EPSILON else MUCH_NOISE


def gated_labels(
    config: RunConfig, prepared: Prepared, constants: Constants | None = None
) -> tuple[Labels, Labels]:
    """True and predicted labels 1…K of the labelled test pixels.

    Args:
        config: whose ε, owners and colluders the noise is calibrated for; its seed makes the
            head's start and the noise.
        prepared: the data, of both modalities.
        constants: None for those of the configuration's budget.
    """
    features = FeatureMap.public(prepared.dataset.layout, tile=prepared.tile, seed=config.seed)
    given = constants or constants_of(config)
    train = [
        maps.labelled()
        for tiles in prepared.owners
        for maps in tile_maps(_remembered(features, tiles, Silent()))
    ]
    classes = len(prepared.dataset.classes)
    head = trained_head(config, train, classes, prepared.tile, given)
    true, predicted = [], []
    for maps in tile_maps(_remembered(features, prepared.test, Silent())):
        known = maps.label > 0
        with torch.inference_mode():
            found = head(maps.hsi, maps.lidar).fused.argmax(dim=1) + 1
        true.append(maps.label[known].numpy())
        predicted.append(found[known].numpy())
    return np.concatenate(true), np.concatenate(predicted)


def tile_maps(described: Described) -> list[TileMaps]:
    """The descriptors of tiles as maps, one a block.

    Raises:
        ValueError: a modality is absent, a pixel is missing, or a privacy unit has several
            entries, whose gradients would have to be clipped as one.
    """
    pairs = zip(described.tiles, described.parts, strict=True)
    return [_of_block(block, parts) for block, parts in pairs]


def _of_block(block: TileBlock, parts: Descriptors) -> TileMaps:
    if {"hsi", "lidar"} - set(parts) or block.valid:
        raise ValueError("the gated head needs both modalities in every pixel")
    if len(np.unique(block.unit)) != len(block):
        raise ValueError("the gated head takes privacy units of one entry each")
    maps = {}
    for modality in ("hsi", "lidar"):
        rows = np.concatenate(
            [scaled(source, values) for source, values in parts[modality].items()], axis=1
        )
        shape = (len(block), block.height, block.width, rows.shape[1])
        maps[modality] = torch.from_numpy(rows.reshape(shape)).permute(0, 3, 1, 2).contiguous()
    return TileMaps(**maps, label=torch.from_numpy(block.label.astype(np.int64)))


def scaled(source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, C) of a source with channels of about unit variance, by public constants alone.

    A channel of a unit vector of length C has mean square 1/C. What sensors scale to 0…1 is taken
    as uniform there: variance 1/12.
    """
    channels = values.shape[1]
    if source in UNIT_NORM:
        return values * np.float32(math.sqrt(channels))
    if source == "diffusion":
        shape, level = values[:, :64], values[:, 64:]
        return np.concatenate([shape * np.float32(8.0), _of_unit_interval(level)], axis=1)
    return _of_unit_interval(values)


def _of_unit_interval(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return (values - np.float32(0.5)) * np.float32(math.sqrt(12.0))


def trained_head(
    config: RunConfig,
    train: Sequence[TileMaps],
    classes: int,
    tile: int,
    constants: Constants,
) -> PairedHead:
    """The head that noised sums of clipped per-tile gradients make.

    Args:
        config: see `gated_labels`.
        train: labelled tiles, each the privacy unit.
        classes: K.
        tile: side of a tile.
        constants: of the training.
    """
    rng = np.random.default_rng([config.seed, 7])
    channels = train[0].hsi.shape[1], train[0].lidar.shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        head = PairedHead(*channels, constants.width, classes)
    parameters = list(head.parameters())
    size = sum(p.numel() for p in parameters)
    plan = noise_plan(config, constants, classes=classes, tile=tile, size=size)
    tiles = float(sum(len(part.label) for part in train))
    tiles = max(1.0, tiles + total_std(plan, "count") * rng.standard_normal())
    std = total_std(plan, "train")
    optimiser = torch.optim.Adam(parameters, lr=constants.rate)
    mean, first = torch.zeros(size, dtype=torch.float64), _first_averaged(constants)
    for done in range(constants.rounds):
        noise = torch.from_numpy(std * rng.standard_normal(size))
        gradient = (gradient_sum(head, train, constants.clip) + noise) / tiles
        optimiser.zero_grad()
        torch.autograd.backward(WEIGHT_PENALTY * weight_norms(head))
        _add_to_gradients(parameters, gradient)
        optimiser.step()
        if done >= first:
            mean += torch.nn.utils.parameters_to_vector(parameters).detach().double()
    mean /= constants.rounds - first
    torch.nn.utils.vector_to_parameters(mean.float(), parameters)
    return head.eval()


def noise_plan(
    config: RunConfig, constants: Constants, *, classes: int, tile: int, size: int
) -> Plan:
    """The plan of a federation that would train the head: its count and its training noise.

    Args:
        config: ε, δ, owners and colluders.
        constants: T and C.
        classes: K. tile: side of a tile.
        size: parameters of the head; the plan's K × D has no fewer.
    """
    changed = replace(config, rounds=constants.rounds, clip=constants.clip, centring=False)
    owners = config.owner_count or 4
    return make_plan(
        changed,
        session=bytes(SESSION_BYTES),
        owners=tuple(f"owner-{number + 1}" for number in range(owners)),
        tile=tile,
        classes=classes,
        features=-(-size // classes),
    )


def total_std(plan: Plan, phase: str) -> float:
    """Standard deviation of the noise of all owners in a release, in its own units."""
    return float(plan.total_noise(phase)[0]) / plan.grid(phase).scale


def _first_averaged(constants: Constants) -> int:
    return min(constants.rounds - 1, round(constants.rounds * (1.0 - constants.averaged)))


def gradient_sum(head: PairedHead, train: Sequence[TileMaps], clip: float) -> Tensor:
    """Σ over tiles of the clipped gradient of the loss of the tile, float64 (P,)."""
    total = torch.zeros(sum(p.numel() for p in head.parameters()), dtype=torch.float64)
    for part in train:
        one = [tensor[:, None] for tensor in (part.hsi, part.lidar, part.label)]  # batches of one
        total += clipped_gradient_sum(head, _tile_loss, one, clip=clip, chunk=_TILES_A_CHUNK)
    return total


def _tile_loss(call: Call, hsi: Tensor, lidar: Tensor, label: Tensor) -> Tensor:
    return paired_loss(None, Outputs(*call(hsi, lidar)), label)


def _add_to_gradients(parameters: Sequence[torch.nn.Parameter], gradient: Tensor) -> None:
    """Add a flat gradient; biases have none yet, since the penalty leaves them out."""
    at = 0
    for parameter in parameters:
        part = gradient[at : at + parameter.numel()].view_as(parameter).to(parameter)
        parameter.grad = part if parameter.grad is None else parameter.grad + part
        at += parameter.numel()
