"""The coordinator keeps the run's log and has every owner witness it, round by round.

    run leaf, signed by all owners → features → a leaf a release → privacy events → owners' last
    words → manifest

After the features, after every release and at the end the coordinator signs a checkpoint and asks
the owners to cosign it. An owner that refuses ends the run; fewer cosignatures than rule out a
second history end it too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError
from feddiff_crypto.jcs import jcs
from feddiff_crypto.keys import SIGNATURE_BYTES, IdentityKey, Registry
from feddiff_crypto.tlog.checkpoint import Checkpoint
from feddiff_crypto.tlog.note import Note, NoteSignature
from feddiff_crypto.tlog.policy import LogPolicy
from feddiff_privacy.events import Event
from feddiff_secure.errors import DataError, ProtocolAbortedError, VerificationError
from feddiff_secure.federation.disclosure import libraries
from feddiff_secure.federation.phases import ask
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.attestation import run_statement
from feddiff_secure.transcript.digests import END_LABEL, RUN_LABEL, end_digest
from feddiff_secure.transcript.files import (
    ATTESTATION,
    COORDINATOR,
    RESUME,
    manifest,
    origin_of,
    sync_and_rename,
)
from feddiff_secure.transcript.growing_file import FileState
from feddiff_secure.transcript.leaves import (
    HASH_BYTES,
    AbortLeaf,
    AttemptKey,
    EndLeaf,
    FeaturesLeaf,
    LastWord,
    Leaf,
    ManifestLeaf,
    PrivacyLeaf,
    RoundLeaf,
    RunLeaf,
)
from feddiff_secure.transcript.record import AttemptRecord
from feddiff_secure.transcript.store import TranscriptStore
from feddiff_secure.transport.exchange import Exchange, Message

_HINT = "an owner's node refuses a log that rewrites itself; nothing further was released"


INTERRUPTED = "Interrupted"
"""Reason of the abort leaf of an attempt that a stopped process left behind."""


@dataclass(frozen=True, slots=True)
class LogKeeper:
    """The coordinator as the keeper of a log.

    Attributes:
        directory: the run directory.
        key: its identity: the log's key.
        features: the log's second leaf.
        custodians: identities of custodians; None where there are none.
    """

    directory: Path
    key: IdentityKey
    features: FeaturesLeaf
    custodians: Registry | None = None


class Transcription:
    """One run's log while it grows.

    Args:
        keeper: who keeps it, and where.
        plan: the plan.
        owners: the owners' pinned identities.
        exchange: the transport to them.
        kept: states of the transcript's files, to go on from; None for a new log.

    Raises:
        DataError: `kept` is not what lies there.
    """

    def __init__(
        self,
        keeper: LogKeeper,
        plan: Plan,
        owners: Registry,
        exchange: Exchange,
        kept: Mapping[str, FileState] | None = None,
    ) -> None:
        self._keeper, self._plan, self._exchange, self._owners = keeper, plan, exchange, owners
        self._store = TranscriptStore(keeper.directory, kept)
        self.save: Callable[[], None] = lambda: None
        """Called when the log has a leaf that a later process must know of, before it is shown."""
        self._origin = origin_of(plan.session)
        self._policy = LogPolicy(self._origin, keeper.key.public, owners, plan.colluders)
        self._cosigned = dict.fromkeys(plan.owners, 0)  # leaves at each owner's last cosignature
        leaves = self._store.leaves
        self._run = leaves[0] if leaves and isinstance(leaves[0], RunLeaf) else None

    @property
    def states(self) -> dict[str, FileState]:
        """The transcript's files as they are."""
        return self._store.states

    @property
    def leaves(self) -> list[Leaf]:
        """The leaves of the log so far."""
        return self._store.leaves

    def rejoin(self, cosigned: Mapping[str, int]) -> None:
        """Go on with a log: the last leaf is witnessed now if it was not before.

        Args:
            cosigned: leaves at each owner's last cosignature, as it says.

        Raises:
            VerificationError: an owner has cosigned more than the log has.
            ProtocolAbortedError: an owner refuses the checkpoint, or too few sign it.
        """
        size = self._store.log.size
        for owner, leaves in cosigned.items():
            if not 0 <= leaves <= size:
                raise VerificationError(
                    f"{owner} has cosigned {leaves} leaves of a log of {size}: it is an older copy",
                    "go on from the newest copy, or start anew",
                )
        self._cosigned.update(cosigned)
        noted = bool(self._store.notes) and self._store.is_noted(self._store.notes[-1])
        witnessed = FeaturesLeaf | RoundLeaf | ManifestLeaf
        if not noted and isinstance(self._store.leaves[-1], witnessed):
            self._witness()

    def interrupted(self, key: AttemptKey) -> None:
        """Take down an attempt that was charged and of which nothing else is known any more."""
        self._store.append(AbortLeaf(key, {}, INTERRUPTED))
        self.save()

    def begin(self) -> None:
        """Have the owners sign the first leaf, add the features, and the first checkpoint.

        Raises:
            ProtocolAbortedError: an owner refuses, or too few sign.
        """
        custodians = self._keeper.custodians
        run = RunLeaf(
            origin=self._origin,
            coordinator=COORDINATOR,
            log_key=self._keeper.key.public.raw,
            owners={name: key.raw for name, key in self._owners.identities.items()},
            custodians={}
            if custodians is None
            else {name: key.raw for name, key in custodians.identities.items()},
            plan=json.loads(self._plan.to_json()),
            signatures={},
        )
        shown: Message = {"leaf": jcs(run.to_json())}
        replies = ask(self._exchange, "roster", dict.fromkeys(self._plan.owners, shown), _signature)
        with _as_abort("the log's first leaf"):
            self._plan.policy.require("signatures of the run leaf", len(replies))
            for party, signature in replies.items():
                self._owners.verify(party, signature, RUN_LABEL, run.signed_digest())
        self._run = replace(run, signatures=replies)
        self._store.append(self._run)
        self._append(self._keeper.features)

    @contextmanager
    def attempt(
        self, phase: str, round_index: int, attempt: int, model: bytes | None
    ) -> Iterator[AttemptRecord]:
        """Take down an attempt: its leaf is added and witnessed when the block is left.

        Raises:
            ProtocolAbortedError: from inside (an abort leaf is added), or an owner refuses the
                checkpoint.
        """
        record = AttemptRecord(self._store, AttemptKey(phase, round_index, attempt), model)
        try:
            yield record
        except ProtocolAbortedError as error:
            # No checkpoint of its own: the owners may be gone, and the next one covers it.
            self._store.append(record.abort_leaf(type(error.__cause__ or error).__name__))
            self.save()
            raise
        self._append(record.leaf())

    def end(self, events: Sequence[Event]) -> None:
        """Add the privacy events and the owners' last words, unless they are there already.

        Raises:
            ProtocolAbortedError: an owner refuses, or its word is not signed.
        """
        if any(isinstance(leaf, EndLeaf) for leaf in self._store.leaves):
            return
        self._store.append(PrivacyLeaf(tuple(event.to_json() for event in events)))
        asked: dict[str, Message] = {owner: {} for owner in self._plan.owners}
        words = ask(self._exchange, "end", asked, _last_word)
        with _as_abort("an owner's last word"):
            for party, word in words.items():
                digest = end_digest(self._plan.session, party, word.entries, word.head, word.model)
                self._owners.verify(party, word.signature, END_LABEL, digest)
        self._store.append(EndLeaf(words))
        self.save()
        self._store.gather_vectors()

    def finish(self) -> None:
        """Add the manifest of the directory, have it witnessed, and attest to it all.

        Nothing may be written into the directory afterwards. What an unfinished run goes on from is
        removed.

        Raises:
            ProtocolAbortedError: an owner refuses the last checkpoint.
            DataError: the log has its manifest from before, and a file is not as listed.
        """
        assert self._run is not None
        directory = self._keeper.directory
        if not self.is_complete:
            self._store.gather_vectors()  # a process before this one may not have come to it
            self._append(ManifestLeaf(manifest(directory, unfinished=True)))
        elif self._store.leaves[-1] != ManifestLeaf(manifest(directory, unfinished=True)):
            raise DataError(
                f"{directory}: a file is not as the log lists it", "start the run again"
            )
        statement = run_statement(
            directory,
            self._run,
            self._checkpoint(),
            config_digest=self._plan.config_digest,
            libraries=libraries(),
        )
        envelope = statement.sign({COORDINATOR: self._keeper.key})
        draft = directory / RESUME / "attestation"
        draft.write_bytes(envelope.to_bytes())
        sync_and_rename(draft, directory / ATTESTATION)
        shutil.rmtree(directory / RESUME)

    @property
    def is_complete(self) -> bool:
        """Whether the log has its last leaf, which lists the run's files."""
        return any(isinstance(leaf, ManifestLeaf) for leaf in self._store.leaves[-1:])

    def _append(self, leaf: Leaf) -> None:
        """Add a leaf and have the log witnessed up to it."""
        self._store.append(leaf)
        self.save()
        self._witness()

    def _witness(self) -> None:
        """Sign the log as it is, and have the owners cosign it."""
        note = self._checkpoint().sign(self._keeper.key)
        log = self._store.log
        index = log.size - 1
        path = b"".join(log.inclusion_proof(index))
        messages: dict[str, Message] = {
            owner: {
                "checkpoint": note.to_bytes(),
                "proof": b"".join(log.consistency_proof(self._cosigned[owner])),
                "leaf": log.leaves[index],
                "path": path,
            }
            for owner in self._plan.owners
        }
        replies = ask(self._exchange, "witness", messages, _cosignature)
        for owner, (key_id, signature) in sorted(replies.items()):
            note = note.with_signature(NoteSignature(owner, key_id, signature))
            self._cosigned[owner] = log.size
        self._keep(note)

    def _keep(self, note: Note) -> None:
        with _as_abort("the cosignatures of a checkpoint"):
            believed = self._policy.verify(note)
            if believed.unknown:
                raise CryptoError(f"a cosignature of an unknown key: {believed.unknown[0].name}")
        self._store.put_note(note)

    def _checkpoint(self) -> Checkpoint:
        return self._store.log.checkpoint(self._origin)


@contextmanager
def recorded(
    transcript: Transcription | None, index: tuple[str, int, int], model: bytes | None
) -> Iterator[AttemptRecord | None]:
    """`Transcription.attempt`, or nothing where no log is kept."""
    if transcript is None:
        yield None
        return
    with transcript.attempt(*index, model) as record:
        yield record


@contextmanager
def _as_abort(what: str) -> Iterator[None]:
    try:
        yield
    except CryptoError as error:
        raise ProtocolAbortedError(f"{what}: {type(error).__name__}: {error}", _HINT) from error


def _signature(message: Mapping[str, Value]) -> bytes:
    value = message.get("signature")
    if set(message) != {"signature"} or not isinstance(value, bytes):
        raise ProtocolAbortedError("a reply to roster is no signature", _HINT)
    if len(value) != SIGNATURE_BYTES:
        raise ProtocolAbortedError(f"a signature of {len(value)} bytes", _HINT)
    return value


def _cosignature(message: Mapping[str, Value]) -> tuple[bytes, bytes]:
    key_id, signature = message.get("key_id"), message.get("signature")
    if set(message) != {"key_id", "signature"}:
        raise ProtocolAbortedError("a reply to witness is no cosignature", _HINT)
    if not isinstance(key_id, bytes) or not isinstance(signature, bytes) or len(key_id) != 4:
        raise ProtocolAbortedError("a reply to witness is no cosignature", _HINT)
    if len(signature) != 8 + SIGNATURE_BYTES:
        raise ProtocolAbortedError(f"a cosignature of {len(signature)} bytes", _HINT)
    return key_id, signature


def _last_word(message: Mapping[str, Value]) -> LastWord:
    if set(message) != {"entries", "head", "model", "signature"}:
        raise ProtocolAbortedError("a reply to end has other fields", _HINT)
    entries, head = message["entries"], message["head"]
    model, signature = message["model"], message["signature"]
    if type(entries) is not int or not isinstance(head, bytes) or len(head) != HASH_BYTES:
        raise ProtocolAbortedError("a reply to end names no ledger head", _HINT)
    if not isinstance(model, bytes) or len(model) not in {0, HASH_BYTES}:
        raise ProtocolAbortedError("a reply to end names no model", _HINT)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_BYTES:
        raise ProtocolAbortedError("a reply to end has no signature", _HINT)
    return LastWord(entries, head, model or None, signature)
