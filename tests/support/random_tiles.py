"""Tiles of random values, of both modalities and without labels."""

from __future__ import annotations

import numpy as np

from feddiff_secure.data.tiles import TileBlock


def block(count: int, side: int, bands: int = 30, seed: int = 0, channels: int = 2) -> TileBlock:
    """`count` tiles of a side, with as many bands and LiDAR channels as asked for."""
    rng = np.random.default_rng(seed)
    ids = np.arange(count)
    return TileBlock(
        height=side,
        width=side,
        hsi=rng.random((count, bands, side, side), dtype=np.float32),
        lidar=rng.random((count, channels, side, side), dtype=np.float32),
        label=np.zeros((count, side, side), dtype=np.int16),
        origin=np.zeros((count, 3), dtype=np.int32),
        unit=ids.astype(np.int64),
        index=ids.astype(np.int64),
        region=ids.astype(np.int32),
        group=ids.astype(np.int32),
        site=ids.astype(np.int32),
    )
