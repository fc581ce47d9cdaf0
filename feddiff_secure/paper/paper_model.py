"""What a run of the paper profile ends with: two branches, the ranges, the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.model.unet import UNet
from feddiff_secure.paper.channel_range import ChannelRange
from feddiff_secure.paper.connected_head import ConnectedHead
from feddiff_secure.paper.encoder_features import block_features
from feddiff_secure.paper.schedule import PaperSchedule

_TILES_A_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class PaperModel:
    """A land-cover model of the paper profile. It carries no privacy guarantee.

    Attributes:
        branches: the frozen branch of `hsi` and of `lidar`.
        ranges: the scaling of either.
        head: the fusion head.
        schedule: the constants it was built with.
        layout: the sensors.
        classes: K class names.
        tile: side of a tile, pixels.
    """

    branches: Mapping[str, UNet]
    ranges: Mapping[str, ChannelRange]
    head: ConnectedHead
    schedule: PaperSchedule
    layout: SensorLayout
    classes: tuple[str, ...]
    tile: int

    def features(self, tiles: TileSet, modality: str) -> list[NDArray[np.float32]]:
        """Features of every block of a tile set, (T, F, h, w) each."""
        scaled = self.ranges[modality].scaled_blocks(tiles, modality)
        return block_features(self.branches[modality], scaled, self.schedule)

    def predicted_labels(self, tiles: TileSet) -> list[NDArray[np.int16]]:
        """The most likely class of every pixel: for each block (T, h, w) labels 1..K."""
        return [self._predict(block) for block in tiles]

    def _predict(self, block: TileBlock) -> NDArray[np.int16]:
        found = []
        for start in range(0, len(block), _TILES_A_BATCH):
            part = block.take(np.arange(start, min(start + _TILES_A_BATCH, len(block))))
            found.append(self._scores(part).argmax(dim=1).numpy())
        return (np.concatenate(found) + 1).astype(np.int16)

    def _scores(self, block: TileBlock) -> torch.Tensor:
        held: dict[str, torch.Tensor] = {}
        for name, values in block.modalities.items():
            scaled: Sequence[NDArray[np.float32]] = [self.ranges[name].scale(values)]
            features = block_features(self.branches[name], scaled, self.schedule)
            held[name] = torch.from_numpy(features[0])
        with torch.inference_mode():
            if len(held) == 2:
                fused: torch.Tensor = self.head(held["hsi"], held["lidar"]).fused
                return fused
            return self.head.alone(held.get("hsi"), held.get("lidar"))
