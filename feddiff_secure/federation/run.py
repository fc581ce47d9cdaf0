"""One run with every owner in this process: the path of the data, from files to a model.

files → tiles → owners → descriptors → ψ of labelled pixels → plan → T secure rounds → model
                                                                    → metrics, maps, statement
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.errors import HybridUnavailableError
from feddiff_crypto.he.errors import EncryptionUnavailableError
from feddiff_crypto.he.seal import load_seal
from feddiff_crypto.mlkem import require_mlkem
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.statement import Statement
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.examples import (
    Described,
    blocks_of,
    describe,
    labelled_examples,
    part_of,
    predicted_labels,
    steps,
)
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import Prepared, prepare
from feddiff_secure.federation.preprocessing import check_preprocessing
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.second_opinion import second_opinion
from feddiff_secure.federation.secure_rounds import RoundsJob, all_tiles, secure_rounds
from feddiff_secure.federation.statement import privacy_statement
from feddiff_secure.federation.training import RoundLog, Trained
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.model.model_file import Model, description
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.transcript.leaves import FeaturesLeaf

SESSION_BYTES = 16
Describer = Callable[[FeatureMap, TileSet, Progress], Described]


@dataclass(slots=True)
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Book the time since the last lap on a stage."""
        now = time.perf_counter()
        self.seconds[stage] = now - self._began
        self._began = now


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """Everything a run directory is written from.

    Attributes:
        config: the configuration. plan: the public numbers. prepared: the data.
        model: the trained model. trained: what the rounds left.
        statement: the privacy statement.
        test_true: labels 1..K of the labelled test pixels. test_predicted: the model's.
        maps: predicted labels of `--data`, one array a scene, 0 where nothing was predicted.
        seconds: by stage.
        bytes_up: bytes an owner sends a round, mean over owners and rounds.
        transcript: the run's log, to be finished when every other file is written.
    """

    config: RunConfig
    plan: Plan
    prepared: Prepared
    model: Model
    trained: Trained
    statement: Statement
    test_true: NDArray[np.int16]
    test_predicted: NDArray[np.int16]
    maps: list[NDArray[np.int16]]
    seconds: dict[str, float]
    bytes_up: float
    transcript: Transcription | None


def simulate(
    config: RunConfig,
    *,
    log: RoundLog,
    progress: Progress,
    on_ready: Callable[[Plan], None],
    ledgers: Path,
    describer: Describer = describe,
    directory: Path | None = None,
    saved: RunCheckpoint | None = None,
) -> RunResult:
    """Run the whole federation in this process, or go on with a run that was interrupted.

    Args:
        config: the configuration.
        log: receives one line a release.
        progress: receives stages and steps.
        on_ready: called with the plan once all input has been accepted, before any release.
        ledgers: folder of the owners' ledgers.
        describer: computes the descriptors of tiles; one that remembers saves time over many runs.
        directory: the run directory, which `on_ready` makes; None for no transcript.
        saved: the checkpoint in that directory, to go on from; None for a new run.

    Raises:
        UsageError, DataError: input that cannot be run; nothing was released.
        BudgetError: a ledger has no room for the plan; nothing was released.
        VerificationError: a ledger was reset or restored from an older copy.
        ProtocolAbortedError: a round could not be completed.
        ResumeRefusedError: the interrupted run cannot go on.
    """
    clock = Clock()
    check_available(config)
    prepared = prepare(config)
    features = FeatureMap.public(prepared.dataset.layout, tile=prepared.tile, seed=config.seed)
    check_preprocessing(config, prepared.dataset.layout, features.networks)
    check_labelled(prepared)
    clock.lap("data")
    plan = _plan(config, prepared, features) if saved is None else saved.plan
    if saved is not None:
        assert directory is not None  # where the checkpoint came from
        ResumeFolder(directory).check_data(all_tiles(prepared))
    on_ready(plan)
    clock.lap("calibrate")
    described, tested = _describe(features, prepared, progress, describer)
    clock.lap("features")

    job = RoundsJob(
        config=config,
        plan=plan,
        prepared=prepared,
        public=_public(features, prepared),
        examples=_examples(features, described),
        ledgers=ledgers,
        directory=directory,
        saved=saved,
    )
    rounds = secure_rounds(job, log=log, progress=progress)
    trained = rounds.trained
    clock.lap("rounds")
    model = Model(features, trained.weights, prepared.dataset.classes)
    test_true, test_predicted = _test(model, tested.test)
    maps = _maps(model, tested.mapped)
    clock.lap("evaluate")
    statement = privacy_statement(
        config,
        plan,
        trained.events,
        tile=prepared.tile,
        support=prepared.dataset.layout.support,
        priors=features.provenance,
        lifetime_epsilon=rounds.lifetime_epsilon,
        alignment=prepared.alignment,
        second_opinion=second_opinion,
    )
    clock.lap("account")
    return RunResult(
        config=config,
        plan=plan,
        prepared=prepared,
        model=model,
        trained=trained,
        statement=statement,
        test_true=test_true,
        test_predicted=test_predicted,
        maps=maps,
        seconds=clock.seconds,
        bytes_up=rounds.bytes_up,
        transcript=rounds.transcript,
    )


def _plan(config: RunConfig, prepared: Prepared, features: FeatureMap) -> Plan:
    return make_plan(
        config,
        session=SecureRandom().random_bytes(SESSION_BYTES),
        owners=prepared.names,
        tile=prepared.tile,
        classes=len(prepared.dataset.classes),
        features=sum(features.widths.values()),
        hsi_features=features.widths.get("hsi"),
        blocks=blocks_of(features, config),
    )


def _public(features: FeatureMap, prepared: Prepared) -> FeaturesLeaf:
    """What the log says of the features before anything is released."""
    return FeaturesLeaf(
        model=description(features, prepared.dataset.classes),
        support=prepared.dataset.layout.support,
        networks=tuple(features.provenance),
        alignment=prepared.alignment,
    )


def check_available(config: RunConfig) -> None:
    """Refuse, before any data is read, a mode that this machine cannot run.

    Raises:
        UsageError: hybrid key agreement or encryption on a machine without it.
    """
    check_key_agreement(config.key_agreement)
    check_aggregation(config.aggregation)


def check_key_agreement(key_agreement: str) -> None:
    """Refuse, before any data is read, a key agreement that this machine lacks.

    Raises:
        UsageError: hybrid without ML-KEM.
    """
    if key_agreement != "hybrid":
        return
    try:
        require_mlkem()
    except HybridUnavailableError as error:
        raise UsageError(
            f"key_agreement hybrid cannot run here: {error}",
            "run with --key-agreement x25519, or use a newer release of the package cryptography",
        ) from error


def check_aggregation(aggregation: str) -> None:
    """Refuse, before any data is read, a mode that this machine cannot run.

    Raises:
        UsageError: encryption on a machine without it.
    """
    if aggregation != "encrypted":
        return
    try:
        load_seal()
    except EncryptionUnavailableError as error:
        raise UsageError(
            f"aggregation encrypted cannot run here: {error}",
            "use --aggregation masked, or a Linux x86-64 machine with TenSEAL installed",
        ) from error


def check_labelled(prepared: Prepared) -> None:
    """Refuse data that cannot test a model.

    Raises:
        UsageError: no labelled test tile.
    """
    if len(prepared.test.labelled_units()) == 0:
        raise UsageError(
            "the test part holds no labelled tile", "give more labelled regions, or --test PATH"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Evaluated:
    """What the trained model is applied to.

    Attributes:
        test: the tiles that the metrics are computed on.
        mapped: the tiles that the maps are painted from.
    """

    test: Described
    mapped: list[Described]


def _describe(
    features: FeatureMap, prepared: Prepared, progress: Progress, describer: Describer
) -> tuple[list[Described], _Evaluated]:
    """Descriptors of the owners' tiles, and of what is evaluated.

    In split the ground is described once, with both modalities, and each owner takes its part.
    """
    whole = prepared.owners if prepared.ground is None else [prepared.ground]
    parts = [*whole, prepared.test]
    progress.stage("features", sum(steps(tiles) for tiles in parts))
    *trained, test = [describer(features, tiles, progress) for tiles in parts]
    owners = trained
    if prepared.ground is not None:
        owners = [part_of(trained[0], tiles) for tiles in prepared.owners]
    return owners, _Evaluated(test, [*trained, test] if prepared.test_is_part else trained)


def _examples(features: FeatureMap, described: Sequence[Described]) -> list[TileExamples]:
    return [labelled_examples(features, part) for part in described]


def _test(model: Model, described: Described) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """True and predicted labels of the labelled test pixels."""
    predicted = predicted_labels(model.features, model.weights, described)
    true = [block.label for block in described.tiles]
    flat_true = np.concatenate([part.ravel() for part in true])
    flat_predicted = np.concatenate([part.ravel() for part in predicted])
    labelled = flat_true > 0
    return flat_true[labelled], flat_predicted[labelled]


def _maps(model: Model, described: list[Described]) -> list[NDArray[np.int16]]:
    """Predicted labels put back where their pixels came from."""
    painted: list[NDArray[np.int16]] | None = None
    for part in described:
        values = predicted_labels(model.features, model.weights, part)
        maps = part.tiles.paint(values, np.int16(0))
        painted = (
            maps
            if painted is None
            else [np.where(new > 0, new, old) for new, old in zip(maps, painted, strict=True)]
        )
    assert painted is not None
    return painted
