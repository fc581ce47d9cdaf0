"""The one convolution of a branch, along the spectrum or over a tile."""

from __future__ import annotations

from torch import nn


def convolution(axes: int, c_in: int, c_out: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution over `axes` axes that keeps the size at stride 1; the kernel is odd there."""
    padding = (kernel - 1) // 2 if stride == 1 else 0
    if axes == 1:
        return nn.Conv1d(c_in, c_out, kernel, stride, padding)
    # Replication: a tile's edge is where knowledge ends, not where the ground becomes zero.
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, padding_mode="replicate")
