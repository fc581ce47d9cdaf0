"""The part of a run that owners are charged for: from an accepted plan to the last sum.

Where the run has a directory it can be interrupted and gone on with (`resume_folder`), in masked
and plain mode. In encrypted mode the owners hold the model, in memory alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto.keys import IdentityKey
from feddiff_privacy.clipping import TileExamples
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import DataError
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.ledgers import (
    has_spent,
    largest_epsilon,
    run_ledgers,
    witness_stores,
)
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prepare import Prepared
from feddiff_secure.federation.prior_phase import AdaptableTiles
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.federation.simulated import Federation
from feddiff_secure.federation.training import RoundLog, Trained
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transcript.leaves import FeaturesLeaf


@dataclass(frozen=True, slots=True, eq=False)
class RoundsJob:
    """What the rounds are made from.

    Attributes:
        config: the configuration. plan: the public numbers. prepared: the data.
        public: what the log says of the features.
        examples: the owners' labelled tiles, in roster order.
        ledgers: folder of the owners' ledgers.
        directory: of the run; None for no transcript.
        saved: the checkpoint to go on from; None for a new run.
        adaptable: all the owners' tiles, where the plan adapts a branch; else empty.
    """

    config: RunConfig
    plan: Plan
    prepared: Prepared
    public: FeaturesLeaf
    examples: Sequence[TileExamples]
    ledgers: Path
    directory: Path | None
    saved: RunCheckpoint | None
    adaptable: Sequence[AdaptableTiles] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """What the rounds leave.

    Attributes:
        trained: the model and what was released.
        transcript: the run's log, to be finished; None where none is kept.
        lifetime_epsilon: of an owner's ledger, the largest over owners.
        bytes_up: bytes an owner sends a release, mean over owners and releases.
    """

    trained: Trained
    transcript: Transcription | None
    lifetime_epsilon: float
    bytes_up: float


def secure_rounds(job: RoundsJob, *, log: RoundLog, progress: Progress) -> Rounds:
    """Run the plan, or go on with it.

    Raises:
        FeddiffError: as `simulate`.
    """
    plan, prepared = job.plan, job.prepared
    folder = resume_folder(job.directory, plan)
    held = dict(zip(prepared.names, prepared.owners, strict=True))
    resumed = job.saved is not None
    digest = None if folder is None else plan.digest()
    with run_ledgers(job.config, held, job.ledgers, plan=digest, resumed=resumed) as books:
        try:
            return _rounds(job, books, folder, log, progress)
        except BaseException:
            if folder is not None and not resumed and not has_spent(books, plan.digest()):
                folder.forget()  # nothing was released: there is nothing to go on with
            raise


def resume_folder(directory: Path | None, plan: Plan) -> ResumeFolder | None:
    """Where a run keeps what it goes on from; None where it cannot go on."""
    if directory is None or plan.aggregation == "encrypted":
        return None
    return ResumeFolder(directory)


def all_tiles(prepared: Prepared) -> dict[str, TileSet]:
    """Every tile that a run is made from or tested on, by whose it is."""
    owners = zip(prepared.names, prepared.owners, strict=True)
    return {**{f"owner {name}": tiles for name, tiles in owners}, "test": prepared.test}


def _rounds(
    job: RoundsJob,
    books: Mapping[str, Ledger],
    folder: ResumeFolder | None,
    log: RoundLog,
    progress: Progress,
) -> Rounds:
    plan = job.plan
    keys: dict[str, IdentityKey] | None = None
    if folder is not None:
        if job.saved is None:
            folder.begin(plan, all_tiles(job.prepared))
        keys = folder.identities(plan)
    kept_by = None if folder is None else folder.witness
    federation = Federation.simulated(
        plan,
        books,
        job.examples,
        witness_stores(job.config, job.ledgers, kept_by),
        keys=keys,
        sent_store=(lambda _owner: None) if folder is None else folder.sent,
        adaptable=job.adaptable,
    )
    transcript = _transcript(job, federation)
    state = (
        RunState.begun(plan)
        if job.saved is None or transcript is None
        else RunState.restored(job.saved, transcript.leaves)
    )
    state.sent = lambda: sum(federation.exchange.traffic.up[name] for name in plan.owners)
    if folder is not None and transcript is not None:
        files, checkpoint = transcript, folder.checkpoint
        transcript.save = lambda: checkpoint.write(state.checkpoint(files.states))
    progress.stage("secure rounds", plan.rounds)
    trained = federation.train(
        plan,
        check_count=lambda tiles: job.config.check_delta(tiles, "tiles, released privately"),
        log=log,
        progress=progress,
        transcript=transcript,
        state=state,
    )
    sent, made = state.bytes_up, state.course.done.total()
    if plan.aggregation == "encrypted":
        sent, made = state.sent(), sum(plan.phases.values())
    return Rounds(trained, transcript, largest_epsilon(books), sent / len(plan.owners) / made)


def _transcript(job: RoundsJob, federation: Federation) -> Transcription | None:
    if job.directory is None:
        return None
    kept = None if job.saved is None else job.saved.files
    transcript = federation.transcription(job.plan, job.directory, job.public, kept)
    features = transcript.leaves[1:2]
    if features and features[0].to_json() != job.public.to_json():
        raise DataError(
            f"{job.directory}: the features are not those that the run began with",
            "go on with the version of the package that began it, or start a new run",
        )
    return transcript
