"""Deformable convolution, through bilinear sampling alone.

    y(p) = b + Σ_n W_n · x(p + p_n + Δp_n(p)),      p_n on the regular grid of the kernel

(Dai et al., arXiv 1703.06211, eq. 2 and 3), Δp predicted by a convolution on the same input that
starts at zero: with zero offsets it is the plain convolution with zero padding. FedDiff's fusion
uses row and column kernels, 1×k and k×1. Offsets move a tap within the tile or off it, where the
input counts as zero; nothing beyond the tile is ever read.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.errors import UsageError


class DeformableConvolution(nn.Module):
    """A deformable convolution of stride 1 that keeps the size.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: rows and columns of the kernel, both odd.

    Raises:
        UsageError: a kernel side that is even or not positive.
    """

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        if any(side < 1 or side % 2 == 0 for side in kernel):
            raise UsageError(f"deformable kernel {kernel}", "use odd sides")
        self.kernel = kernel
        taps = math.prod(kernel)
        self.weight = nn.Parameter(torch.empty(c_out, c_in, taps))
        self.bias = nn.Parameter(torch.zeros(c_out))
        nn.init.uniform_(self.weight, -1.0 / math.sqrt(c_in * taps), 1.0 / math.sqrt(c_in * taps))
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.offset = nn.Conv2d(c_in, 2 * taps, kernel, padding=padding)
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, h, w) to (B, C_out, h, w)."""
        moves = self.offset(x).unflatten(1, (-1, 2))  # (B, K, 2, h, w): rows, then columns
        return self.sample(x, moves)

    def sample(self, x: Tensor, moves: Tensor) -> Tensor:
        """The convolution with given offsets.

        Args:
            x: (B, C_in, h, w).
            moves: (B, K, 2, h, w) pixels by which tap n of the output at a position is moved down
                and to the right; taps in row order.

        Returns:
            (B, C_out, h, w).
        """
        batch, channels, rows, cols = x.shape
        at = self._taps(x) + moves.movedim(2, -1)  # (B, K, h, w, 2) pixel positions
        sides = torch.tensor([rows, cols]).to(x)
        # Pixel i has its centre at (2i + 1)/side − 1; grid_sample wants (x, y).
        grid = ((2.0 * at + 1.0) / sides - 1.0).flip(-1).reshape(batch, -1, cols, 2)
        found = functional.grid_sample(
            x, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        found = found.reshape(batch, channels, -1, rows, cols)  # (B, C_in, K, h, w)
        out: Tensor = torch.einsum("ock,bckhw->bohw", self.weight, found)
        return out + self.bias.view(-1, 1, 1)

    def _taps(self, x: Tensor) -> Tensor:
        """(K, h, w, 2) undisplaced positions of every tap for every output pixel."""
        rows, cols = (torch.arange(side).to(x) for side in x.shape[2:])
        down, right = (torch.arange(side).to(x) - side // 2 for side in self.kernel)
        pixel = torch.stack(torch.meshgrid(rows, cols, indexing="ij"), dim=-1)
        tap = torch.stack(torch.meshgrid(down, right, indexing="ij"), dim=-1)
        return pixel + tap.reshape(-1, 1, 1, 2)
