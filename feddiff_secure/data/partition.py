"""Dealing tiles out to owners: each unit goes to exactly one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from feddiff_secure.data.cells import ground_cells
from feddiff_secure.data.split import cell_class_counts
from feddiff_secure.data.tiles import NO_ID, TileSet, UnitIds
from feddiff_secure.errors import UsageError

PartitionKind = Literal["iid", "dirichlet", "region", "site"]
MIN_OWNERS = 2
DIRICHLET_DRAWS = 100  # fresh draws before giving up on every owner holding a label


@dataclass(frozen=True)
class PartitionScheme:
    """How tiles are dealt to owners.

    Attributes:
        kind: `iid` (labelled tiles at random, equal numbers), `dirichlet` (each class is shared
            out by a Dirichlet draw: label skew), `region` (whole ground cells, balanced) or
            `site` (one owner a site).
        alpha: concentration of the Dirichlet draw, positive; None for the others.
    """

    kind: PartitionKind
    alpha: float | None = None

    def __str__(self) -> str:
        return self.kind if self.alpha is None else f"{self.kind}:{self.alpha:g}"


def parse_partition(text: str) -> PartitionScheme:
    """Reads `iid`, `dirichlet:A`, `region` or `site`.

    Raises:
        UsageError: another word, or A is not a finite positive number.
    """
    hint = "use iid, dirichlet:A with A > 0, region or site"
    kind, colon, argument = text.partition(":")
    if kind == "dirichlet":
        try:
            alpha = float(argument)
        except ValueError:
            alpha = math.nan
        if not (math.isfinite(alpha) and alpha > 0):
            raise UsageError(f"partition {text!r}: A is not a finite number above 0", hint)
        return PartitionScheme("dirichlet", alpha)
    if colon or kind not in {"iid", "region", "site"}:
        raise UsageError(f"partition {text!r} is unknown", hint)
    return PartitionScheme("iid" if kind == "iid" else "region" if kind == "region" else "site")


def partition(
    tiles: TileSet, owners: int | None, scheme: PartitionScheme, seed: int = 0
) -> list[TileSet]:
    """Deals all units to owners, disjointly.

    Args:
        tiles: the training tiles.
        owners: number of owners, at least 2; with `site` None, or the number of sites.
        scheme: how to deal.
        seed: of the simulation randomness; the partition stands in for who holds what and
            carries no privacy.

    Returns:
        One tile set an owner; with `site` in the order of `tiles.sites`.

    Raises:
        UsageError: the number of owners does not fit the scheme or the data, or an owner would
            hold no labelled tile.
    """
    if scheme.kind == "site":
        owner = _by_site(tiles, owners)
        count = len(tiles.sites)
    else:
        if owners is None or owners < MIN_OWNERS:
            raise UsageError(f"owners {owners} is below {MIN_OWNERS}", "use at least 2 owners")
        count = owners
        labelled = tiles.labelled_units().size
        if labelled < count:
            raise UsageError(
                f"{labelled} labelled tiles cannot be dealt to {count} owners",
                "use fewer owners or a smaller --tile",
            )
        rng = np.random.default_rng(seed)
        if scheme.kind == "iid":
            owner = _iid(tiles, count, rng)
        elif scheme.kind == "region":
            owner = _by_region(tiles, count, rng)
        else:
            assert scheme.alpha is not None
            owner = _dirichlet(tiles, count, scheme.alpha, rng)
    empty = np.flatnonzero(_labelled_per_owner(tiles, owner, count) == 0)
    if empty.size:
        raise UsageError(
            f"partition {scheme}: owner {int(empty[0]) + 1} of {count} would hold no labelled tile",
            "use fewer owners, a larger A, or another --partition",
        )
    return [tiles.select(tiles.units.unit[owner == number]) for number in range(count)]


def _labelled(tiles: TileSet) -> UnitIds:
    """Positions of the labelled units in `tiles.units`."""
    return np.flatnonzero(tiles.units.class_counts.sum(axis=1) > 0)


def _labelled_per_owner(tiles: TileSet, owner: UnitIds, count: int) -> UnitIds:
    return np.bincount(owner[_labelled(tiles)], minlength=count)


def _iid(tiles: TileSet, count: int, rng: np.random.Generator) -> UnitIds:
    """Labelled units, then the others, are shuffled and dealt in turn."""
    owner = np.empty(tiles.n_units, dtype=np.int64)
    labelled = _labelled(tiles)
    others = np.setdiff1d(np.arange(tiles.n_units), labelled)
    dealt = np.concatenate([rng.permutation(labelled), rng.permutation(others)])
    owner[dealt] = np.arange(dealt.size) % count
    return owner


def _dirichlet(tiles: TileSet, count: int, alpha: float, rng: np.random.Generator) -> UnitIds:
    """Units of each class (by majority) are cut at the cumulative shares of a Dirichlet draw."""
    counts = tiles.units.class_counts
    majority = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), NO_ID)
    owner = np.empty(tiles.n_units, dtype=np.int64)
    for _ in range(DIRICHLET_DRAWS):
        for label in np.unique(majority):
            members = rng.permutation(np.flatnonzero(majority == label))
            shares = rng.dirichlet(np.full(count, alpha))
            cuts = np.rint(np.cumsum(shares)[:-1] * members.size).astype(np.int64)
            for number, part in enumerate(np.split(members, cuts)):
                owner[part] = number
        if (_labelled_per_owner(tiles, owner, count) > 0).all():
            break
    return owner


def _by_region(tiles: TileSet, count: int, rng: np.random.Generator) -> UnitIds:
    """Whole cells, the fullest first, each to the owner with the fewest labelled pixels."""
    cells = ground_cells(tiles)
    if not cells.spatial:
        raise UsageError(
            "partition region: the data has no region, group or row_col",
            "use --partition iid or dirichlet:A",
        )
    known = cells.cell != NO_ID
    weight = cell_class_counts(tiles, cells).sum(axis=1)
    size = np.bincount(cells.cell[known], minlength=cells.n_cells)
    shuffled = rng.permutation(cells.n_cells)
    order = shuffled[np.argsort(-weight[shuffled], kind="stable")]
    load, held = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    owner_of_cell = np.empty(cells.n_cells, dtype=np.int64)
    for cell in order:
        lightest = np.lexsort((held, load))[0]  # units break ties between equal labels
        owner_of_cell[cell] = lightest
        load[lightest] += weight[cell]
        held[lightest] += size[cell]
    owner = rng.integers(0, count, size=tiles.n_units)  # unlabelled units of no known ground
    owner[known] = owner_of_cell[cells.cell[known]]
    return owner


def _by_site(tiles: TileSet, owners: int | None) -> UnitIds:
    """One owner a site."""
    sites = tiles.units.site
    if len(tiles.sites) < MIN_OWNERS or (sites == NO_ID).any():
        raise UsageError(
            f"partition site: the data names {len(tiles.sites)} sites (at least {MIN_OWNERS}, and "
            "one for every tile, are needed)",
            "use another --partition, or add a `site` data set",
        )
    if owners is not None and owners != len(tiles.sites):
        raise UsageError(
            f"partition site: --owners {owners}, but the data has {len(tiles.sites)} sites",
            "leave --owners out with --partition site",
        )
    return sites.astype(np.int64)
