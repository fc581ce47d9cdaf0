"""FedDiff's fusion of two modalities, its three-output head and its loss: the `paired` fusion.

    H, L = B_h(hsi), B_l(lidar)                      1×1 bottlenecks
    F₁ = L + σ(D_{k×1}(L)) ⊙ H,  F₂ = L + σ(D_{1×k}(L)) ⊙ H,  F = F₁ + F₂

with D deformable column and row convolutions (figure of arXiv 2401.02433; the authors' release
has plain 3×3 ones under their names and takes the residual from the gate's source, as here).
Three outputs: o₁ from F, o₂ from the HSI and o₃ from the LiDAR features alone, so that an owner
of one modality has an output of its own. The loss ties them together:

    CE(o₁, y) + MSE(o₂, o₁) + MSE(o₃, o₁) + 0.01·Σ‖W‖

where Σ runs over the Frobenius norms of all weights, not biases. (In the release the sum is
always 0: it looks for layers among parameters.) The additive fusion of the private profile is
`federation`'s linear model; this one is cross-modal and has far more parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.model.deformable import DeformableConvolution

KERNEL = 3  # k of the row and the column convolution
WEIGHT_PENALTY = 0.01


class GatedFusion(nn.Module):
    """F₁ + F₂ of two maps of equal shape.

    Args:
        channels: of both inputs and of the output, at least 2.
        kernel: k, odd.
    """

    def __init__(self, channels: int, kernel: int = KERNEL) -> None:
        super().__init__()
        self.bottleneck_hsi = _bottleneck(channels)
        self.bottleneck_lidar = _bottleneck(channels)
        self.column = DeformableConvolution(channels, channels, (kernel, 1))
        self.row = DeformableConvolution(channels, channels, (1, kernel))

    def forward(self, hsi: Tensor, lidar: Tensor) -> Tensor:
        """(B, C, h, w) twice to (B, C, h, w)."""
        high, low = self.bottleneck_hsi(hsi), self.bottleneck_lidar(lidar)
        by_column = low + torch.sigmoid(self.column(low)) * high
        by_row = low + torch.sigmoid(self.row(low)) * high
        fused: Tensor = by_column + by_row
        return fused


class Outputs(NamedTuple):
    """Class scores (B, K, h, w): fused, HSI alone, LiDAR alone."""

    fused: Tensor
    hsi: Tensor
    lidar: Tensor


class PairedHead(nn.Module):
    """Class scores of every pixel from the features of both modalities.

    Args:
        hsi_channels: of the HSI feature map.
        lidar_channels: of the LiDAR feature map.
        width: channels of the fusion, at least 2.
        classes: K.
    """

    def __init__(self, hsi_channels: int, lidar_channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.enter_hsi = nn.Conv2d(hsi_channels, width, 1)
        self.enter_lidar = nn.Conv2d(lidar_channels, width, 1)
        self.fusion = GatedFusion(width)
        self.score_fused = nn.Conv2d(width, classes, 1)
        self.score_hsi = nn.Conv2d(width, classes, 1)
        self.score_lidar = nn.Conv2d(width, classes, 1)

    def forward(self, hsi: Tensor, lidar: Tensor) -> Outputs:
        """(B, C_hsi, h, w) and (B, C_lidar, h, w) to three (B, K, h, w)."""
        one = functional.silu(self.enter_hsi(hsi))
        two = functional.silu(self.enter_lidar(lidar))
        return Outputs(
            fused=self.score_fused(self.fusion(one, two)),
            hsi=self.score_hsi(one),
            lidar=self.score_lidar(two),
        )


def paired_loss(head: nn.Module | None, outputs: Outputs, label: Tensor) -> Tensor:
    """FedDiff's loss over the labelled pixels.

    Args:
        head: whose weights are penalised; None leaves the penalty out, for a loss a tile: the
            weights are public, so their penalty's gradient is added once, outside the clipping.
        outputs: three (B, K, h, w).
        label: (B, h, w) integers, 1…K, 0 = unlabelled. Without a labelled pixel only the penalty
            is left.
    """
    # By masks, not by picking: the shape must not depend on the labels of a tile under vmap.
    known = label > 0
    wanted = (label.long() - 1).clamp_min(0)
    fit = functional.cross_entropy(outputs.fused, wanted, reduction="none")  # (B, h, w)
    apart = torch.square(outputs.hsi - outputs.fused) + torch.square(outputs.lidar - outputs.fused)
    error = torch.where(known, fit + apart.mean(dim=1), torch.zeros_like(fit))
    loss = error.sum() / known.sum().clamp_min(1)
    return loss if head is None else loss + WEIGHT_PENALTY * weight_norms(head)


def weight_norms(module: nn.Module) -> Tensor:
    """Σ‖W‖: the Frobenius norms of all weights, biases left out."""
    norms = [
        torch.linalg.vector_norm(parameter)
        for name, parameter in module.named_parameters()
        if name.rpartition(".")[2] != "bias"
    ]
    return torch.stack(norms).sum()


def _bottleneck(channels: int) -> nn.Module:
    """Two 1×1 convolutions through half the channels."""
    return nn.Sequential(
        nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels // 2, channels, 1)
    )
