"""Bilateral connections: the HSI and the LiDAR branch of one tile look at each other.

FedDiff's abstract (arXiv 2401.02433) builds bilateral connections on the denoising steps of two
branches; the authors' release has none. Here both branches encode the same tile at the same step
t, level by level. After each encoder block that both have, counted from the finest,

    h_hsi ← h_hsi + P_i · fit(h_lidar),    h_lidar ← h_lidar + Q_i · fit(h_hsi),

both from the activations before the exchange. P_i and Q_i are 1×1 projections that start at zero
(as in ControlNet, arXiv 2302.05543), `fit` brings a level to the other's shape: a spectral branch
is averaged over its tokens and laid out over the tile, tiles are averaged down or repeated up.
What is exchanged stays within the tile, so the tile remains the unit of privacy.

At initialisation, and where a modality is absent, each branch computes exactly what it does alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.errors import UsageError
from feddiff_secure.model.unet import UNet


class Pair(NamedTuple):
    """What two branches give; None for a modality that is absent."""

    hsi: Tensor | None
    lidar: Tensor | None


class PairedLevels(NamedTuple):
    """The encoder's activations of two branches, fine to coarse; None for an absent modality."""

    hsi: list[Tensor] | None
    lidar: list[Tensor] | None


class PairedBranches(nn.Module):
    """Two branches with bilateral connections between their encoders.

    Args:
        hsi: a spectral branch (axes 1: every pixel of a tile is one sample) or a spatial one.
        lidar: a spatial branch (axes 2).

    Raises:
        UsageError: the LiDAR branch is not spatial.
    """

    def __init__(self, hsi: UNet, lidar: UNet) -> None:
        super().__init__()
        if lidar.config.axes != 2:
            raise UsageError("the LiDAR branch of a pair is not spatial", "use one of axes 2")
        self.hsi, self.lidar = hsi, lidar
        widths = list(zip(hsi.config.widths, lidar.config.widths, strict=False))
        self.to_hsi = nn.ModuleList(_zero_projection(b, a) for a, b in widths)
        self.to_lidar = nn.ModuleList(_zero_projection(a, b) for a, b in widths)

    def forward(
        self, hsi: Tensor | None, lidar: Tensor | None, t: Tensor, label: Tensor | None = None
    ) -> Pair:
        """Predict v of both modalities of T tiles.

        Args:
            hsi: (T, h, w, C, G) spectra for a spectral branch, (T, C, h, w) for a spatial one,
                or None.
            lidar: (T, C', h, w) or None.
            t: (T,) step of each tile, 1…T.
            label: (T,) class of each tile, 0 for none; only for branches with classes.

        Returns:
            Each prediction in its input's layout, with the branch's output channels.

        Raises:
            UsageError: both are absent, or their tiles differ in number or shape.
        """
        rows, times = self._prepare(hsi, lidar, t, label)
        levels = self._encode(rows, times, _tile_shape(hsi, lidar, self.hsi.config.axes))
        out: list[Tensor | None] = []
        for branch, found, time in zip((self.hsi, self.lidar), levels, times, strict=True):
            out.append(None if found is None else branch.predict(branch.decode(found, time)[-1]))
        spectra = out[0]
        if spectra is not None and hsi is not None and self.hsi.config.axes == 1:
            spectra = spectra.reshape(*hsi.shape[:3], *spectra.shape[1:])
        return Pair(spectra, out[1])

    def encode(
        self, hsi: Tensor | None, lidar: Tensor | None, t: Tensor, label: Tensor | None = None
    ) -> PairedLevels:
        """The connected encoders' levels, as `UNet.encode` gives them; arguments as `forward`."""
        rows, times = self._prepare(hsi, lidar, t, label)
        return self._encode(rows, times, _tile_shape(hsi, lidar, self.hsi.config.axes))

    def _prepare(
        self, hsi: Tensor | None, lidar: Tensor | None, t: Tensor, label: Tensor | None
    ) -> tuple[Pair, tuple[Tensor, Tensor]]:
        """Inputs as the branches take them, and their time embeddings."""
        time_lidar = self.lidar.embed(t, label)
        if hsi is not None and self.hsi.config.axes == 1:
            # Repeated before the embedding: its last bits may depend on how many rows it has.
            pixels = hsi.shape[1] * hsi.shape[2]
            t = t.repeat_interleave(pixels)
            label = None if label is None else label.repeat_interleave(pixels)
            hsi = hsi.flatten(0, 2)  # (T·h·w, C, G), tile by tile, row by row
        return Pair(hsi, lidar), (self.hsi.embed(t, label), time_lidar)

    def _encode(
        self, inputs: Pair, times: tuple[Tensor, Tensor], tile: tuple[int, int, int]
    ) -> PairedLevels:
        """Run both encoders level by level and connect the levels both have."""
        branches = (self.hsi, self.lidar)
        found: list[list[Tensor]] = [[], []]
        state = [None if x is None else b.stem(x) for b, x in zip(branches, inputs, strict=True)]
        for index in range(max(len(branch.down) for branch in branches)):
            for k, branch in enumerate(branches):
                h = state[k]
                if h is not None and index < len(branch.down):
                    state[k] = branch.encode_level(index, h, times[k])
            one, two = state
            if one is not None and two is not None and index < len(self.to_hsi):
                state = list(self._exchange(index, one, two, tile))
            for k, branch in enumerate(branches):
                h = state[k]
                if h is not None and index < len(branch.down):
                    found[k].append(h)
        for k, branch in enumerate(branches):
            if found[k]:
                found[k][-1] = branch.bottom(found[k][-1], times[k])
        return PairedLevels(found[0] or None, found[1] or None)

    def _exchange(
        self, index: int, hsi: Tensor, lidar: Tensor, tile: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor]:
        """Both levels after the exchange, from both before it."""
        if self.hsi.config.axes == 2:
            seen, given = hsi, _fit(lidar, hsi.shape[2:])
        else:
            count, rows, cols = tile
            seen = hsi.mean(dim=2).reshape(count, rows, cols, -1).permute(0, 3, 1, 2)
            given = _fit(lidar, torch.Size((rows, cols)))
        from_lidar = self.to_hsi[index](given)  # (T, C, rows, cols)
        if self.hsi.config.axes == 1:  # one vector a pixel, the same for all its tokens
            from_lidar = from_lidar.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None]
        return hsi + from_lidar, lidar + self.to_lidar[index](_fit(seen, lidar.shape[2:]))


def _zero_projection(c_in: int, c_out: int) -> nn.Conv2d:
    projection = nn.Conv2d(c_in, c_out, 1)
    nn.init.zeros_(projection.weight)
    assert projection.bias is not None
    nn.init.zeros_(projection.bias)
    return projection


def _fit(h: Tensor, size: torch.Size) -> Tensor:
    """(T, C, …) to the given rows and columns: averaged where smaller, repeated where larger."""
    if h.shape[2] >= size[0] and h.shape[3] >= size[1]:
        return functional.adaptive_avg_pool2d(h, (size[0], size[1]))
    return functional.interpolate(h, size=size, mode="nearest")


def _tile_shape(hsi: Tensor | None, lidar: Tensor | None, axes: int) -> tuple[int, int, int]:
    """(T, h, w) of the tiles, checked to be the same in both modalities.

    Raises:
        UsageError: both are absent, an axis is missing, or they differ.
    """
    shapes: list[tuple[int, ...]] = []
    if hsi is not None:
        shapes.append(tuple(hsi.shape[:3]) if axes == 1 else (hsi.shape[0], *hsi.shape[2:]))
        if hsi.dim() != (5 if axes == 1 else 4):
            raise UsageError(f"HSI tiles of shape {tuple(hsi.shape)}", "see PairedBranches.forward")
    if lidar is not None:
        shapes.append((lidar.shape[0], *lidar.shape[2:]))
    if not shapes or any(len(shape) != 3 for shape in shapes) or len(set(shapes)) != 1:
        raise UsageError(
            f"tiles (count, rows, columns) of HSI and LiDAR are {shapes}",
            "give one modality, or both of the same tiles",
        )
    return shapes[0][0], shapes[0][1], shapes[0][2]
