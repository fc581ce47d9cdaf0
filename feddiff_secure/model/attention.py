"""Self-attention of a branch, with FedDiff's token interaction (its MSA) where a config asks.

Tokens are positions: grid patches of a spectrum or pixels of a tile. FedDiff's figure (arXiv
2401.02433) puts a token interaction on Kᵀ, between the projection and the product with Q; the
authors' partial release has plain attention there and the text leaves the form open. Ours is
K'ᵀ = Kᵀ + Kᵀ M with M a depthwise convolution over the token grid: each key takes in its
neighbours', channel by channel. M is banded and shift-invariant, so one set of weights serves any
number of tokens. (Adding one common token to all keys instead would do nothing: softmax over the
keys does not see it.)
"""

from __future__ import annotations

import math

from torch import Tensor, nn, softmax

from feddiff_secure.model.branch_config import GROUPS
from feddiff_secure.model.convolution import convolution


class TokenInteraction(nn.Module):
    """Kᵀ ↦ Kᵀ + Kᵀ M; zero-initialised, so attention starts as the plain one."""

    def __init__(self, axes: int, channels: int) -> None:
        super().__init__()
        kind = nn.Conv1d if axes == 1 else nn.Conv2d
        # Replication: a tile's edge is where knowledge ends.
        self.neighbours = kind(
            channels, channels, 3, padding=1, groups=channels, bias=False, padding_mode="replicate"
        )
        nn.init.zeros_(self.neighbours.weight)

    def forward(self, keys: Tensor) -> Tensor:
        """(B, C, *S) keys to the same shape."""
        out: Tensor = keys + self.neighbours(keys)
        return out


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions of one sample, residual."""

    def __init__(
        self, axes: int, channels: int, heads: int, *, token_interaction: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = convolution(axes, channels, 3 * channels, 1)
        self.interaction = TokenInteraction(axes, channels) if token_interaction else None
        self.out = convolution(axes, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) to the same shape."""
        batch, channels = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(batch * self.heads, -1, math.prod(x.shape[2:]))
        q, k, v = qkv.chunk(3, dim=1)  # (B·H, D, L)
        if self.interaction is not None:
            k = self.interaction(k.reshape(x.shape)).reshape(k.shape)
        weights = softmax(q.transpose(1, 2) @ k / math.sqrt(q.shape[1]), dim=-1)
        mixed = (v @ weights.transpose(1, 2)).reshape(batch, channels, *x.shape[2:])
        out: Tensor = x + self.out(mixed)
        return out
