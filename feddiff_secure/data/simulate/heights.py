"""Random LiDAR tiles for the public prior: heights above ground and intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HEIGHT_UNIT_M = 30.0  # a sensor-scaled height of 1 is 30 m above ground


@dataclass(frozen=True)
class _Tiles:
    """n tiles being drawn: pixel positions, and the two layers that are changed in place."""

    rows: Floats  # (1, side, 1), 0 at the centre
    cols: Floats  # (1, 1, side)
    height: Floats  # (n, side, side) metres
    intensity: Floats  # (n, side, side)


def random_height_tiles(rng: np.random.Generator, n: int, side: int) -> npt.NDArray[np.float32]:
    """Draw `n` varied tiles of terrain, buildings and trees.

    Args:
        rng: simulation randomness.
        n: how many tiles.
        side: pixels a side, ≥ 1 (a pixel is 1–2.5 m).

    Returns:
        (n, 2, side, side) float32: height above ground in units of 30 m (about −0.02 to 1.5) and
        intensity (about 0 to 1.2), with sensor noise.
    """
    axis: Floats = np.arange(side, dtype=np.float64) - (side - 1) / 2.0
    rows, cols = axis[None, :, None], axis[None, None, :]
    height = _terrain_residual(rng, n, rows, cols)
    intensity = np.broadcast_to(_draw(rng, n, 0.02, 0.9), height.shape).copy()
    tiles = _Tiles(rows, cols, height, intensity)
    for _ in range(2):
        _put_building(rng, n, tiles)
    for _ in range(3):
        _put_tree(rng, n, tiles)
    noise_m, speckle = _draw(rng, n, 0.01, 0.25) ** 1.5, _draw(rng, n, 0.005, 0.15)
    height += noise_m * rng.normal(size=height.shape)
    intensity *= np.exp(speckle * rng.normal(size=height.shape))
    return np.stack([height / HEIGHT_UNIT_M, intensity], axis=1).astype(np.float32)


def _draw(rng: np.random.Generator, n: int, low: float, high: float) -> Floats:
    return rng.uniform(low, high, size=(n, 1, 1))


def _terrain_residual(
    rng: np.random.Generator,
    n: int,
    rows: Floats,
    cols: Floats,
) -> Floats:
    """Metres that an imperfect ground filter leaves: offset, slope, low plants."""
    slope = rng.normal(0.0, 0.03, size=(2, n, 1, 1))
    low_plants = _draw(rng, n, 0.0, 1.2) ** 3
    shape = (n, rows.size, cols.size)
    return np.asarray(
        rng.normal(0.0, 0.15, size=(n, 1, 1))
        + slope[0] * rows
        + slope[1] * cols
        + low_plants * rng.random(shape)
    )


def _put_building(rng: np.random.Generator, n: int, tiles: _Tiles) -> None:
    """A rectangle at any angle, flat or gabled, in about 40 % of the tiles; changes in place."""
    angle = _draw(rng, n, 0.0, np.pi)
    at = rng.uniform(-10.0, 10.0, size=(2, n, 1, 1))
    along = (tiles.rows - at[0]) * np.cos(angle) + (tiles.cols - at[1]) * np.sin(angle)
    across = (tiles.cols - at[1]) * np.cos(angle) - (tiles.rows - at[0]) * np.sin(angle)
    half_across = _draw(rng, n, 2.0, 12.0)
    inside = (np.abs(along) < _draw(rng, n, 2.0, 16.0)) & (np.abs(across) < half_across)
    inside &= rng.random((n, 1, 1)) < 0.4
    pitch = _draw(rng, n, 0.0, 0.6) * (rng.random((n, 1, 1)) < 0.5)
    eaves = _draw(rng, n, 2.2, 5.0) ** _draw(rng, n, 1.0, 1.9)
    roof = eaves + pitch * np.maximum(half_across - np.abs(across), 0.0)
    np.copyto(tiles.height, roof, where=inside)
    np.copyto(
        tiles.intensity, np.broadcast_to(_draw(rng, n, 0.03, 1.0), tiles.height.shape), where=inside
    )


def _put_tree(rng: np.random.Generator, n: int, tiles: _Tiles) -> None:
    """An ellipsoidal, rough, porous crown in about 40 % of the tiles; changes in place."""
    at = rng.uniform(-9.0, 9.0, size=(2, n, 1, 1))
    radius = _draw(rng, n, 1.0, 7.0)
    squared = (np.square(tiles.rows - at[0]) + np.square(tiles.cols - at[1])) / np.square(radius)
    hit = rng.random(tiles.height.shape) < _draw(rng, n, 0.6, 1.0)
    inside = (squared < 1.0) & hit & (rng.random((n, 1, 1)) < 0.4)
    top = _draw(rng, n, 2.0, 28.0)
    crown = top * (0.45 + 0.55 * np.sqrt(np.maximum(1.0 - squared, 0.0)))
    crown = crown * (1.0 + _draw(rng, n, 0.0, 0.2) * rng.normal(size=tiles.height.shape))
    np.copyto(tiles.height, np.maximum(crown, tiles.height), where=inside)
    canopy = _draw(rng, n, 0.1, 0.6) * rng.uniform(0.6, 1.2, size=tiles.height.shape)
    np.copyto(tiles.intensity, canopy, where=inside)
