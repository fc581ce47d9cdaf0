"""The training schedule of the paper profile: what was published, reduced to minutes on one core.

Published (text and release of arXiv 2401.02433): T = 500, linear β, L1 on ε, Adam at 1e-4, batches
of 64 patches of 8×8, 128 and 256 channels, about a thousand epochs, features of several timesteps;
FedFusion (arXiv 2311.09540) exchanges a quarter of the rank. Kept: all but the size and the
length. Reduced: 48 and 96 channels, 240 steps an owner at ten times the step size.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperSchedule:
    """The constants of a run; part of the method, not of the configuration.

    Attributes:
        widths: channels of a branch's levels.
        branch_rounds: times the branches of one modality are averaged over their owners.
        branch_steps: local steps an owner takes before each.
        branch_rate: step size of Adam for branches.
        batch: tiles of 8×8 pixels a step; smaller tiles go in larger batches.
        timesteps: steps t whose features are concatenated, of T = 500.
        rank_share: exchanged rank, as a share of the features' number.
        head_width: channels of the fusion.
        head_rate: step size of Adam for the head.
    """

    widths: tuple[int, ...] = (48, 96)
    branch_rounds: int = 8
    branch_steps: int = 30
    branch_rate: float = 1e-3
    batch: int = 16
    timesteps: tuple[int, ...] = (5, 50, 150)
    rank_share: float = 0.25
    head_width: int = 64
    head_rate: float = 2e-3

    @property
    def features(self) -> int:
        """F, feature channels of one modality."""
        return sum(self.widths) * len(self.timesteps)

    @property
    def rank(self) -> int:
        """k, the rank that is exchanged."""
        return max(1, round(self.rank_share * self.features))

    def batch_of(self, height: int, width: int) -> int:
        """Tiles of this size a step: about as many pixels as `batch` tiles of 8×8, at most 64."""
        return min(64, max(1, self.batch * 64 // (height * width)))


REDUCED = PaperSchedule()
