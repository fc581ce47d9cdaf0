"""One part of ψ: a descriptor and the random Fourier features that expand it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.model.descriptors import COEFFICIENTS
from feddiff_secure.model.embedding import OUTPUTS
from feddiff_secure.model.features import FEATURES
from feddiff_secure.model.log_shape import LOG_SHAPE_OUTPUTS
from feddiff_secure.model.projection import FourierProjection


@dataclass(frozen=True)
class Part:
    """One descriptor and its expansion.

    Attributes:
        modality: "hsi" or "lidar".
        source: "embedding", "diffusion", "descriptor", "slope" and "log-shape" (no network), or
            "tile" (the embedding, else the descriptor, of the tile's mean).
        projection: the random Fourier features that expand it.
    """

    modality: str
    source: str
    projection: FourierProjection

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the digest pins the drawn frequencies."""
        return {
            "modality": self.modality,
            "source": self.source,
            "inputs": self.projection.inputs,
            "features": self.projection.features,
            "scale": self.projection.scale,
            "seed": list(self.projection.seed),
            "sha256": self.projection.digest,
        }


def descriptor_length(layout: SensorLayout, modality: str, source: str, *, embedded: bool) -> int:
    """Length of the descriptor that a part expands.

    Args:
        layout: the sensors.
        modality: of the part.
        source: of the part.
        embedded: whether the map has the public embedding, by which it describes tile means.
    """
    if source == "diffusion":
        return FEATURES + 1 if modality == "hsi" else FEATURES
    if source == "embedding" or (source == "tile" and embedded):
        return OUTPUTS
    if source == "log-shape":
        return LOG_SHAPE_OUTPUTS
    found = layout.get(modality)
    assert found is not None
    channels = len(found.channels)
    return min(channels, COEFFICIENTS) + 1 if modality == "hsi" else channels
