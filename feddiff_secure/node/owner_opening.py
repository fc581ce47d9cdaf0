"""Make the owner of a job from a node's settings: its data, its keys, its ledger, its gate.

1. The job's public layout is that of this node's own data; else the job is refused.
2. Descriptors are computed here, from the public features that the layout fixes.
3. A plan is the pinned coordinator's (`open_party`).
4. Every plan passes the policy and, where its people want it, their review, before it is reserved.

Nothing of the job decides which data is read, which key signs, or which ledger is charged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.witness_file import WitnessFile
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.read import read_dataset
from feddiff_secure.data.scene import Dataset
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError
from feddiff_secure.federation.alignment import align
from feddiff_secure.federation.examples import describe, labelled_examples
from feddiff_secure.federation.ledgers import tiles_digest
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.node.gate import JobGate
from feddiff_secure.node.opening import open_keys, open_ledger
from feddiff_secure.node.plan_signature import PlansOfCoordinator
from feddiff_secure.node.review import Review
from feddiff_secure.node.settings import NodeSettings
from feddiff_secure.transcript.witness import OwnerWitness
from feddiff_secure.transport.exchange import Party

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublicJob:
    """What a job says to every node.

    Attributes:
        config: the configuration. layout: of the sensors. classes: their names, 1..K.
        tile: side of a tile, pixels.
        owners: names of all owners, in roster order; None for all that the node pins.
    """

    config: RunConfig
    layout: SensorLayout
    classes: tuple[str, ...]
    tile: int
    owners: Sequence[str] | None = None


def open_party(settings: NodeSettings, job: PublicJob, held: ExitStack) -> Party:
    """The owner of this node in a job, reached by plans of the pinned coordinator only.

    Args:
        settings: of the node. job: what the coordinator sent. held: closes the ledger.

    Raises:
        UsageError, DataError: as `open_owner`.
    """
    owner = open_owner(settings, job, held)
    return PlansOfCoordinator(owner, open_keys(settings).coordinator())


def open_owner(settings: NodeSettings, job: PublicJob, held: ExitStack) -> Owner:
    """The owner of this node in a job.

    Args:
        settings: of the node.
        job: what the coordinator sent; untrusted, already parsed.
        held: closes the ledger.

    Raises:
        UsageError: keys, registry or ledger that cannot be used, or owners that are not pinned.
        DataError: data that cannot be read, or is not of the job's layout; a damaged ledger.
    """
    keys = open_keys(settings)
    owners = keys.owners(keys.pinned if job.owners is None else job.owners)
    coordinator = keys.coordinator()
    tiles = own_tiles(settings, job)
    config = job.config
    features = FeatureMap.public(
        job.layout, tile=job.tile, seed=config.seed, spectra=config.spectra
    )
    examples = labelled_examples(features, describe(features, tiles, Silent()))
    ledger = held.enter_context(open_ledger(settings, keys.name, tiles_digest(tiles)))
    review = None
    if settings.review:
        review = Review(
            settings.pending,
            keys.name,
            lambda: ledger.balance,
            settings.review_timeout,
            announce=_announce,
        )
    store = WitnessFile(settings.ledger / f"{keys.name}.{settings.holding}.witness.json")
    return Owner(
        keys.name,
        examples,
        keys.identity,
        owners,
        SecureRandom(),
        ledger=ledger,
        custodians=keys.custodians,
        witness=OwnerWitness(keys.name, keys.identity, owners, coordinator, store),
        gate=JobGate(settings.policy, job.config, review),
    )


def own_tiles(settings: NodeSettings, job: PublicJob) -> TileSet:
    """The tiles of this node's own data, of the job's layout; all of them train.

    Raises:
        DataError: data that cannot be read, without labels, or of another layout or other classes.
    """
    if settings.part is not None:
        return _dealt_tiles(settings, job)
    dataset = own_dataset(settings)
    job.layout.check_same(
        dataset.layout, str(settings.data), allow_missing=job.config.topology != "paired"
    )
    if dataset.classes != job.classes[: len(dataset.classes)]:
        raise DataError(
            f"{settings.data}: its classes are not the job's, in its order",
            "labels match by number: give the classes the names that the job gives them",
        )
    tiles = cut_tiles(dataset, job.tile)
    if len(tiles.labelled_units()) == 0:
        raise DataError(f"{settings.data}: no labelled pixel", "give data with labels above 0")
    return tiles


def own_dataset(settings: NodeSettings) -> Dataset:
    """What the node's files hold.

    Raises:
        DataError: a file that cannot be read, or two that cannot be aligned.
    """
    if settings.data is None:
        raise DataError(f"{settings.path}: no key data", "name the file that this node holds")
    if settings.lidar_data is None:
        return read_dataset(settings.data)
    files = (settings.data, settings.lidar_data)
    hsi, lidar = (read_dataset(path, require_labels=False) for path in files)
    return align(hsi, lidar).dataset


def _dealt_tiles(settings: NodeSettings, job: PublicJob) -> TileSet:
    """This node's part of a simulated dealing, for a federation on one machine."""
    assert settings.part is not None
    data = None if settings.data is None else str(settings.data)
    config = replace(job.config, data=data, owners=settings.part.owners)
    prepared = prepare(config)
    job.layout.check_same(prepared.dataset.layout, "the data of this node")
    if (prepared.dataset.classes, prepared.tile) != (job.classes, job.tile):
        raise DataError(
            "the data of this node has other classes or tiles than the job",
            "run it under the configuration that the data was dealt by",
        )
    return prepared.owners[settings.part.index]


def _announce(page: Path) -> None:
    _log.warning("a plan waits for approval: %s", page)
