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
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.evaluation import (
    describe_parts,
    painted,
    tested_labels,
)
from feddiff_secure.federation.examples import (
    Described,
    Describer,
    adapter_of,
    blocks_of,
    describe,
    labelled_examples,
    with_diffusion,
)
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import Prepared, Splitter, prepare
from feddiff_secure.federation.preprocessing import check_preprocessing
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.second_opinion import second_opinion
from feddiff_secure.federation.secure_rounds import RoundsJob, all_tiles, secure_rounds
from feddiff_secure.federation.statement import privacy_statement
from feddiff_secure.federation.training import RoundLog, Trained
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.model.model_file import Model, description
from feddiff_secure.model.prior import chosen_priors
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.transcript.leaves import FeaturesLeaf

SESSION_BYTES = 16
FeatureMaker = Callable[[RunConfig, SensorLayout, int], FeatureMap]


def default_features(config: RunConfig, layout: SensorLayout, tile: int) -> FeatureMap:
    """The ψ of every run that is not a comparison.

    Raises:
        DataError: a prior that is missing or damaged, or `dp` for data without HSI.
    """
    priors = chosen_priors(config.prior)
    return FeatureMap.public(
        layout,
        tile=tile,
        seed=config.seed,
        spectra=config.spectra,
        priors=priors,
        adapts=config.adapts,
    )


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
    feature_map: FeatureMaker = default_features,
    directory: Path | None = None,
    splitter: Splitter | None = None,
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
        feature_map: makes ψ from the configuration, a layout and the tile's side; others than the
            default are for comparison.
        directory: the run directory, which `on_ready` makes; None for no transcript.
        splitter: sets the test part aside; None for the default of `prepare`.
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
    prepared = prepare(config, splitter)
    features = feature_map(config, prepared.dataset.layout, prepared.tile)
    check_preprocessing(config, prepared.dataset.layout, features.networks)
    check_labelled(prepared)
    clock.lap("data")
    plan = _plan(config, prepared, features) if saved is None else saved.plan
    if saved is not None:
        assert directory is not None  # where the checkpoint came from
        ResumeFolder(directory).check_data(all_tiles(prepared))
    on_ready(plan)
    clock.lap("calibrate")
    described, tested = describe_parts(features, prepared, progress, describer)
    clock.lap("features")

    adaptable = [AdaptableTiles(features, part) for part in described] if config.adapts else []
    job = RoundsJob(
        config=config,
        plan=plan,
        prepared=prepared,
        public=_public(features, prepared),
        examples=_examples(features, described),
        adaptable=adaptable,
        ledgers=ledgers,
        directory=directory,
        saved=saved,
    )
    rounds = secure_rounds(job, log=log, progress=progress)
    trained = rounds.trained
    clock.lap("rounds")
    if trained.adapter is not None:
        features = features.with_adapter(trained.adapter)
        parts = [owner.described(trained.adapter) for owner in adaptable]
        tested = tested.again(with_diffusion(features, tested.test), parts)
    model = Model(features, trained.weights, prepared.dataset.classes)
    test_true, test_predicted = tested_labels(model, tested.test)
    maps = painted(model, tested.mapped)
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
        adapter=adapter_of(features),
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


def _examples(features: FeatureMap, described: Sequence[Described]) -> list[TileExamples]:
    return [labelled_examples(features, part) for part in described]
