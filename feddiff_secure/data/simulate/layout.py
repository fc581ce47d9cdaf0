"""The plan of the simulated town: which class covers which ground, and how high it stands.

The plan is drawn on a lattice `OVERSAMPLING` times finer than the scene's pixels, so that pixels
at borders become mixtures. Streets cut the town into parcels; parcels get ground covers, buildings
and trees in turn, so that every class turns up in many separate places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from feddiff_secure.data.simulate.spectra import CLASS_MATERIALS

Bounds = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # first and last cell, fine lattice

OVERSAMPLING = 2  # fine cells a pixel side
PARCEL = 16  # pixels between street centres
CLASS_NAMES: tuple[str, ...] = tuple(CLASS_MATERIALS)

_GROUND = ("grass", "bare soil", "dry grass", "concrete", "grass", "water", "bare soil", "concrete")
_ROOFS = ("clay-tile roof", "bitumen roof", "metal roof", "gravel roof")


@dataclass(frozen=True)
class TownPlan:
    """Class and structure of every fine cell.

    Attributes:
        cover: (F, F) int, index into `CLASS_NAMES`.
        height_m: (F, F) metres above ground.
        parcel: (F, F) int, which parcel or street stretch a cell belongs to: places differ from
            one another in their spectra, a place is alike in itself.
    """

    cover: npt.NDArray[np.int64]
    height_m: npt.NDArray[np.float64]
    parcel: npt.NDArray[np.int64]


def draw_plan(rng: np.random.Generator, side: int) -> TownPlan:
    """Draw the plan of a town of `side` × `side` pixels."""
    fine = side * OVERSAMPLING
    step = PARCEL * OVERSAMPLING
    rows, cols = np.mgrid[0:fine, 0:fine]
    cuts = _cuts(rng, fine, step)
    block_row, block_col = (
        np.searchsorted(cuts[0], rows, "right"),
        np.searchsorted(cuts[1], cols, "right"),
    )
    parcel = block_row * (len(cuts[1]) + 1) + block_col
    plan = TownPlan(
        cover=np.empty((fine, fine), dtype=np.int64), height_m=np.zeros((fine, fine)), parcel=parcel
    )
    turn = rng.permutation(int(parcel.max()) + 1)
    for index in range(len(turn)):
        _build_parcel(rng, plan, parcel == index, int(turn[index]))
    _pave(plan, cuts, rows, cols)
    return plan


def _cuts(
    rng: np.random.Generator, fine: int, step: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Street centres down the rows and across the columns."""
    centres = np.arange(step, fine - step // 2, step)
    wander = max(1, step // 8)
    return (
        centres + rng.integers(-wander, wander + 1, size=centres.size),
        centres + rng.integers(-wander, wander + 1, size=centres.size),
    )


def _build_parcel(
    rng: np.random.Generator, plan: TownPlan, inside: npt.NDArray[np.bool_], turn: int
) -> None:
    """Cover one parcel: a ground, then by turns two buildings, a grove, or nothing."""
    _fill(plan, inside, _GROUND[turn % len(_GROUND)], 0.0)
    at = np.argwhere(inside)
    low, high = at.min(axis=0), at.max(axis=0)
    if _GROUND[turn % len(_GROUND)] == "water":
        return
    roof = _ROOFS[turn // 2 % len(_ROOFS)]
    if turn % 3 != 2:  # two buildings in two of three parcels
        for half in range(2):
            _put_building(rng, plan, (low, high), roof=roof, half=half)
            roof = _ROOFS[(turn // 2 + 2) % len(_ROOFS)]
    if turn % 2 == 0 or turn % 3 == 2:
        for _ in range(3):
            _put_tree(rng, plan, inside, (low, high))


def _put_building(
    rng: np.random.Generator,
    plan: TownPlan,
    bounds: Bounds,
    *,
    roof: str,
    half: int,
) -> None:
    """A flat rectangular building in the left (0) or right (1) half of a parcel."""
    low, high = bounds
    extent = high - low
    depth, width = rng.uniform(0.35, 0.7) * extent[0], rng.uniform(0.5, 0.75) * extent[1] / 2
    top = low[0] + rng.uniform(0.15, 0.85) * (extent[0] - depth)
    left = low[1] + half * extent[1] / 2 + 0.2 * (extent[1] / 2 - width) + 2
    rows, cols = slice(int(top), int(top + depth)), slice(int(left), int(left + width))
    plan.cover[rows, cols] = CLASS_NAMES.index(roof)
    plan.height_m[rows, cols] = rng.uniform(3.0, 11.0)


def _put_tree(
    rng: np.random.Generator,
    plan: TownPlan,
    inside: npt.NDArray[np.bool_],
    bounds: Bounds,
) -> None:
    """A crown anywhere in the parcel; it may overhang a roof."""
    centre = rng.uniform(*bounds)
    radius = rng.uniform(2.0, 4.5) * OVERSAMPLING / 2 * 1.6
    rows, cols = np.ogrid[0 : inside.shape[0], 0 : inside.shape[1]]
    squared = (np.square(rows - centre[0]) + np.square(cols - centre[1])) / radius**2
    crown = (squared < 1.0) & inside
    top = rng.uniform(3.0, 16.0)
    plan.cover[crown] = CLASS_NAMES.index("tree canopy")
    plan.height_m[crown] = top * (0.5 + 0.5 * np.sqrt(1.0 - squared[crown]))


def _pave(
    plan: TownPlan,
    cuts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    rows: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
) -> None:
    """Lay streets over the cuts; every third one is a railway."""
    for centres, axis in zip(cuts, (rows, cols), strict=True):
        for number, centre in enumerate(centres):
            name = "railway" if number % 3 == 1 else "asphalt road"
            strip = np.abs(axis - centre) <= 1.5 * OVERSAMPLING
            _fill(plan, strip, name, 0.0)


def _fill(plan: TownPlan, where: npt.NDArray[np.bool_], name: str, height_m: float) -> None:
    plan.cover[where] = CLASS_NAMES.index(name)
    plan.height_m[where] = height_m
