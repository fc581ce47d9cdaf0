"""A run of the paper profile with every owner in this process: from files to a model.

files → tiles → owners of HSI and of LiDAR on one ground → branches trained and averaged →
features of several timesteps → rank-k factors exchanged between partners → head → metrics

Nothing is noised, masked or accounted for: this is the baseline, not a product.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.federation.prepare import Prepared, Splitter, prepare
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run import check_labelled
from feddiff_secure.paper.averaging import BYTES_A_PARAMETER, parameter_count
from feddiff_secure.paper.branch_training import train_branches
from feddiff_secure.paper.channel_range import ChannelRange
from feddiff_secure.paper.encoder_features import block_features, from_rows, to_rows
from feddiff_secure.paper.exchange import Exchanged, OwnerFeatures
from feddiff_secure.paper.head_training import OwnerView, RoundLog, train_head
from feddiff_secure.paper.low_rank import LowRankFeatures
from feddiff_secure.paper.paper_model import PaperModel
from feddiff_secure.paper.schedule import REDUCED, PaperSchedule

MODALITIES = ("hsi", "lidar")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes one owner sends in the whole run, float32 numbers, the mean over owners.

    Attributes:
        features: the exchanged factors.
        dense_features: what the feature matrices themselves would have taken.
        branch: branch parameters, over all averages.
        head: head parameters, over all averages.
        ranges: extremes of channels.
    """

    features: float
    dense_features: float
    branch: float
    head: float
    ranges: float

    @property
    def total(self) -> float:
        """Everything that was sent."""
        return self.features + self.branch + self.head + self.ranges


@dataclass(frozen=True, slots=True, eq=False)
class PaperResult:
    """Everything the run directory of the paper profile is written from.

    Attributes:
        config: the configuration. prepared: the data. model: the trained model.
        exchanged: the factors that left every owner.
        traffic: bytes.
        test_true: labels 1..K of the labelled test pixels. test_predicted: the model's.
        maps: predicted labels of `--data`, one array a scene.
        seconds: by stage.
    """

    config: RunConfig
    prepared: Prepared
    model: PaperModel
    exchanged: Exchanged
    traffic: Traffic
    test_true: NDArray[np.int16]
    test_predicted: NDArray[np.int16]
    maps: list[NDArray[np.int16]]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Owner:
    """One owner: its tiles, of one modality."""

    name: str
    modality: str
    tiles: TileSet


def run_paper(
    config: RunConfig,
    *,
    log: RoundLog,
    progress: Progress,
    on_ready: Callable[[], None] = lambda: None,
    schedule: PaperSchedule | None = None,
    splitter: Splitter | None = None,
) -> PaperResult:
    """Run the profile.

    Args:
        config: a configuration of profile `paper`.
        log: receives one line a round of the head.
        progress: receives stages and steps.
        on_ready: called once all input has been accepted.
        schedule: the constants; None for the reduced schedule.
        splitter: sets the test part aside; None for the default of `prepare`.

    Raises:
        UsageError, DataError: data that cannot be run, or that lacks a modality.
    """
    schedule = REDUCED if schedule is None else schedule
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    prepared = prepare(config, splitter)
    check_labelled(prepared)
    on_ready()
    owners = _owners(prepared)
    rng = np.random.default_rng([config.seed, 2401])
    began = _lap(seconds, "data", began)

    ranges, branches = {}, {}
    progress.stage("branches", 2 * schedule.branch_rounds)
    for modality in MODALITIES:
        held = [owner.tiles for owner in owners if owner.modality == modality]
        ranges[modality] = ChannelRange.over(held, modality)
        scaled = [ranges[modality].scaled_blocks(tiles, modality) for tiles in held]
        branches[modality] = train_branches(scaled, schedule, rng=rng, advance=progress.advance)
    began = _lap(seconds, "branches", began)

    exact = {
        owner.name: block_features(
            branches[owner.modality],
            ranges[owner.modality].scaled_blocks(owner.tiles, owner.modality),
            schedule,
        )
        for owner in owners
    }
    exchanged = Exchanged(
        tuple(
            OwnerFeatures(
                owner.name,
                owner.modality,
                LowRankFeatures.compress(to_rows(exact[owner.name]), schedule.rank),
            )
            for owner in owners
        )
    )
    began = _lap(seconds, "features", began)

    progress.stage("head", config.rounds)
    classes = prepared.dataset.classes
    head = train_head(
        _views(owners, exact, exchanged),
        len(classes),
        schedule,
        rounds=config.rounds,
        rng=rng,
        log=log,
        advance=progress.advance,
    )
    began = _lap(seconds, "head", began)
    layout = prepared.dataset.layout
    model = PaperModel(branches, ranges, head, schedule, layout, classes, prepared.tile)
    true, predicted, maps = _evaluate(model, prepared)
    _lap(seconds, "evaluate", began)
    return PaperResult(
        config=config,
        prepared=prepared,
        model=model,
        exchanged=exchanged,
        traffic=_traffic(model, exchanged, config.rounds),
        test_true=true,
        test_predicted=predicted,
        maps=maps,
        seconds=seconds,
    )


def _lap(seconds: dict[str, float], stage: str, began: float) -> float:
    now = time.perf_counter()
    seconds[stage] = now - began
    return now


def _owners(prepared: Prepared) -> list[_Owner]:
    """Owners in roster order; those of HSI and of LiDAR alternate and share their ground."""
    return [
        _Owner(name, tiles.layout.names[0], tiles)
        for name, tiles in zip(prepared.names, prepared.owners, strict=True)
    ]


def _views(
    owners: list[_Owner], exact: Mapping[str, list[NDArray[np.float32]]], exchanged: Exchanged
) -> list[OwnerView]:
    """Each owner's own features beside what it received from its partner."""
    views = []
    for number, owner in enumerate(owners):
        partner = owners[number ^ 1]  # owners 0 and 1 share their ground, 2 and 3, …
        label = [block.label for block in owner.tiles]
        received = from_rows(
            exchanged.of(partner.name).factors.features(),
            [(block.shape[0], block.shape[1], block.shape[2]) for block in label],
        )
        seen = {owner.modality: exact[owner.name], partner.modality: received}
        views.append(OwnerView(seen["hsi"], seen["lidar"], label))
    return views


def _evaluate(
    model: PaperModel, prepared: Prepared
) -> tuple[NDArray[np.int16], NDArray[np.int16], list[NDArray[np.int16]]]:
    """Labels of the test pixels, true and predicted, and the maps."""
    assert prepared.ground is not None  # the profile's topology is split
    tested = model.predicted_labels(prepared.test)
    true = np.concatenate([block.label.ravel() for block in prepared.test])
    flat = np.concatenate([part.ravel() for part in tested])
    maps = prepared.ground.paint(model.predicted_labels(prepared.ground), np.int16(0))
    if prepared.test_is_part:
        painted = prepared.test.paint(tested, np.int16(0))
        maps = [np.where(new > 0, new, old) for new, old in zip(painted, maps, strict=True)]
    return true[true > 0], flat[true > 0], maps


def _traffic(model: PaperModel, exchanged: Exchanged, rounds: int) -> Traffic:
    owners = len(exchanged.owners)
    branch = np.mean(
        [parameter_count(model.branches[owner.modality]) for owner in exchanged.owners]
    )
    channels = np.mean([2 * model.ranges[owner.modality].low.size for owner in exchanged.owners])
    unit = BYTES_A_PARAMETER
    return Traffic(
        features=unit * sum(owner.factors.numbers for owner in exchanged.owners) / owners,
        dense_features=unit * sum(o.factors.dense_numbers for o in exchanged.owners) / owners,
        branch=unit * float(branch) * model.schedule.branch_rounds,
        head=unit * parameter_count(model.head) * float(rounds),
        ranges=unit * float(channels),
    )
