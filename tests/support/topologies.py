"""Small data and plans in which owners hold different modalities."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.aggregation.centring import Block
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Affine, Dataset, Modality, Scene
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from scripts.make_tiny_table import tiny_table

CLASSES = 3
HSI, WIDTH = 600, 1000  # columns of HSI, of both
BLOCKS = (
    Block("hsi", HSI - 1, 0.55, constant=False),
    Block("hsi", 1, 0.05, constant=True),
    Block("lidar", WIDTH - HSI - 1, 0.35, constant=False),
    Block("lidar", 1, 0.05, constant=True),
)
NORTH_UP: Affine = (2.0, 0.0, 500_000.0, 0.0, -2.0, 4_000_000.0)


@lru_cache
def topology_plan(config: RunConfig, owners: int, *, means: bool = False) -> Plan:
    """A plan over `owners` owners with `WIDTH` columns; with `means`, one that releases them."""
    names = tuple(f"owner-{i:03d}" for i in range(1, owners + 1))
    return make_plan(
        config,
        session=bytes(16),
        owners=names,
        tile=1,
        classes=CLASSES,
        features=WIDTH,
        hsi_features=HSI,
        blocks=BLOCKS if means else None,
    )


def holder_examples(held: str, seed: int, tiles: int = 12) -> TileExamples:
    """Labelled tiles with ‖ψ‖ = 1 of an owner that holds `hsi`, `lidar` or `both`."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal((tiles, WIDTH))
    if held == "hsi":
        psi[:, HSI:] = 0
    if held == "lidar":
        psi[:, :HSI] = 0
    psi /= np.linalg.norm(psi, axis=1, keepdims=True)
    return TileExamples.group(psi, rng.integers(0, CLASSES, tiles), np.arange(tiles))


def tiny_scene(side: int = 24, bands: int = 12, transform: Affine | None = NORTH_UP) -> Scene:
    """A raster of three classes in blocks of 4 × 4, both modalities, with a georeference."""
    table = tiny_table(pixels=2 * side * side, bands=bands, seed=1).table
    assert table is not None
    row, col = np.divmod(np.arange(side * side), side)
    block = row // 4 * (side // 4) + col // 4
    wanted = (block % 3 + 1).astype(np.int16)
    source = np.empty(side * side, dtype=np.int64)  # a table row of the wanted class a pixel
    for label in (1, 2, 3):
        source[wanted == label] = np.flatnonzero(table.label == label)[: (wanted == label).sum()]
    modalities = {
        name: replace(held, values=cube(held, source, side))
        for name, held in table.modalities.items()
    }
    return Scene(
        modalities,
        wanted.reshape(side, side),
        table.classes,
        crs="EPSG:32617" if transform else None,
        transform=transform,
        region=(block + 1).astype(np.int32).reshape(side, side),
        name="ground",
    )


def cube(held: Modality, source: NDArray[np.int64], side: int) -> NDArray[np.float32]:
    """(C, side, side) values of the chosen table rows."""
    return np.ascontiguousarray(held.values[source].T.reshape(-1, side, side))


def only(scene: Scene, name: str) -> Scene:
    """The scene as the owner of one sensor has it."""
    return replace(scene, modalities={name: scene.modalities[name]})


def cropped(scene: Scene, rows: slice, cols: slice) -> Scene:
    """A part of a scene, at its place on the ground."""
    transform = scene.transform
    if transform is not None:
        a, b, c, d, e, f = transform
        transform = (a, b, c + a * (cols.start or 0), d, e, f + e * (rows.start or 0))
    return replace(
        scene,
        modalities={name: held.pick((rows, cols)) for name, held in scene.modalities.items()},
        label=scene.label[rows, cols].copy(),
        region=None if scene.region is None else scene.region[rows, cols].copy(),
        transform=transform,
    )


def written(path: Path, scene: Scene) -> Path:
    """The scene as a file."""
    write_scene(path, Dataset(scenes=(scene,)))
    return path


def with_gaps(scene: Scene, name: str, share: float, seed: int = 0) -> Scene:
    """The scene with a share of a modality's pixels missing, at random."""
    held = scene.modalities[name]
    valid = np.random.default_rng(seed).random(scene.shape) >= share
    gappy = replace(held, values=np.where(valid, held.values, np.float32(0)), valid=valid)
    return replace(scene, modalities={**scene.modalities, name: gappy})
