"""Who holds which modality, and so which columns of the communication module an owner moves.

An owner's vector has the same length whatever it holds: the columns of a modality that it lacks
are zero, as its ψ is zero there. Who holds what is public to the parties of a plan.

A modality with a **single holder** gets local noise. In its columns a sum is one owner's value, so
its protection should not hang on shares of owners that have nothing there. The holder adds the
whole noise σ in those columns and the others none: the sum has σ all the same, and no observer but
the holder can subtract any of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.config.holds import modalities_of


@dataclass(frozen=True, slots=True)
class Holdings:
    """The public table of a plan in which owners hold different modalities.

    Attributes:
        owners: roster, in order.
        holds: `hsi`, `lidar` or `both` of each owner.
        hsi_features: the first columns of the module are HSI's.
        features: D, all columns; the rest are LiDAR's.
    """

    owners: tuple[str, ...]
    holds: tuple[str, ...]
    hsi_features: int
    features: int

    def columns(self, modality: str) -> slice:
        """The columns of one modality."""
        if modality == "hsi":
            return slice(0, self.hsi_features)
        return slice(self.hsi_features, self.features)

    def holders(self, modality: str) -> tuple[str, ...]:
        """The owners that hold a modality, in roster order."""
        pairs = zip(self.owners, self.holds, strict=True)
        return tuple(name for name, held in pairs if modality in modalities_of(held))

    @property
    def sole(self) -> dict[str, str]:
        """Modality → its holder, for the modalities with a single one."""
        holders = {modality: self.holders(modality) for modality in ("hsi", "lidar")}
        return {modality: names[0] for modality, names in holders.items() if len(names) == 1}

    @property
    def all_sole(self) -> bool:
        """Whether every modality has a single holder."""
        return len(self.sole) == 2

    def held(self, owner: str) -> NDArray[np.bool_]:
        """The columns of the modalities that an owner holds, (D,)."""
        mask = np.zeros(self.features, dtype=np.bool_)
        for modality in modalities_of(self.holds[self.owners.index(owner)]):
            mask[self.columns(modality)] = True
        return mask

    def noise(self, owner: str, share: float, whole: float) -> NDArray[np.float64]:
        """Standard deviation of one owner's noise in each column, (D,).

        Args:
            owner: whose noise.
            share: what every owner adds where several hold a modality.
            whole: what a single holder adds in the columns of its modality.
        """
        std = np.full(self.features, share)
        for modality, holder in self.sole.items():
            std[self.columns(modality)] = whole if holder == owner else 0.0
        return std
