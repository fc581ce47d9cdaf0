"""Inversion of the features that owners exchange in the paper profile.

Who sees an owner's factors (its partner, the coordinator, whoever records the traffic) multiplies
them back to features, one row a pixel, and decodes each row. One decoder is trained on the tiles
of the *other* owners of that sensor, sent through the same shared branch: that takes one curious
owner, or several, beside the one that sees the factors. For spectra a second one is trained on
simulated ones, which takes nobody's data. The target is the first owner of either sensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.attack.decoder import RidgeDecoder
from feddiff_secure.attack.public_tiles import public_tiles
from feddiff_secure.attack.reconstruction import (
    InversionScore,
    Reconstruction,
    candidate_count,
)
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError
from feddiff_secure.federation.prepare import Prepared
from feddiff_secure.model.wavelengths import band_wavelengths
from feddiff_secure.paper.encoder_features import block_features, to_rows
from feddiff_secure.paper.exchange import Exchanged
from feddiff_secure.paper.paper_model import PaperModel

Floats = NDArray[np.float64]
_MOST_ROWS = 6000  # pixels that a decoder is trained on
_PUBLIC_ROWS = 6000  # simulated ones


def invert_features(
    prepared: Prepared,
    model: PaperModel,
    exchanged: Exchanged,
    *,
    attempts: int,
    rng: np.random.Generator,
) -> list[InversionScore]:
    """Attack the first owner of each sensor.

    Args:
        prepared: the run's data, dealt as the run did.
        model: the run's model, whose branches every owner has.
        exchanged: the run's payload.
        attempts: tiles to attack, of each sensor.
        rng: of targets and candidates.

    Raises:
        DataError: a payload that is not of this data, or too few tiles.
    """
    scores = []
    for modality in ("hsi", "lidar"):
        held = {
            name: tiles
            for name, tiles in zip(prepared.names, prepared.owners, strict=True)
            if tiles.layout.names == (modality,)
        }
        target, *others = held
        features = exchanged.of(target).factors.features()
        signals = signal_rows(held[target], modality)
        if exchanged.of(target).modality != modality or len(features) != len(signals):
            raise DataError(
                f"exchange.safetensors: {target} has {len(features)} rows, its tiles have "
                f"{len(signals)} pixels of {modality}",
                "audit with the data of the run",
            )
        decoder = _decoder(model, [held[name] for name in others], modality, rng)
        sensor = {"hsi": "HSI", "lidar": "LiDAR"}[modality]
        known = {
            f"exchanged {sensor} features": (
                decoder,
                f"the shared branch and the tiles of {len(others)} other owners of that sensor",
            )
        }
        if modality == "hsi":
            name = f"exchanged {sensor} features, public decoder"
            known[name] = (_public_decoder(model, held[target], rng), "the shared branch")
        for name, (trained, assumption) in known.items():
            found = _attempts(held[target], trained(features), signals, attempts, rng)
            scores.append(InversionScore.of(name, assumption, found))
    return scores


def signal_rows(tiles: TileSet, modality: str) -> Floats:
    """Sensor values, one row a pixel: block, tile, row, column."""
    return to_rows([block.modalities[modality] for block in tiles]).astype(np.float64)


def _decoder(
    model: PaperModel, known: Sequence[TileSet], modality: str, rng: np.random.Generator
) -> RidgeDecoder:
    features = np.concatenate([to_rows(model.features(tiles, modality)) for tiles in known])
    signals = np.concatenate([signal_rows(tiles, modality) for tiles in known])
    rows = rng.permutation(len(features))[:_MOST_ROWS]
    return RidgeDecoder.fit(features[rows], signals[rows], standardise=True)


def _public_decoder(model: PaperModel, tiles: TileSet, rng: np.random.Generator) -> RidgeDecoder:
    """Trained on simulated tiles of the commonest size that the target has."""
    block = max(tiles, key=lambda entry: len(entry) * entry.height * entry.width)
    layout = model.layout.modalities[0]
    at = band_wavelengths(len(layout.channels), layout.wavelengths_nm)
    count = 10 * max(10, _PUBLIC_ROWS // (10 * block.height * block.width))
    simulated = public_tiles(rng, count, (block.height, block.width), at)
    scaled = [model.ranges["hsi"].scale(simulated)]
    features = to_rows(block_features(model.branches["hsi"], scaled, model.schedule))
    return RidgeDecoder.fit(features, to_rows([simulated]), standardise=True)


def _attempts(
    tiles: TileSet, decoded: Floats, signals: Floats, attempts: int, rng: np.random.Generator
) -> list[Reconstruction]:
    """Random tiles, each among others of its owner with the same most frequent label."""
    owner, label = _tile_of_rows(tiles)
    found, true = _tile_means(decoded, owner), _tile_means(signals, owner)
    members = {int(k): np.flatnonzero(label == k) for k in np.unique(label[label > 0])}
    m = candidate_count([len(rows) for rows in members.values()])
    usable = [rows for rows in members.values() if len(rows) >= m > 0]
    out: list[Reconstruction] = []
    while usable and len(out) < attempts:
        rows = usable[int(rng.integers(len(usable)))]
        drawn = rng.permutation(rows)[:m]
        index = int(rng.integers(m))
        out.append(Reconstruction(found[drawn[index]], true[drawn], index))
    return out


def _tile_of_rows(tiles: TileSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The tile number of every row, and the most frequent label of every tile (0 for none)."""
    owner, label, start = [], [], 0
    for block in tiles:
        owner.append(np.repeat(np.arange(len(block)) + start, block.height * block.width))
        start += len(block)
        for values in block.label.reshape(len(block), -1):
            known = values[values > 0]
            label.append(int(np.bincount(known).argmax()) if known.size else 0)
    return np.concatenate(owner), np.array(label, dtype=np.int64)


def _tile_means(rows: Floats, owner: NDArray[np.int64]) -> Floats:
    sums = np.zeros((int(owner.max()) + 1, rows.shape[1]))
    np.add.at(sums, owner, rows)
    return np.asarray(sums / np.bincount(owner)[:, None])
