"""A fused prediction with every party in this process: who holds what, sums, labels.

New ground is described by each owner in its own modality. The tiles are dealt in turn to the
holders of either modality, so each tile has one holder of HSI and one of LiDAR among the owners.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.data.tiles import TileBlock, TileSet
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.examples import describe, partial_scores, steps
from feddiff_secure.federation.prediction_node import PartialScores, PredictionNode, needs_consent
from feddiff_secure.federation.prediction_plan import (
    MOST_VALUES,
    PredictionPlan,
    model_digest,
    score_scale,
)
from feddiff_secure.federation.prediction_round import predict_together
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.model_file import Model
from feddiff_secure.transport.inprocess import InProcessExchange

_SESSION_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Who takes part in a fused prediction.

    Attributes:
        holds: owner → `hsi` or `lidar`, in roster order.
        recipient: who gets the fused scores.
        consents: owners that let their part go to a recipient which can subtract its own.
        aggregation: `masked` or `encrypted`.
        key_agreement: that of the run.
    """

    holds: Mapping[str, str]
    recipient: str
    consents: Collection[str]
    aggregation: str = "masked"
    key_agreement: str = "x25519"


def fused_maps(
    model: Model, tiles: TileSet, fusion: Fusion, progress: Progress
) -> list[NDArray[np.int16]]:
    """Labels 1..K as the recipient gets them, one array a scene or one for a table.

    Pixels to which a single owner contributes stay 0.

    Raises:
        UsageError: a name that is no owner's, or a consent that is missing.
        DataError: no pixel has two contributors.
        ProtocolAbortedError: a sum could not be completed.
    """
    plan = _plan(model, fusion, pixels=sum(block.label.size for block in tiles))
    _check_consents(plan, fusion)
    parts = _parts(model, tiles, fusion, progress)
    contributors = np.sum([part.own for part in parts.values()], axis=0)
    if not (contributors >= 2).any():
        raise DataError(
            "predict: no tile has two contributors: the data holds one modality only",
            "give data of both, or --lidar-data",
        )
    identities = {name: IdentityKey.generate(SecureRandom()) for name in plan.parties}
    registry = Registry({name: key.public for name, key in identities.items()})
    nodes = {
        name: PredictionNode(
            name,
            model,
            parts.get(name),
            identity=key,
            registry=registry,
            random=SecureRandom(),
            consents=[fusion.recipient] if name in fusion.consents else [],
        )
        for name, key in identities.items()
    }
    progress.stage("secure sums", plan.batches)
    predict_together(InProcessExchange(nodes), registry, plan, progress)
    labels = np.where(contributors >= 2, nodes[fusion.recipient].labels(), 0).astype(np.int16)
    return _painted(tiles, labels)


def _plan(model: Model, fusion: Fusion, *, pixels: int) -> PredictionPlan:
    owners = tuple(sorted(fusion.holds))
    classes = len(model.classes)
    return PredictionPlan(
        session=SecureRandom().random_bytes(_SESSION_BYTES).hex(),
        model=model_digest(model),
        owners=owners,
        holds=tuple(fusion.holds[name] for name in owners),
        recipient=fusion.recipient,
        aggregation=fusion.aggregation,
        key_agreement=fusion.key_agreement,
        pixels=pixels,
        classes=classes,
        batch=min(pixels, MOST_VALUES // classes),
        scale=score_scale(model.weights, len({*owners, fusion.recipient})),
    )


def _check_consents(plan: PredictionPlan, fusion: Fusion) -> None:
    """Say before the first message what the nodes would refuse."""
    unknown = [name for name in fusion.consents if name not in plan.owners]
    if unknown:
        raise UsageError(
            f"consent: {unknown[0][:80]!r} is no owner", f"the owners are {', '.join(plan.owners)}"
        )
    missing = [
        name for name in plan.owners if needs_consent(plan, name) and name not in fusion.consents
    ]
    if missing:
        raise UsageError(
            f"recipient {plan.recipient} contributes itself: the fused scores less its own are "
            f"those of {', '.join(missing)}, without consent",
            f"add --consent {','.join(missing)} if they agree, or name another recipient",
        )


def _parts(
    model: Model, tiles: TileSet, fusion: Fusion, progress: Progress
) -> dict[str, PartialScores]:
    """Every owner's own partial scores of the pixels it holds."""
    pixels, units = sum(block.label.size for block in tiles), tiles.units.unit
    own: dict[str, NDArray[np.bool_]] = {}
    scores: dict[str, NDArray[np.float64]] = {}
    held = {name: _ground(tiles, fusion.holds, name, units) for name in fusion.holds}
    progress.stage("features", sum(steps(part) for part in held.values()))
    for name, part in held.items():
        own[name] = np.zeros(pixels, dtype=np.bool_)
        scores[name] = np.zeros((pixels, len(model.classes)))
        if not part.blocks:
            continue
        found = partial_scores(
            model.features, model.weights, describe(model.features, part, progress)
        )
        for block, values in zip(part, found, strict=True):
            rows = _places(tiles, block)
            own[name][rows] = block.present.ravel()
            scores[name][rows] = values
    contributors = np.sum(list(own.values()), axis=0)
    return {name: PartialScores(scores[name], own[name], contributors) for name in held}


def _ground(
    tiles: TileSet, holds: Mapping[str, str], name: str, units: NDArray[np.int64]
) -> TileSet:
    """The tiles of one owner in its modality: every so-many-th of the ground."""
    peers = [other for other, held in holds.items() if held == holds[name]]
    if holds[name] not in tiles.layout.names:
        return tiles.select([])
    chosen = tiles.select(units[peers.index(name) :: len(peers)])
    return chosen.with_modalities([holds[name]])


def _places(tiles: TileSet, part: TileBlock) -> NDArray[np.int64]:
    """Numbers, among all pixels of `tiles`, of the pixels of a block of some of them."""
    start = 0
    for block in tiles:
        area = block.height * block.width
        if (block.height, block.width) == (part.height, part.width):
            order = np.argsort(block.index)
            place = order[np.searchsorted(block.index, part.index, sorter=order)]
            numbers: NDArray[np.int64] = (place[:, None] * area + np.arange(area)).ravel() + start
            return numbers
        start += block.label.size
    raise ValueError(f"no tiles of {part.height} × {part.width}")


def _painted(tiles: TileSet, labels: NDArray[np.int16]) -> list[NDArray[np.int16]]:
    values, start = [], 0
    for block in tiles:
        values.append(labels[start : start + block.label.size].reshape(block.label.shape))
        start += block.label.size
    return tiles.paint(values, np.int16(0))
