"""Every message between one owner and the coordinator, from the transcript of a run.

1. The order of messages is the protocol's (`federation/round.py`, `encrypted_round.py`,
   `transcription.py`).
2. A message is listed as recorded where the transcript fixes its content or holds its hash; by its
   form where a later message shows that it passed and its size follows from public numbers.
3. Where an owner fell out of a release, what came after its last message in the log is listed as
   unknown. Nothing is guessed.

Not in a transcript, and not here: the exchange of ground grids before a run in split, predictions,
the question before a release whether an owner is there (`ready`, which carries nothing), what a
transport adds to a message, and refusals, which end a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from feddiff_crypto.encoding import Value, decode
from feddiff_crypto.he.messages import SumSignature
from feddiff_crypto.jcs import jcs
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.messages import ConsistencySignature, SurvivorSet, UnmaskRequest
from feddiff_crypto.tlog.note import Note
from feddiff_secure.audit.history import History
from feddiff_secure.audit.message_forms import MessageForms, empty_vector
from feddiff_secure.audit.passed import Direction, Evidence, Passed, Passing
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import require
from feddiff_secure.transcript.digests import message_digest
from feddiff_secure.transcript.files import ROSTERS, VECTORS, read_bytes
from feddiff_secure.transcript.leaves import AbortLeaf, RoundLeaf
from feddiff_secure.transcript.opened import OpenedMessage
from feddiff_secure.transcript.rosters import MAX_BYTES, parse_rosters
from feddiff_secure.transcript.vectors import VectorsReader

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
Message = dict[str, Value]


def owner_messages(directory: Path, run: Run, history: History, owner: str) -> list[Passed]:
    """The messages of `owner`, in order.

    Args:
        directory: of the run. run, history: what steps 1 and 2 of `verify` read.
        owner: one of the plan's.

    Raises:
        CryptoError, VerificationError, StepFailedError: rosters or opened secrets that cannot be
            read, or are not those of the log.
    """
    return list(_Listing(directory, run, history, owner).messages())


class _Listing:
    def __init__(self, directory: Path, run: Run, history: History, owner: str) -> None:
        self._directory, self._run = directory, run
        self._history, self._owner = history, owner
        self._cosigned = 0  # leaves at the owner's last cosignature

    def messages(self) -> Iterator[Passed]:
        plan, run = self._run.plan, self._run.leaf
        start = Passing(plan)
        yield start.known(RECEIVED, "plan", {"plan": plan.to_json()})
        yield start.known(SENT, "plan", {"accepted": plan.digest()})
        unsigned = replace(run, signatures={})
        yield start.known(RECEIVED, "roster", {"leaf": jcs(unsigned.to_json())})
        signature = run.signatures.get(self._owner)
        yield (
            start.unknown(SENT, "roster")
            if signature is None
            else start.known(SENT, "roster", {"signature": signature})
        )
        notes = iter(self._history.notes)
        yield from self._witnessing(2, next(notes))
        rosters = iter(self._rosters())
        for index, leaf in enumerate(self._history.attempts, start=2):
            if isinstance(leaf, AbortLeaf):
                yield from self._given_up(leaf)
                continue
            yield from (
                self._plain(leaf) if leaf.mode == "plain" else self._release(leaf, next(rosters))
            )
            yield from self._witnessing(index + 1, next(notes))
        yield from self._ending()
        yield from self._witnessing(self._history.log.size, next(notes))

    def _rosters(self) -> tuple[Roster, ...]:
        """The rosters of the completed releases, each the one that its leaf names."""
        if self._run.plan.aggregation == "plain":
            return ()
        rosters = parse_rosters(read_bytes(self._directory / ROSTERS, MAX_BYTES))
        rounds = self._history.rounds
        require(len(rosters) == len(rounds), f"{len(rosters)} rosters for {len(rounds)} releases")
        for roster, leaf in zip(rosters, rounds, strict=True):
            require(roster.digest() == leaf.roster, f"{ROSTERS} has another roster than the log")
        return rosters

    def _asked(self, leaf: RoundLeaf | AbortLeaf) -> Message:
        """The coordinator's first message of a release."""
        key, plan = leaf.key, self._run.plan
        fields: Message = {"phase": key.phase, "round": key.round_index, "attempt": key.attempt}
        if plan.aggregation != "encrypted":
            fields["weights"] = np.zeros(plan.query_shape(key.phase))
        return fields

    def _ready(self, leaf: RoundLeaf) -> Message:
        return {"ready": True, **({"model": leaf.model} if leaf.mode == "encrypted" else {})}

    def _release(self, leaf: RoundLeaf, roster: Roster) -> Iterator[Passed]:
        """A release of masked or encrypted mode, as far as the log has this owner in it."""
        at, owner = Passing(self._run.plan, leaf.key), self._owner
        context, signatures = leaf.context, leaf.signatures
        assert context is not None
        assert signatures is not None
        if owner not in roster.parties:
            yield from (at.unknown(RECEIVED, "train"), at.unknown(SENT, "train"))
            return
        dropped = self._dropped(leaf, roster)
        forms = MessageForms(
            self._run.plan, leaf.key.phase, owner, roster, leaf.survivors, dropped or ()
        )
        # A model is fixed by its hash in the leaf; the message around it has one form.
        yield at.known(RECEIVED, "train", self._asked(leaf), hashed=leaf.mode == "encrypted")
        yield at.known(SENT, "train", self._ready(leaf))
        yield at.known(RECEIVED, "advertise", {})
        yield at.known(SENT, "advertise", roster.by_party()[owner].to_message())
        yield at.known(RECEIVED, "share", roster.to_message())
        if owner not in {*leaf.survivors, *(dropped or ())}:
            yield at.unknown(SENT, "share")
            return
        yield at.known(SENT, "share", forms.shares(), hashed=False)
        yield (
            at.passed(RECEIVED, "mask")
            if dropped is None
            else at.known(RECEIVED, "mask", forms.delivered(), hashed=False)
        )
        if owner not in leaf.inputs:
            yield at.unknown(SENT, "mask")
            return
        yield at.hashed("mask", forms.vector(), leaf.inputs[owner])
        survivors = SurvivorSet(context, leaf.survivors)
        if leaf.mode == "encrypted":
            yield at.known(RECEIVED, "consistency", forms.aggregate(), hashed=False)
        else:
            yield at.known(RECEIVED, "consistency", survivors.to_message())
        if owner not in signatures:
            yield at.unknown(SENT, "consistency")
            return
        if leaf.mode == "encrypted":
            yield at.known(SENT, "consistency", forms.encrypted_consistency(), hashed=False)
        else:
            signed = ConsistencySignature(context, owner, signatures[owner])
            yield at.known(SENT, "consistency", signed.to_message())
        request = UnmaskRequest(context, leaf.survivors, dict(sorted(signatures.items())))
        yield at.known(RECEIVED, "unmask", request.to_message())
        # Nothing says whose replies came; an owner that is asked answers.
        yield (
            at.passed(SENT, "unmask")
            if dropped is None
            else at.known(SENT, "unmask", forms.unmask_reply(), hashed=False)
        )
        if leaf.mode == "encrypted":
            yield from self._decryption(at, leaf, forms, known=dropped is not None)

    def _decryption(
        self, at: Passing, leaf: RoundLeaf, forms: MessageForms, *, known: bool
    ) -> Iterator[Passed]:
        yield (
            at.known(
                RECEIVED, "decrypt", forms.decrypt_request(leaf.signatures or {}), hashed=False
            )
            if known
            else at.passed(RECEIVED, "decrypt")
        )
        signature = (leaf.sum_signatures or {}).get(self._owner)
        if signature is None:
            yield at.unknown(SENT, "decrypt")
            return
        assert leaf.context is not None
        signed = SumSignature(leaf.context, self._owner, leaf.aggregate, signature)
        yield at.known(SENT, "decrypt", signed.to_message())

    def _dropped(self, leaf: RoundLeaf, roster: Roster) -> tuple[str, ...] | None:
        """Who dropped out after sharing; None where the log does not say."""
        if set(roster.parties) == set(leaf.survivors):
            return ()
        if leaf.mode != "masked" or not (self._directory / VECTORS).exists():
            return None
        with VectorsReader(self._directory / VECTORS) as vectors:
            message = decode(vectors.opened(leaf.key))
        require(message_digest(message) == leaf.opened, f"{VECTORS} has other secrets than the log")
        return tuple(sorted(OpenedMessage.read(message).mask_keys))

    def _plain(self, leaf: RoundLeaf) -> Iterator[Passed]:
        at = Passing(self._run.plan, leaf.key)
        if self._owner not in leaf.inputs:
            yield from (at.unknown(RECEIVED, "train"), at.unknown(SENT, "train"))
            return
        yield at.known(RECEIVED, "train", self._asked(leaf), hashed=False)
        yield at.known(SENT, "train", self._ready(leaf))
        yield at.known(RECEIVED, "plain", {})
        vector: Message = {"vector": empty_vector(self._run.plan, leaf.key.phase)}
        yield at.hashed("plain", vector, leaf.inputs[self._owner])

    def _given_up(self, leaf: AbortLeaf) -> Iterator[Passed]:
        """Of a release that was given up the log has the vectors that had arrived."""
        plan = self._run.plan
        at = Passing(plan, leaf.key)
        yield from (at.unknown(RECEIVED, "train"), at.unknown(SENT, "train"))
        if self._owner not in leaf.inputs:
            return
        phase = "plain" if plan.aggregation == "plain" else "mask"
        made = at.passed(SENT, phase)
        yield replace(made, sha256=leaf.inputs[self._owner], evidence=Evidence.RECORDED)

    def _witnessing(self, size: int, note: Note) -> Iterator[Passed]:
        """The messages around the checkpoint of `size` leaves."""
        at, log = Passing(self._run.plan, leaves=size), self._history.log
        asked: Message = {
            "checkpoint": Note(note.text, note.signatures[:1]).to_bytes(),
            "proof": b"".join(log.consistency_proof(self._cosigned, size)),
            "leaf": log.leaves[size - 1],
            "path": b"".join(log.inclusion_proof(size - 1, size)),
        }
        yield at.known(RECEIVED, "witness", asked)
        line = next((line for line in note.signatures[1:] if line.name == self._owner), None)
        if line is None:
            yield at.unknown(SENT, "witness")
            return
        self._cosigned = size
        yield at.known(SENT, "witness", {"key_id": line.key_id, "signature": line.signature})

    def _ending(self) -> Iterator[Passed]:
        at, word = Passing(self._run.plan), self._history.end.owners.get(self._owner)
        yield at.known(RECEIVED, "end", {})
        if word is None:
            yield at.unknown(SENT, "end")
            return
        said: Message = {
            "entries": word.entries,
            "head": word.head,
            "model": word.model or b"",
            "signature": word.signature,
        }
        yield at.known(SENT, "end", said)
