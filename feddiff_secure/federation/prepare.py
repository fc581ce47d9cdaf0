"""From files to owners: read, cut into tiles, set a test part aside, deal the rest out.

Everything here is the simulation of who holds what. In a deployment each owner reads its own
file; nothing of this is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.partition import parse_partition
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.simulate.scene import simulated_scene
from feddiff_secure.data.split import train_test_split
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.alignment import align
from feddiff_secure.federation.dealing import deal

TABLE_TILE = 1
RASTER_TILE = 4
PAPER_TILE = 8  # FedDiff's patches
TEST_FRACTION = 0.2

Splitter = Callable[[TileSet], tuple[TileSet, TileSet, str]]
"""Divides all tiles into a training part and a test part, and says how."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The data of a run.

    Attributes:
        dataset: what `--data` holds.
        owners: each owner's tiles, labelled and unlabelled.
        names: owner names, in roster order.
        test: the tiles that the metrics are computed on.
        test_is_part: whether the test tiles are a part of `dataset`.
        how: how the test part was chosen, in words.
        tile: side of a tile.
        ground: in split, the training tiles with both modalities, which no party holds.
        alignment: in split, how the two files were brought onto one grid, in words; None where one
            file holds both modalities.
    """

    dataset: Dataset
    owners: list[TileSet]
    names: tuple[str, ...]
    test: TileSet
    test_is_part: bool
    how: str
    tile: int
    ground: TileSet | None = None
    alignment: str | None = None


def prepare(config: RunConfig, splitter: Splitter | None = None) -> Prepared:
    """Read and divide the data of a run.

    Args:
        config: the configuration.
        splitter: sets the test part aside where there is no test file; None for a fifth by ground.

    Raises:
        DataError: a file that is missing or wrong, or a test file that does not fit.
        UsageError: a partition or unit that the data does not allow.
    """
    scheme = parse_partition(config.partition)
    dataset, alignment = _load(config)
    tile = tile_side(config, dataset)
    tiles = cut_tiles(dataset, tile)
    if len(tiles.labelled_units()) == 0:
        raise DataError(f"{config.data}: no labelled pixel", "give data with labels above 0")
    if len(dataset.classes) < 2:
        raise DataError(
            f"{config.data}: its labels are of one class: there is nothing to tell apart",
            "give labels of at least two classes, or name all classes in the attribute `classes`",
        )
    if config.test is None and splitter is not None:
        train, test, how = splitter(tiles)
    elif config.test is None:
        train, test, how = train_test_split(tiles, TEST_FRACTION, config.seed)
    else:
        train, test, how = tiles, _test_tiles(config.test, dataset, tile), f"file {config.test}"
    if config.topology != "paired" and len(dataset.layout.names) < 2:
        raise DataError(
            f"{config.data}: holds {dataset.layout.names[0]} only, topology {config.topology} "
            "needs both modalities",
            "give data of HSI and LiDAR, or use --topology paired",
        )
    owners = deal(train, scheme, config)
    return Prepared(
        dataset=dataset,
        owners=list(owners.values()),
        names=tuple(owners),
        test=test,
        test_is_part=config.test is None,
        how=how,
        tile=tile,
        ground=train if config.topology == "split" else None,
        alignment=alignment,
    )


def _load(config: RunConfig) -> tuple[Dataset, str | None]:
    """The data of a run, and how two files became one, in words."""
    if config.data is None or config.lidar_data is None:
        return load(config.data, config.seed), None
    aligned = align(
        read_dataset(Path(config.data), require_labels=False),
        read_dataset(Path(config.lidar_data), require_labels=False),
    )
    return aligned.dataset, aligned.how


def load(path: str | None, seed: int) -> Dataset:
    """The data of a path, or the built-in simulated scene where there is none."""
    if path is None:
        return Dataset(scenes=(simulated_scene(seed),))
    return read_dataset(Path(path))


def tile_side(config: RunConfig, dataset: Dataset) -> int:
    """The side of a tile: as configured, or the default of the data's kind.

    Raises:
        UsageError: a pixel unit for features that were computed from a neighbourhood.
    """
    if config.unit == "pixel":
        if dataset.layout.support != "pixel":
            raise UsageError(
                "unit pixel: some values of the data were computed from a neighbourhood, so one "
                "ground pixel is in several records",
                "use --unit tile",
            )
        return 1
    if config.tile is not None:
        return config.tile
    if dataset.is_table:
        return TABLE_TILE
    return PAPER_TILE if config.profile == "paper" else RASTER_TILE


def _test_tiles(path: str, dataset: Dataset, tile: int) -> TileSet:
    """The tiles of a separate test file, which must fit the training data."""
    test = read_dataset(Path(path))
    dataset.layout.check_same(test.layout, path)
    if test.classes != dataset.classes:
        raise DataError(
            f"{path}: its classes are not those of the training data",
            "labels match by number, so the class names must be the same in the same order",
        )
    tiles = cut_tiles(test, tile if dataset.is_table == test.is_table else TABLE_TILE)
    if len(tiles.labelled_units()) == 0:
        raise DataError(f"{path}: no labelled pixel", "give a test file with labels")
    return tiles
