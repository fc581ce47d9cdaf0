"""The simulation of who holds what: training tiles dealt to owners, by topology.

* `paired`: each owner holds both modalities of its own ground.
* `mixed`: each owner holds its own ground, with the modalities that `holds` gives it.
* `split`: the ground is dealt once among the holders of HSI and once among those of LiDAR, so that
  each tile is in the data of exactly one of either. With as many of one as of the other, the deals
  are the same and the owners form pairs on one ground.

Labels in split: an owner has the label of a tile if it, or the holder of the tile's other modality,
is among the holders of labels; the one shares them with the other outside this protocol.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feddiff_secure.config.holds import Held, modalities_of, parse_labels
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.partition import PartitionScheme, partition
from feddiff_secure.data.tiles import TileSet, UnitIds
from feddiff_secure.errors import UsageError


def deal(tiles: TileSet, scheme: PartitionScheme, config: RunConfig) -> dict[str, TileSet]:
    """Deal the training tiles to owners.

    Args:
        tiles: the training tiles, of both modalities unless paired.
        scheme: how ground is dealt.
        config: topology, number of owners, who holds what, seed.

    Returns:
        Owner → its tiles, in roster order.

    Raises:
        UsageError: owners, holders or labels that the data does not allow.
    """
    if config.topology == "split":
        return _split(tiles, scheme, config)
    parts = partition(tiles, config.owner_count, scheme, config.seed)
    holds = config.holds_for(len(parts))
    if holds is not None:
        pairs = zip(parts, holds, strict=True)
        parts = [part.with_modalities(modalities_of(held)) for part, held in pairs]
    return dict(zip(owner_names(len(parts)), parts, strict=True))


def owner_names(count: int) -> tuple[str, ...]:
    """Names of the owners of a simulated run, in roster order."""
    return tuple(f"owner-{i:03d}" for i in range(1, count + 1))


def _split(tiles: TileSet, scheme: PartitionScheme, config: RunConfig) -> dict[str, TileSet]:
    holds = named_holds(config)
    names = tuple(holds)
    ground = _deal_ground(tiles, scheme, holds, config.seed)
    labelled = _with_labels(tiles, ground, parse_labels(config.labels or "all", names))
    owners = {
        name: _hide_labels(part, labelled).with_modalities([holds[name]])
        for name, part in ground.items()
    }
    for name, part in owners.items():
        if not part.labelled_units().size:
            raise UsageError(
                f"labels: {name} would have no labelled tile",
                "let a holder of the same ground hold labels: --labels all, say",
            )
    return owners


def named_holds(config: RunConfig) -> dict[str, Held]:
    """Owner → what it holds, in split."""
    assert config.owner_count is not None  # the configuration refuses split without it
    names = owner_names(config.owner_count)
    return dict(zip(names, config.holds_for(len(names)) or (), strict=True))


def _deal_ground(
    tiles: TileSet, scheme: PartitionScheme, holds: dict[str, Held], seed: int
) -> dict[str, TileSet]:
    """The ground of each owner in split, still with both modalities, in roster order.

    Raises:
        UsageError: more holders of a modality than the ground can be dealt to.
    """
    ground: dict[str, TileSet] = {}
    for modality in ("hsi", "lidar"):
        names = [name for name, held in holds.items() if held == modality]
        if len(names) == 1 and (scheme.kind != "site" or len(tiles.sites) == 1):
            parts = [tiles]
        else:
            parts = partition(tiles, len(names), scheme, seed)
        ground |= dict(zip(names, parts, strict=True))
    return {name: ground[name] for name in holds}


def _with_labels(tiles: TileSet, ground: dict[str, TileSet], labels: tuple[str, ...]) -> UnitIds:
    """The units of which a holder of either modality holds the labels."""
    if len(labels) == len(ground):
        return tiles.units.unit
    return np.unique(np.concatenate([ground[name].units.unit for name in labels]))


def _hide_labels(tiles: TileSet, kept: UnitIds) -> TileSet:
    """The same tiles, unlabelled but for the units `kept`."""
    blocks = tuple(
        replace(
            block,
            label=np.where(np.isin(block.unit, kept)[:, None, None], block.label, 0).astype(
                block.label.dtype
            ),
        )
        for block in tiles.blocks
    )
    return replace(tiles, blocks=blocks)
