"""The coordinator's path of a run whose owners are elsewhere: from the job's files to a model.

    config and layout → features, plan → every owner prepares → secure rounds → model, statement

No data is read here. The path of a run in one process is `federation/run.py`; both use the same
plan, rounds, log and statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.statement import Statement
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.deployment.remote_federation import RemoteFederation
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.examples import blocks_of
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.preprocessing import check_preprocessing
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.run import (
    SESSION_BYTES,
    Clock,
    check_available,
    default_features,
)
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.federation.second_opinion import second_opinion
from feddiff_secure.federation.statement import privacy_statement
from feddiff_secure.federation.training import RoundLog, Trained
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.model.model_file import Model, description
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transcript.leaves import FeaturesLeaf

PATIENCE: Final = 120.0  # seconds in which owners' job processes have to be there


@dataclass(frozen=True, slots=True, eq=False)
class GoingOn:
    """What lets a run go on in another process.

    Attributes:
        folder: of its directory. tiles: all tiles of the run, by whose or what for.
        saved: the checkpoint of an earlier process; None for a new run.
    """

    folder: ResumeFolder
    tiles: Mapping[str, TileSet]
    saved: RunCheckpoint | None

    def begin(self, plan: Plan, key: IdentityKey) -> None:
        """Keep the coordinator's identity and the first checkpoint."""
        self.folder.begin(plan, self.tiles, {COORDINATOR: key})


@dataclass(frozen=True, slots=True, eq=False)
class Coordinated:
    """What the rounds left.

    Attributes:
        plan: the public numbers. model: the trained model. trained: what was released.
        statement: the privacy statement. bytes_up: of an owner and a release, mean over owners.
        transcript: the run's log, to be finished when every other file is written.
    """

    plan: Plan
    model: Model
    trained: Trained
    statement: Statement
    bytes_up: float
    transcript: Transcription


def coordinate(
    job: JobFiles,
    federation: RemoteFederation,
    *,
    directory: Path,
    on_ready: Callable[[Plan], None],
    log: RoundLog,
    progress: Progress,
    deployment: str,
    clock: Clock,
    going_on: GoingOn | None = None,
) -> Coordinated:
    """Run a job over a transport.

    Args:
        job: the job's public files.
        federation: its owners.
        directory: the run directory, which `on_ready` makes.
        on_ready: called with the plan before an owner is asked for anything.
        log: receives one line a release.
        progress: receives stages and steps.
        deployment: one of `DEPLOYMENTS`.
        clock: receives the seconds of each stage.
        going_on: what a later process goes on from, and an earlier one left; None keeps nothing.

    Raises:
        UsageError: a configuration that cannot be run; nothing was released.
        BudgetError: an owner's ledger has no room for the plan; nothing was released.
        ProtocolAbortedError: an owner is not there or refused, or a round could not be completed.
    """
    config = job.config
    check_available(config)
    features = default_features(config, job.layout, job.tile)
    check_preprocessing(config, job.layout, features.networks)
    saved = None if going_on is None else going_on.saved
    if saved is not None:
        plan = saved.plan
    else:
        plan = _plan(job, federation, features)
        on_ready(plan)
        if going_on is not None:
            going_on.begin(plan, federation.coordinator)
    clock.lap("calibrate")
    progress.stage("owners prepare", 1)
    federation.prepare(job, PATIENCE)
    progress.advance()
    clock.lap("features")
    kept = None if saved is None else saved.files
    transcript = federation.transcription(plan, directory, _public(features, job), kept)
    state = RunState.begun(plan) if saved is None else RunState.restored(saved, transcript.leaves)
    state.sent = federation.bytes_up
    if going_on is not None:
        checkpoint = going_on.folder.checkpoint
        transcript.save = lambda: checkpoint.write(state.checkpoint(transcript.states))
    progress.stage("secure rounds", plan.rounds)
    trained = federation.train(
        plan,
        check_count=lambda tiles: config.check_delta(tiles, "tiles, released privately"),
        log=log,
        progress=progress,
        transcript=transcript,
        state=state,
    )
    clock.lap("rounds")
    statement = privacy_statement(
        config,
        plan,
        trained.events,
        tile=job.tile,
        support=job.layout.support,
        priors=features.provenance,
        lifetime_epsilon=federation.spent(),
        second_opinion=second_opinion,
        deployment=deployment,
    )
    clock.lap("account")
    return Coordinated(
        plan=plan,
        model=Model(features, trained.weights, job.classes),
        trained=trained,
        statement=statement,
        bytes_up=state.bytes_up / len(plan.owners) / state.course.done.total(),
        transcript=transcript,
    )


def _plan(job: JobFiles, federation: RemoteFederation, features: FeatureMap) -> Plan:
    return make_plan(
        job.config,
        session=SecureRandom().random_bytes(SESSION_BYTES),
        owners=federation.registry.parties,
        tile=job.tile,
        classes=len(job.classes),
        features=sum(features.widths.values()),
        hsi_features=features.widths.get("hsi"),
        blocks=blocks_of(features, job.config),
    )


def _public(features: FeatureMap, job: JobFiles) -> FeaturesLeaf:
    """What the log says of the features before anything is released."""
    return FeaturesLeaf(
        model=description(features, job.classes),
        support=job.layout.support,
        networks=tuple(features.provenance),
        alignment=None,
    )
