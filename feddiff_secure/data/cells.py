"""Cells: the groups of units that no split and no partition by ground may take apart.

Neighbouring pixels are nearly identical, so a split by pixel or by tile overstates accuracy
(Houston: 0.98 at random, 0.82 by halves of the scene). A cell is the coarsest ground the data
knows: everything that shares a group or a region, or else a spatial block of tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from feddiff_secure.data.scene import Ids
from feddiff_secure.data.tiles import NO_ID, TileSet, UnitIds

BLOCK_TILES = 4  # a spatial block is 4×4 tiles


@dataclass(frozen=True, eq=False)
class Cells:
    """The cell of every unit.

    Attributes:
        cell: int64 (U,), 0..n_cells-1, in the order of `TileSet.units`; units of no known
            ground (unlabelled tiles between regions) have `NO_ID`.
        n_cells: the number of cells.
        how: what a cell is, in words for reports.
        spatial: False where units were left single because nothing is known of their place.
    """

    cell: UnitIds
    n_cells: int
    how: str
    spatial: bool = True


def ground_cells(tiles: TileSet) -> Cells:
    """Gathers units into cells, by the best that the data knows.

    1. By group and region where either is present: units that share one are in one cell, also
       through a chain of others.
    2. Else by spatial blocks of 4×4 tiles within each scene (or of the table's positions).
    3. Else (a table with no region, group or position) each unit is its own cell.
    """
    units = tiles.units
    by_group, by_region = (units.group != NO_ID).any(), (units.region != NO_ID).any()
    if by_group or by_region:
        names = [name for name, known in (("group", by_group), ("region", by_region)) if known]
        return _renumbered(_connected(units.group, units.region), " and ".join(names))
    if tiles.positioned:
        side = BLOCK_TILES * tiles.tile
        block = np.column_stack([units.site, units.origin[:, 0], units.origin[:, 1:] // side])
        cell = np.unique(block, axis=0, return_inverse=True)[1].reshape(-1)
        return _renumbered(cell.astype(np.int64), f"blocks of {BLOCK_TILES}×{BLOCK_TILES} tiles")
    return _renumbered(np.arange(tiles.n_units), "random tiles (no regions known)", spatial=False)


def _connected(group: Ids, region: Ids) -> UnitIds:
    """Connected components of the bipartite graph of units and their group and region."""
    count = group.size
    unit_of_edge, node_of_edge = [], []
    start = count
    for ids in (group, region):
        known = np.flatnonzero(ids != NO_ID)
        _, node = np.unique(ids[known], return_inverse=True)
        unit_of_edge.append(known)
        node_of_edge.append(start + node)
        start += known.size
    rows, cols = np.concatenate(unit_of_edge), np.concatenate(node_of_edge)
    graph = coo_array((np.ones(rows.size, dtype=np.int8), (rows, cols)), shape=(start, start))
    _, component = connected_components(graph, directed=False)
    cell = component[:count].astype(np.int64)
    cell[(group == NO_ID) & (region == NO_ID)] = NO_ID
    return cell


def _renumbered(cell: UnitIds, how: str, *, spatial: bool = True) -> Cells:
    """Cells numbered 0.. in the order of their first unit."""
    known = np.flatnonzero(cell != NO_ID)
    _, first, inverse = np.unique(cell[known], return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    numbered = np.full(cell.size, NO_ID, dtype=np.int64)
    numbered[known] = rank[inverse]
    return Cells(numbered, int(first.size), how, spatial)
