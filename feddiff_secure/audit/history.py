"""Step 2: one log, whose every checkpoint was signed by its keeper and cosigned by the owners."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto.tlog.log import MAX_LOG_BYTES, Log, parse_leaf, parse_log
from feddiff_crypto.tlog.note import Note
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import require
from feddiff_secure.federation.releases import Course
from feddiff_secure.transcript.checkpoints import MAX_BYTES, parse_checkpoints
from feddiff_secure.transcript.files import CHECKPOINTS, LEAVES, read_bytes
from feddiff_secure.transcript.leaves import (
    AbortLeaf,
    EndLeaf,
    FeaturesLeaf,
    Leaf,
    ManifestLeaf,
    PrivacyLeaf,
    RoundLeaf,
    RunLeaf,
    read_leaf,
)


@dataclass(frozen=True, slots=True)
class History:
    """A run's log, read.

    Attributes:
        log: its leaves and tree. notes: its checkpoints.
        features, privacy, end, manifest: the leaves that there is one of.
        attempts: leaves of releases, given-up ones included, in order.
        least_cosigners: cosignatures of the checkpoint that has the fewest.
    """

    log: Log
    notes: tuple[Note, ...]
    features: FeaturesLeaf
    attempts: tuple[RoundLeaf | AbortLeaf, ...]
    privacy: PrivacyLeaf
    end: EndLeaf
    manifest: ManifestLeaf
    least_cosigners: int

    @property
    def rounds(self) -> tuple[RoundLeaf, ...]:
        """The completed releases, in order."""
        return tuple(leaf for leaf in self.attempts if isinstance(leaf, RoundLeaf))


def read_history(directory: Path, run: Run) -> History:
    """The log of a run directory, if it is one finished history that the owners witnessed.

    1. Every leaf is one of the vocabulary, and they come in the order of a finished run.
    2. The releases are those of the plan, in its order, each attempt once; where attempts were
       lost, as many as the public rule leaves (`Course`).
    3. There is a checkpoint after the features, after every release and at the end, and no other.
    4. Each is the log's state at its size, signed by the keeper and cosigned by more than half of
       owners and colluders, with no signature of an unknown key. So all of them are states of one
       log: consistency of any two follows from the leaves themselves.

    Raises:
        CryptoError, VerificationError, StepFailedError: the first thing that does not hold.
    """
    log = parse_log(read_bytes(directory / LEAVES, MAX_LOG_BYTES))
    leaves = [read_leaf(parse_leaf(data, f"leaf {index}")) for index, data in enumerate(log.leaves)]
    require(len(leaves) >= 5, f"{len(leaves)} leaves: the run did not finish")
    head, features, *attempts, privacy, end, manifest = leaves  # 1
    require(isinstance(manifest, ManifestLeaf), "no manifest at the end: the run did not finish")
    assert isinstance(manifest, ManifestLeaf)
    if not (
        isinstance(head, RunLeaf)
        and isinstance(features, FeaturesLeaf)
        and isinstance(privacy, PrivacyLeaf)
        and isinstance(end, EndLeaf)
    ):
        kinds = [leaf.KIND for leaf in (head, features, privacy, end)]
        require(False, f"leaves out of order: {kinds}")
    assert isinstance(features, FeaturesLeaf)
    assert isinstance(privacy, PrivacyLeaf)
    assert isinstance(end, EndLeaf)
    made = _attempts(run, attempts)  # 2
    notes = parse_checkpoints(read_bytes(directory / CHECKPOINTS, MAX_BYTES))
    least = _check_notes(run, log, leaves, notes)  # 3, 4
    return History(log, notes, features, made, privacy, end, manifest, least)


def _attempts(run: Run, leaves: list[Leaf]) -> tuple[RoundLeaf | AbortLeaf, ...]:
    course, plan = Course(run.plan), run.plan
    made: list[RoundLeaf | AbortLeaf] = []
    for index, leaf in enumerate(leaves, start=2):
        if not isinstance(leaf, RoundLeaf | AbortLeaf):
            require(False, f"leaf {index} is {leaf.KIND}, not of a release")
            break
        due, key = course.next, leaf.key
        if due is None:
            require(False, f"leaf {index}: more releases than the plan has")
            break
        require(
            key == due and plan.allows(key.phase, key.round_index, key.attempt),
            f"leaf {index} is {key.phase} round {key.round_index} attempt {key.attempt}, expected "
            f"{due.phase} round {due.round_index} attempt {due.attempt}",
        )
        made.append(leaf)
        if isinstance(leaf, RoundLeaf):
            require(
                leaf.mode == plan.aggregation,
                f"leaf {index} is {leaf.mode}, the plan {plan.aggregation}",
            )
            course.complete()
        else:
            course.lose()
    done = course.done.total()
    require(
        course.exhausted is None and course.next is None,
        f"{done} releases, the plan has {sum(map(course.rounds, plan.phases))}",
    )
    return tuple(made)


def _check_notes(run: Run, log: Log, leaves: list[Leaf], notes: tuple[Note, ...]) -> int:
    """The fewest cosignatures that a checkpoint has."""
    ends = [index + 1 for index, leaf in enumerate(leaves) if isinstance(leaf, RoundLeaf)]
    sizes = [2, *ends, log.size]
    require(
        len(notes) == len(sizes), f"{len(notes)} checkpoints, expected {len(sizes)} for this log"
    )
    least = len(run.owners.parties)
    for number, (note, size) in enumerate(zip(notes, sizes, strict=True)):
        believed = run.policy.verify(note)
        state = believed.checkpoint
        require(state.size == size, f"checkpoint {number} is of {state.size} leaves, not {size}")
        require(
            state.root == log.root(size),
            f"checkpoint {number}: the root of {size} leaves is {log.root(size).hex()}, signed was "
            f"{state.root.hex()}",
        )
        if believed.unknown:
            require(False, f"checkpoint {number}: a line of unknown key {believed.unknown[0].name}")
        least = min(least, len(believed.times))
    return least
