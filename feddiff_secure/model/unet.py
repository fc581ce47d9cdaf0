"""The U-Net branch of one modality: 1-D along the spectrum (HSI) or 2-D over a tile (LiDAR).

    x (B, C, *S) → patch stem → [ResBlock → pool] … → ResBlock, attention, ResBlock
                 → [upsample, concatenate skip, ResBlock] … → v (B, C_out, *S)

A config may add three parts, each of which starts as a no-op: a token interaction in the
attention (`attention.py`), a frequency-domain parser behind every encoder block, on the way down
but not on the skip, as in the authors' release (`frequency_parser.py`), and a class embedding
that is added to the time embedding, where class 0 is "no class" and adds exactly nothing.

Every ResBlock is modulated by the time step (FiLM: scale and shift). GroupNorm only: BatchNorm
would make each tile's features depend on its batch and break the privacy unit. Pooling rounds up
and upsampling goes back to the skip's own size, so any side from 1 works.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.errors import UsageError
from feddiff_secure.model.attention import SelfAttention
from feddiff_secure.model.branch_config import GROUPS, BranchConfig
from feddiff_secure.model.convolution import convolution
from feddiff_secure.model.frequency_parser import FrequencyParser


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
        self.conv_in = convolution(axes, c_in, c_out, 3)
        self.film = nn.Linear(time_width, 2 * c_out)
        self.norm_out = nn.GroupNorm(GROUPS, c_out)
        self.conv_out = convolution(axes, c_out, c_out, 3)
        self.shortcut = convolution(axes, c_in, c_out, 1) if c_in != c_out else nn.Identity()

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


class UNet(nn.Module):
    """A diffusion branch that predicts v and exposes the activations features are read from."""

    def __init__(self, config: BranchConfig) -> None:
        super().__init__()
        self.config = config
        axes, widths, time_width = config.axes, config.widths, 2 * config.widths[0]
        kernel = config.patch if config.patch > 1 else 3
        self.time = TimeEmbedding(time_width)
        self.stem = convolution(axes, config.in_channels, widths[0], kernel, config.patch)
        inputs = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(
            ResBlock(axes, a, b, time_width) for a, b in zip(inputs, widths, strict=True)
        )
        if config.frequency_parser:
            self.parsers = nn.ModuleList(FrequencyParser(axes, width) for width in widths)
        self.attention = SelfAttention(
            axes, widths[-1], config.heads, token_interaction=config.token_interaction
        )
        self.middle = ResBlock(axes, widths[-1], widths[-1], time_width)
        self.up = nn.ModuleList(
            ResBlock(axes, a + b, b, time_width)
            for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.head = convolution(axes, widths[0], config.out_channels * config.patch**axes, 1)
        if config.classes:
            self.label = nn.Embedding(config.classes + 1, time_width, padding_idx=0)
            nn.init.zeros_(self.label.weight)

    def embed(self, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The embedding of steps (B,) and class labels (B,), 0…K, 0 for no class: (B, width).

        Raises:
            UsageError: labels for a branch without classes.
        """
        embedded: Tensor = self.time(t)
        if label is None:
            return embedded
        if not self.config.classes:
            raise UsageError("this branch knows no classes", "leave the label out")
        conditioned: Tensor = embedded + self.label(label)
        return conditioned

    def encode(self, x: Tensor, time: Tensor) -> list[Tensor]:
        """The activation of every level before pooling; the last one has passed the attention."""
        levels: list[Tensor] = []
        h = self.stem(x)
        for index in range(len(self.down)):
            h = self.encode_level(index, h, time)
            levels.append(h)
        levels[-1] = self.bottom(h, time)
        return levels

    def encode_level(self, index: int, h: Tensor, time: Tensor) -> Tensor:
        """From the stem's output (index 0) or the level above to level `index`."""
        if index > 0:
            h = self._halve(self._parse(index - 1, h))
        level: Tensor = self.down[index](h, time)
        return level

    def bottom(self, h: Tensor, time: Tensor) -> Tensor:
        """The attention and the last block, from the last encoder level."""
        out: Tensor = self.middle(self.attention(self._parse(-1, h)), time)
        return out

    def decode(self, levels: list[Tensor], time: Tensor) -> list[Tensor]:
        """The activation of every decoder level, coarse to fine; the bottom's if there is none."""
        stages: list[Tensor] = []
        h = levels[-1]
        for block, skip in zip(self.up, levels[-2::-1], strict=True):
            h = functional.interpolate(h, size=skip.shape[2:], mode="nearest")
            h = block(torch.cat([h, skip], dim=1), time)
            stages.append(h)
        return stages or [h]

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Predict v.

        Args:
            x: (B, in_channels, L) or (B, in_channels, h, w).
            t: (B,) step, 1…T.
            label: (B,) class, 1…K, 0 for none; only for a branch with classes.

        Returns:
            (B, out_channels, …) with x's spatial shape.

        Raises:
            UsageError: labels for a branch without classes.
        """
        time = self.embed(t, label)
        return self.predict(self.decode(self.encode(x, time), time)[-1])

    def predict(self, last: Tensor) -> Tensor:
        """v from the last decoder stage."""
        return self._unpatch(self.head(functional.silu(self.norm(last))))

    def _parse(self, index: int, h: Tensor) -> Tensor:
        if not self.config.frequency_parser:
            return h
        parsed: Tensor = self.parsers[index](h)
        return parsed

    def _halve(self, h: Tensor) -> Tensor:
        if self.config.axes == 1:
            if h.shape[2] % 2 == 0:  # the same numbers as below, in a tenth of its time
                return (h[..., 0::2] + h[..., 1::2]) * 0.5
            return functional.avg_pool1d(h, 2, ceil_mode=True, count_include_pad=False)
        return functional.avg_pool2d(h, 2, ceil_mode=True, count_include_pad=False)

    def _unpatch(self, h: Tensor) -> Tensor:
        if self.config.patch == 1:
            return h
        batch, _, tokens = h.shape  # patches exist on the spectral axis only
        grid = h.reshape(batch, self.config.out_channels, self.config.patch, tokens)
        return grid.transpose(2, 3).reshape(batch, self.config.out_channels, -1)
