"""The U-Net branch of one modality: 1-D along the spectrum (HSI) or 2-D over a tile (LiDAR).

    x (B, C, *S) → patch stem → [ResBlock → pool] … → ResBlock, attention, ResBlock
                 → [upsample, concatenate skip, ResBlock] … → v (B, C_out, *S)

Every ResBlock is modulated by the time step (FiLM: scale and shift). GroupNorm only: BatchNorm
would make each tile's features depend on its batch and break the privacy unit. Pooling rounds up
and upsampling goes back to the skip's own size, so any side from 1 works.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.model.branch_config import GROUPS, BranchConfig


def _conv(axes: int, c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Module:
    padding = (kernel - 1) // 2 if stride == 1 else 0
    if axes == 1:
        return nn.Conv1d(c_in, c_out, kernel, stride, padding)
    # Replication: a tile's edge is where knowledge ends, not where the ground becomes zero.
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, padding_mode="replicate")


class TimeEmbedding(nn.Module):
    """Sinusoidal embedding of the step t, then two linear layers: (B,) → (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frequencies = width // 2
        self.net = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Embed the steps (B,)."""
        rates = torch.exp(-math.log(10_000.0) * torch.arange(self.frequencies) / self.frequencies)
        angles = t.to(torch.float32)[:, None] * rates[None, :]
        embedded: Tensor = self.net(torch.cat([angles.sin(), angles.cos()], dim=1))
        return embedded


class ResBlock(nn.Module):
    """Two convolutions around a FiLM modulation by the time embedding, plus a shortcut."""

    def __init__(self, axes: int, c_in: int, c_out: int, time_width: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, c_in)
        self.conv_in = _conv(axes, c_in, c_out, 3)
        self.film = nn.Linear(time_width, 2 * c_out)
        self.norm_out = nn.GroupNorm(GROUPS, c_out)
        self.conv_out = _conv(axes, c_out, c_out, 3)
        self.shortcut = _conv(axes, c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, C_in, *S) and (B, time_width) to (B, C_out, *S)."""
        h = self.conv_in(functional.silu(self.norm_in(x)))
        scale, shift = self.film(time).chunk(2, dim=1)  # (B, C) each
        ones = (1,) * (x.dim() - 2)
        h = self.norm_out(h) * (1.0 + scale.view(*scale.shape, *ones)) + shift.view(
            *shift.shape, *ones
        )
        out: Tensor = self.shortcut(x) + self.conv_out(functional.silu(h))
        return out


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions of one sample, residual."""

    def __init__(self, axes: int, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = _conv(axes, channels, 3 * channels, 1)
        self.out = _conv(axes, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        batch, channels = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(batch * self.heads, -1, math.prod(x.shape[2:]))
        q, k, v = qkv.chunk(3, dim=1)  # (B·H, D, L)
        weights = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(q.shape[1]), dim=-1)
        mixed = (v @ weights.transpose(1, 2)).reshape(batch, channels, *x.shape[2:])
        out: Tensor = x + self.out(mixed)
        return out


class UNet(nn.Module):
    """A diffusion branch that predicts v and exposes the activations features are read from."""

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.config = config
        axes, widths, time_width = config.axes, config.widths, 2 * config.widths[0]
        kernel = config.patch if config.patch > 1 else 3
        self.time = TimeEmbedding(time_width)
        self.stem = _conv(axes, config.in_channels, widths[0], kernel, config.patch)
        inputs = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(
            ResBlock(axes, a, b, time_width) for a, b in zip(inputs, widths, strict=True)
        )
        self.attention = SelfAttention(axes, widths[-1], config.heads)
        self.middle = ResBlock(axes, widths[-1], widths[-1], time_width)
        self.up = nn.ModuleList(
            ResBlock(axes, a + b, b, time_width)
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.head = _conv(axes, widths[0], config.out_channels * config.patch**axes, 1)

    def encode(self, x: Tensor, time: Tensor) -> list[Tensor]:
        """The activation of every level before pooling; the last one has passed the attention."""
        levels: list[Tensor] = []
        h = self.stem(x)
        for index, block in enumerate(self.down):
            if index > 0:
                h = self._halve(h)
            h = block(h, time)
            levels.append(h)
        levels[-1] = self.middle(self.attention(h), time)
        return levels

    def decode(self, levels: list[Tensor], time: Tensor) -> list[Tensor]:
        """The activation of every decoder level, coarse to fine."""
        stages: list[Tensor] = []
        h = levels[-1]
        for block, skip in zip(self.up, levels[-2::-1], strict=True):
            h = functional.interpolate(h, size=skip.shape[2:], mode="nearest")
            h = block(torch.cat([h, skip], dim=1), time)
            stages.append(h)
        return stages

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict v.

        Args:
            x: (B, in_channels, L) or (B, in_channels, h, w).
            t: (B,) step, 1…T.

        Returns:
            (B, out_channels, …) with x's spatial shape.
        """
        time = self.time(t)
        last = self.decode(self.encode(x, time), time)[-1]
        return self._unpatch(self.head(functional.silu(self.norm(last))))

    def _halve(self, h: Tensor) -> Tensor:
        if self.config.axes == 1:
            return functional.avg_pool1d(h, 2, ceil_mode=True, count_include_pad=False)
        return functional.avg_pool2d(h, 2, ceil_mode=True, count_include_pad=False)

    def _unpatch(self, h: Tensor) -> Tensor:
        if self.config.patch == 1:
            return h
        batch, _, tokens = h.shape  # patches exist on the spectral axis only
        grid = h.reshape(batch, self.config.out_channels, self.config.patch, tokens)
        return grid.transpose(2, 3).reshape(batch, self.config.out_channels, -1)
