"""Pictures of tiles as they pass through a branch: true colour, spectra, elevation.

A column a stage (real, noised, reconstructed, generated), three rows a tile. Equal inputs give
equal files: fixed ranges, and no time or program version is written. Pictures of private tiles
stay with their owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feddiff_secure.errors import UsageError

DPI = 100
MOST_TILES = 8
RED_GREEN_BLUE_NM = (650.0, 550.0, 460.0)
BRIGHTEST = 0.35  # reflectance shown as full intensity
GAMMA = 0.7
MOST_SPECTRA = 16  # drawn of a tile
HIGHEST_M = 15.0


@dataclass(frozen=True, eq=False)
class Stage:
    """Tiles at one stage.

    Attributes:
        name: the column's heading.
        reflectance: (N, B, h, w).
        height_m: (N, h, w) metres above ground.
    """

    name: str
    reflectance: NDArray[np.floating[Any]]
    height_m: NDArray[np.floating[Any]]


def write_tile_pictures(
    path: Path, stages: Sequence[Stage], wavelengths_nm: NDArray[np.floating[Any]], *, title: str
) -> None:
    """Draw the grid as a PNG.

    Args:
        path: the file.
        stages: at least one; all of the same 1 to 8 tiles' number.
        wavelengths_nm: (B,) of the reflectance, rising; bands that are not covered left out.
        title: a line above the picture.

    Raises:
        UsageError: no stages, too many tiles, or stages of different shapes.
    """
    shapes = {(stage.reflectance.shape[0], stage.height_m.shape[0]) for stage in stages}
    count = stages[0].height_m.shape[0] if stages else 0
    bands = {stage.reflectance.shape[1] for stage in stages}
    if shapes != {(count, count)} or bands != {wavelengths_nm.size} or not 1 <= count <= MOST_TILES:
        raise UsageError(
            f"stages of {sorted(shapes)} tiles and {sorted(bands)} bands",
            f"give 1 to {MOST_TILES} tiles with {wavelengths_nm.size} bands at every stage",
        )
    rows, columns = 3 * count, len(stages)
    figure = Figure(figsize=(2.4 * columns, 1.9 * rows + 0.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, stage in enumerate(stages):
        axes[0, column].set_title(stage.name, fontsize=9)
        for tile in range(count):
            _draw(axes[3 * tile : 3 * tile + 3, column], stage, tile, wavelengths_nm)
    figure.savefig(path, metadata={"Software": None})


def true_colour(
    reflectance: NDArray[np.floating[Any]], wavelengths_nm: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(B, h, w) reflectance to (h, w, 3) in 0…1, by the bands nearest to 650, 550 and 460 nm."""
    bands = [int(np.argmin(np.abs(wavelengths_nm - at))) for at in RED_GREEN_BLUE_NM]
    colour = np.clip(reflectance[bands].astype(np.float64) / BRIGHTEST, 0.0, 1.0) ** GAMMA
    return np.asarray(np.moveaxis(colour, 0, -1))


def _draw(
    axes: Any,
    stage: Stage,
    tile: int,
    wavelengths_nm: NDArray[np.floating[Any]],
) -> None:
    colour, spectrum, elevation = axes
    colour.imshow(true_colour(stage.reflectance[tile], wavelengths_nm), interpolation="nearest")
    every = stage.reflectance[tile].reshape(len(wavelengths_nm), -1)
    some = np.linspace(0, every.shape[1] - 1, min(MOST_SPECTRA, every.shape[1])).astype(int)
    spectrum.plot(wavelengths_nm, every[:, some], linewidth=0.5)
    spectrum.set_ylim(0.0, 0.7)
    spectrum.tick_params(labelsize=6)
    spectrum.set_xlabel("nm", fontsize=6)
    shown = elevation.imshow(
        stage.height_m[tile], vmin=0.0, vmax=HIGHEST_M, cmap="viridis", interpolation="nearest"
    )
    bar = elevation.figure.colorbar(shown, ax=elevation, fraction=0.05)
    bar.ax.tick_params(labelsize=6)
    bar.set_label("m", fontsize=6)
    for each in (colour, elevation):
        each.set_xticks([])
        each.set_yticks([])
