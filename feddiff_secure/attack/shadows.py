"""Membership inference on the final model: shadow runs of the recorded configuration.

The attacker sees the published model only. Shadow models are whole runs of the real code (owners,
plan, secure sums, noise) on random halves of a pool of the owners' tiles, with the run's own ε,
rounds and clip. The pool is at most 512 tiles, so that a shadow run takes seconds; a model
trained on fewer tiles remembers each of them rather better than the run's model does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.attacks.lira import logit_confidence, online_scores
from feddiff_privacy.attacks.roc import LOW_FPR, Roc, auc_interval, clopper_pearson, roc
from feddiff_privacy.clipping import TileExamples
from feddiff_secure.attack.observer import ObservedFederation
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress, Silent
from feddiff_secure.federation.training import train

LEAST_SHADOWS = 4
MOST_POOL = 512  # tiles
ATTACKED = 4  # models that are attacked, with coins of their own

Held = Mapping[str, TileExamples]


@dataclass(frozen=True, slots=True, eq=False)
class Membership:
    """What LiRA achieved.

    Attributes:
        curve: ROC over all tiles of all attacked models.
        pool: tiles. shadows: shadow models. attacked: attacked models.
        auc_interval: 95 %, as if every tile had been attacked in one model only.
        tpr: true positive rate at 1 % false ones.
        tpr_interval: 95 % (Clopper-Pearson), likewise.
    """

    curve: Roc
    pool: int
    shadows: int
    attacked: int
    auc_interval: tuple[float, float]
    tpr: float
    tpr_interval: tuple[float, float]


def pooled(owners: Held, most: int, rng: np.random.Generator) -> dict[str, TileExamples]:
    """At most `most` tiles in all, the same share of every owner's, at least two of each."""
    total = sum(held.tiles for held in owners.values())
    share = min(1.0, most / total)
    return {
        name: take_tiles(held, _some(held.tiles, max(2, int(held.tiles * share)), rng))
        for name, held in owners.items()
    }


def take_tiles(held: TileExamples, chosen: NDArray[np.bool_]) -> TileExamples:
    """The examples of the chosen tiles, (tiles,)."""
    sizes = np.diff(np.append(held.starts, len(held.labels)))
    tile = np.repeat(np.arange(held.tiles), sizes)
    rows = chosen[tile]
    return TileExamples.group(held.features[rows], held.labels[rows], tile[rows])


def tile_confidences(pool: Held, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean logit confidence of every tile of the pool, owner after owner."""
    found = []
    for held in pool.values():
        values = logit_confidence(held.features @ weights.T, held.labels)
        sizes = np.diff(np.append(held.starts, len(held.labels)))
        found.append(np.add.reduceat(values, held.starts) / sizes)
    return np.concatenate(found)


def membership_inference(
    plan: Plan,
    pool: Held,
    *,
    shadows: int,
    rng: np.random.Generator,
    progress: Progress,
) -> Membership:
    """Train shadow and attacked models on random halves of the pool and attack.

    Every tile is in exactly half of the shadow models; in an attacked model it is in by a fair
    coin.

    Args:
        plan: the run's plan at the size of half the pool.
        pool: name → tiles.
        shadows: number of shadow models, even and at least 4.
        rng: of the halves; keys, noise and sampling are the operating system's.
        progress: receives one step a model.

    Raises:
        UsageError: an odd number of shadow models, or fewer than 4.
        ProtocolAbortedError: a round could not be completed.
    """
    if shadows < LEAST_SHADOWS or shadows % 2:
        raise UsageError(
            f"shadows is {shadows}", f"give an even number, at least {LEAST_SHADOWS}, or 0 for none"
        )
    tiles = sum(held.tiles for held in pool.values())
    half = np.arange(shadows)[:, None] < shadows // 2
    member = rng.permuted(np.broadcast_to(half, (shadows, tiles)), axis=0)
    coins = rng.random((ATTACKED, tiles)) < 0.5
    shadow = np.stack([_confidences(plan, pool, row, progress) for row in member])
    attacked = np.stack([_confidences(plan, pool, row, progress) for row in coins])
    scores = np.stack([online_scores(row, shadow, member) for row in attacked])
    curve = roc(scores.ravel(), coins.ravel())
    return _summary(curve, tiles, shadows)


def _summary(curve: Roc, tiles: int, shadows: int) -> Membership:
    """Intervals count a tile once, however many models it was attacked in."""
    positives, negatives = curve.positives / ATTACKED, curve.negatives / ATTACKED
    tpr = curve.tpr_at(LOW_FPR)
    return Membership(
        curve=curve,
        pool=tiles,
        shadows=shadows,
        attacked=ATTACKED,
        auc_interval=auc_interval(curve.auc, positives, negatives),
        tpr=tpr,
        tpr_interval=clopper_pearson(tpr * positives, positives),
    )


def _confidences(
    plan: Plan, pool: Held, member: NDArray[np.bool_], progress: Progress
) -> NDArray[np.float64]:
    """Confidences of one model trained on the chosen tiles."""
    ends = np.cumsum([held.tiles for held in pool.values()])
    parts = np.split(member, ends[:-1])
    held = {
        name: take_tiles(tiles, chosen)
        for (name, tiles), chosen in zip(pool.items(), parts, strict=True)
    }
    federation = ObservedFederation.of(plan, held)
    trained = train(
        federation.exchange,
        federation.registry,
        plan,
        check_count=lambda _tiles: None,  # nothing of a shadow run is published
        log=lambda _line: None,
        progress=Silent(),
    )
    progress.advance()
    return tile_confidences(pool, trained.weights)


def _some(tiles: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    chosen = np.zeros(tiles, dtype=np.bool_)
    chosen[rng.permutation(tiles)[:count]] = True
    return chosen
