"""What ψ is made of: which sources a layout has, and the kernel and weight of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from feddiff_secure.config.schema import Spectra
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.model.inputs import height_and_intensity
from feddiff_secure.model.wavelengths import sees_shortwave


class Kernel(NamedTuple):
    """How a source is expanded.

    Attributes:
        scale: inverse width. A wide kernel puts a class's pixels close together, which is what
            survives noise; a narrow one tells similar classes apart.
        weight: of its squared norm, relative to the other parts'.
    """

    scale: float
    weight: float


KERNELS: Mapping[tuple[str, str], Kernel] = MappingProxyType(
    {
        ("hsi", "descriptor"): Kernel(0.7, 2.0),
        ("hsi", "tile"): Kernel(1.5, 1.0),
        ("hsi", "diffusion"): Kernel(2.0, 0.5),
        ("hsi", "embedding"): Kernel(4.5, 2.0),
        ("lidar", "descriptor"): Kernel(6.0, 1.0),  # over √C: more channels lie further apart
        ("lidar", "diffusion"): Kernel(2.0, 1.0),
        ("hsi", "slope"): Kernel(0.5, 8.0),  # a part's seed is its place here: add at the end
        ("hsi", "log-shape"): Kernel(0.5, 2.0),
    }
)
"""The kernel of every source (docs/results.md says how they were chosen). `tile` parts describe
the tile's mean spectrum; `slope` parts are for sensors with shortwave bands, of which the embedding
keeps next to nothing; `log-shape` is for maps of fine spectra."""
CONSTANT_SHARE = 1 / 16
"""Squared norm of a modality's constant: the column that says that the modality is there. In the
released mean each tile with the modality adds its root, a quarter, there."""


class Columns(NamedTuple):
    """Some columns of ψ: a part or a constant.

    Attributes:
        modality: "hsi" or "lidar".
        columns: how many.
        share: their squared norm in a pixel that has the modality.
        constant: whether it is the constant of its modality.
    """

    modality: str
    columns: int
    share: float
    constant: bool


def kinds_of(
    layout: SensorLayout, tile: int, *, learned: bool, spectra: Spectra = "robust"
) -> list[tuple[str, str]]:
    """Which parts a layout has.

    Args:
        layout: the sensors.
        tile: side of a tile.
        learned: whether with frozen networks; without, `spectra` says nothing.
        spectra: "robust", what survives noise; or "fine", what tells similar classes apart in runs
            with little noise and many rounds.
    """
    kinds: list[tuple[str, str]] = []
    hsi = layout.get("hsi")
    if hsi is not None:
        shortwave = sees_shortwave(len(hsi.channels), hsi.wavelengths_nm)
        sources = _spectral_sources(tile, spectra, shortwave=shortwave) if learned else _plain(tile)
        kinds += [("hsi", source) for source in sources]
    lidar = layout.get("lidar")
    if lidar is not None:
        kinds += [("lidar", "descriptor")]
        if learned and height_and_intensity(lidar.channels) is not None:
            kinds += [("lidar", "diffusion")]
    return kinds


def _plain(tile: int) -> list[str]:
    return ["descriptor", *(["tile"] if tile > 1 else [])]


def _spectral_sources(tile: int, spectra: Spectra, *, shortwave: bool) -> list[str]:
    """Sources of HSI; the embedding keeps next to nothing of the shortwave (ADR 8)."""
    if spectra == "fine":
        return [*([] if shortwave else ["embedding"]), "diffusion", "log-shape"]
    found = ["embedding", "diffusion"]
    found += ["tile"] if tile > 1 else []
    return found + (["slope"] if shortwave else [])


def scale_of(layout: SensorLayout, modality: str, source: str) -> float:
    """The inverse kernel width of a source."""
    found = layout.get(modality)
    assert found is not None
    scale = KERNELS[modality, source].scale
    if (modality, source) == ("lidar", "descriptor"):
        return scale / math.sqrt(len(found.channels))
    return scale
