"""A spectral branch's forward pass for reading features: `unet.py`'s network, laid out for CPUs.

Same weights and same sums as `UNet.encode` and `UNet.decode`, up to the order in which float32
rounds; tests hold the two against each other. What differs is the work that is left out when a
whole batch is at one step and its noise is public:

- activations stay (B, C, 1, L) with channels last, the order in which the CPU's convolution reads
  and writes, so that it converts neither on the way in nor on the way out;
- FiLM's scale and shift are constants of the step: they go into the GroupNorm before them;
- the stem is linear, so conv(√ᾱ·x₀ + √(1−ᾱ)·n) = √ᾱ·conv(x₀) + conv(√(1−ᾱ)·n): the first
  convolution is once a spectrum, the second once a step and draw;
- the output head is not computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.errors import UsageError
from feddiff_secure.model.attention import SelfAttention
from feddiff_secure.model.branch_config import GROUPS
from feddiff_secure.model.schedule import Schedule
from feddiff_secure.model.unet import ResBlock, UNet

Affine = tuple[Tensor, Tensor]  # weight and bias


class SpectralReader:
    """What the branch sees in spectra at several steps and under several public draws of noise."""

    def __init__(
        self,
        branch: UNet,
        schedule: Schedule,
        timesteps: Sequence[int],
        noise: Tensor,
        conditioning: Tensor,
    ) -> None:
        """Prepare every step and draw.

        Args:
            branch: of one spectral axis.
            schedule: the noise schedule.
            timesteps: steps t, 1…T.
            noise: (D, 1, G) draws.
            conditioning: (C', G), coverage first; 0 there is where noise and signal are 0.

        Raises:
            UsageError: not a spectral branch of one signal channel and this conditioning.
        """
        if branch.config.axes != 1 or branch.config.in_channels != 1 + len(conditioning):
            raise UsageError(
                f"a branch of {branch.config.axes} axes and {branch.config.in_channels} channels",
                "give a spectral branch of one signal channel and its conditioning",
            )
        stem = branch.stem
        assert isinstance(stem, nn.Conv1d)
        self.of_signal = _channels_last(stem.weight[:, :1])
        self.stride, self.padding = (1, stem.stride[0]), (0, int(stem.padding[0]))
        self.passes = [_Pass(branch, t) for t in timesteps]
        self.signal = [float(schedule.signal(t)) for t in timesteps]
        self.of_noise = [
            [_stem_of_noise(stem, float(schedule.noise(t)) * draw, conditioning) for draw in noise]
            for t in timesteps
        ]

    def clean(self, x0: Tensor) -> Tensor:
        """What all steps share: (B, 1, G) spectra, 0 where not covered, to (B, C, 1, L)."""
        found = functional.conv2d(x0[:, :, None], self.of_signal, None, self.stride, self.padding)
        return found.contiguous(memory_format=torch.channels_last)

    def stages(self, clean: Tensor, step: int, draw: int) -> Iterator[Tensor]:
        """Rows (B, C·L) of the middle and the finest decoder stage, by index of step and draw."""
        stem = torch.add(self.of_noise[step][draw], clean, alpha=self.signal[step])
        for stage in self.passes[step](stem):
            yield stage.flatten(1)


def _stem_of_noise(stem: nn.Conv1d, noise: Tensor, conditioning: Tensor) -> Tensor:
    """(1, G) scaled noise and (C', G) conditioning through the stem, bias included."""
    return _channels_last(stem(torch.cat([noise * conditioning[:1], conditioning])[None]))


class _Pass:
    """The branch at one step t, from the stem's output on."""

    def __init__(self, branch: UNet, t: int) -> None:
        self.branch = branch
        time = branch.time(torch.full((1,), t))  # (1, width)
        self.down = [_Block(block, time) for block in branch.down]
        self.middle = _Block(branch.middle, time)
        self.up = [_Block(block, time) for block in branch.up]
        self.attention = _Attention(branch.attention)

    def __call__(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, 1, L) stem to the activations of the middle and of the finest decoder stage."""
        levels: list[Tensor] = []
        for index, block in enumerate(self.down):
            h = block(h if index == 0 else self._halved(self._parsed(index - 1, h)))
            levels.append(h)
        bottom = h = self.middle(self.attention(self._parsed(-1, h)))
        for block, skip in zip(self.up, levels[-2::-1], strict=True):
            h = functional.interpolate(h, size=skip.shape[2:], mode="nearest")
            h = block(torch.cat([h, skip], dim=1))
        return bottom, h

    def _parsed(self, index: int, h: Tensor) -> Tensor:
        if not self.branch.config.frequency_parser:
            return h
        return _channels_last(self.branch.parsers[index](h[:, :, 0]))

    def _halved(self, h: Tensor) -> Tensor:
        if h.shape[3] % 2 == 0:
            return (h[..., 0::2] + h[..., 1::2]).mul_(0.5)
        return functional.avg_pool2d(h, (1, 2), ceil_mode=True, count_include_pad=False)


class _Block:
    """A ResBlock at one step: FiLM is in the second GroupNorm's affine map."""

    def __init__(self, block: nn.Module, time: Tensor) -> None:
        assert isinstance(block, ResBlock)
        scale, shift = block.film(time)[0].chunk(2)  # (C,) each
        self.norm_in = (block.norm_in.weight, block.norm_in.bias)
        gain = 1.0 + scale
        self.norm_out = (block.norm_out.weight * gain, block.norm_out.bias * gain + shift)
        self.conv_in, self.conv_out = _kernel(block.conv_in), _kernel(block.conv_out)
        plain = isinstance(block.shortcut, nn.Identity)
        self.shortcut = None if plain else _kernel(block.shortcut)

    def __call__(self, x: Tensor) -> Tensor:
        h = _convolved(_activated(x, self.norm_in), self.conv_in)
        h = _convolved(_activated(h, self.norm_out), self.conv_out)
        return h.add_(x if self.shortcut is None else _convolved(x, self.shortcut))


class _Attention:
    """`SelfAttention`, which computes on (B, C, L) where it has a token interaction."""

    def __init__(self, attention: SelfAttention) -> None:
        self.plain = attention
        self.norm = (attention.norm.weight, attention.norm.bias)
        self.qkv, self.out = _kernel(attention.qkv), _kernel(attention.out)

    def __call__(self, x: Tensor) -> Tensor:
        if self.plain.interaction is not None:
            return _channels_last(self.plain(x[:, :, 0]))
        batch, channels, _, tokens = x.shape
        qkv = _convolved(functional.group_norm(x, GROUPS, *self.norm), self.qkv)
        heads = qkv.permute(0, 2, 3, 1).reshape(batch, tokens, self.plain.heads, 3, -1)
        q, k, v = heads.permute(3, 0, 2, 1, 4)  # (B, H, L, D) each
        mixed = functional.scaled_dot_product_attention(q, k, v)
        rows = mixed.transpose(1, 2).reshape(batch, 1, tokens, channels)
        return _convolved(rows.permute(0, 3, 1, 2), self.out).add_(x)


def _activated(x: Tensor, affine: Affine) -> Tensor:
    return functional.silu(functional.group_norm(x, GROUPS, *affine), inplace=True)


def _convolved(x: Tensor, kernel: Affine) -> Tensor:
    return functional.conv2d(x, *kernel, padding=(0, kernel[0].shape[3] // 2))


def _kernel(convolution: nn.Module) -> Affine:
    """Weight and bias of a Conv1d at stride 1."""
    assert isinstance(convolution, nn.Conv1d)
    assert convolution.bias is not None
    return _channels_last(convolution.weight), convolution.bias


def _channels_last(rows: Tensor) -> Tensor:
    """(B, C, L) to (B, C, 1, L) in that memory order."""
    return rows[:, :, None].contiguous(memory_format=torch.channels_last)
