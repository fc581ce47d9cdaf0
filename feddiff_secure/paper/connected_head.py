"""FedDiff's head on exchanged features: bilateral connections, then the gated fusion.

The abstract of arXiv 2401.02433 builds bilateral connections between the two modalities on
matching denoising steps; the release has none. Within the two encoders (`model/paired.py`) they
would need both modalities in one place at every training step, which is what the federation is to
avoid, so here they join the *exchanged* features: those of HSI at step t with those of LiDAR at
step t, by 1×1 projections that start at zero. The outputs of one modality alone do not see them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from feddiff_secure.model.gated_fusion import Outputs, PairedHead
from feddiff_secure.paper.schedule import PaperSchedule


class ConnectedHead(nn.Module):
    """Class scores of every pixel from the features of both modalities.

    Args:
        schedule: number of timesteps, channels a timestep and width of the fusion.
        classes: K.
    """

    def __init__(self, schedule: PaperSchedule, classes: int) -> None:
        super().__init__()
        steps, channels = len(schedule.timesteps), sum(schedule.widths)
        self.steps = steps
        self.norm_hsi = nn.GroupNorm(1, schedule.features)
        self.norm_lidar = nn.GroupNorm(1, schedule.features)
        self.to_hsi = nn.ModuleList(_zero_projection(channels) for _ in range(steps))
        self.to_lidar = nn.ModuleList(_zero_projection(channels) for _ in range(steps))
        self.paired = PairedHead(schedule.features, schedule.features, schedule.head_width, classes)

    def forward(self, hsi: Tensor, lidar: Tensor) -> Outputs:
        """(B, F, h, w) of both modalities to three (B, K, h, w)."""
        hsi, lidar = self.norm_hsi(hsi), self.norm_lidar(lidar)
        head = self.paired
        one = functional.silu(head.enter_hsi(hsi + _joined(self.to_hsi, lidar, self.steps)))
        two = functional.silu(head.enter_lidar(lidar + _joined(self.to_lidar, hsi, self.steps)))
        return Outputs(
            fused=head.score_fused(head.fusion(one, two)),
            hsi=self._alone_hsi(hsi),
            lidar=self._alone_lidar(lidar),
        )

    def alone(self, hsi: Tensor | None, lidar: Tensor | None) -> Tensor:
        """Scores (B, K, h, w) where one modality is absent: that of the other alone."""
        if hsi is not None:
            return self._alone_hsi(self.norm_hsi(hsi))
        assert lidar is not None  # a tile holds one modality at least
        return self._alone_lidar(self.norm_lidar(lidar))

    def _alone_hsi(self, hsi: Tensor) -> Tensor:
        scores: Tensor = self.paired.score_hsi(functional.silu(self.paired.enter_hsi(hsi)))
        return scores

    def _alone_lidar(self, lidar: Tensor) -> Tensor:
        scores: Tensor = self.paired.score_lidar(functional.silu(self.paired.enter_lidar(lidar)))
        return scores


def _joined(projections: nn.ModuleList, other: Tensor, steps: int) -> Tensor:
    """What the other modality's features of each timestep add to this one's of the same."""
    parts = zip(projections, other.chunk(steps, dim=1), strict=True)
    return torch.cat([projection(part) for projection, part in parts], dim=1)


def _zero_projection(channels: int) -> nn.Conv2d:
    projection = nn.Conv2d(channels, channels, 1)
    nn.init.zeros_(projection.weight)
    assert projection.bias is not None
    nn.init.zeros_(projection.bias)
    return projection
