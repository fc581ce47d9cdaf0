"""What an owner does with the run's log: sign its first leaf, cosign it, say its last word."""

from __future__ import annotations

import time

from feddiff_crypto.keys import IdentityKey
from feddiff_privacy.ledger.ledger import AttemptLedger
from feddiff_secure.federation.node import RefusalError, take
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.digests import END_LABEL, end_digest, message_digest
from feddiff_secure.transcript.leaves import AttemptKey
from feddiff_secure.transcript.sent_file import SentStore, SentVector
from feddiff_secure.transcript.witness import OwnerWitness
from feddiff_secure.transport.exchange import Message


class LogView:
    """The log as one owner sees it.

    Args:
        witness: what it signs with; None where it follows no log and refuses to.
        store: where the last attempt outlives the process; None to remember in memory alone.
    """

    def __init__(self, witness: OwnerWitness | None, store: SentStore | None = None) -> None:
        self._witness, self._store = witness, store
        self._sent: dict[AttemptKey, bytes] = {}

    def note_sent(self, plan: Plan, key: AttemptKey, message: Message) -> None:
        """Remember the digest of the message with this owner's vector, to find it in the log."""
        if self._witness is not None:
            self._sent[key] = message_digest(message)
            if self._store is not None:
                self._store.put(SentVector(plan.session, key, self._sent[key]))

    def cosigned(self, plan: Plan) -> int:
        """Leaves of the plan's log at this owner's last cosignature; 0 before the first."""
        return 0 if self._witness is None else self._witness.cosigned(plan.session)

    def sign_run(self, plan: Plan, message: Message) -> Message:
        """The signature of the log's first leaf.

        Raises:
            CryptoError: as `OwnerWitness.sign_run`.
        """
        leaf = take(message, "leaf", bytes)
        return {"signature": self._watching().sign_run(leaf, plan.session, plan.to_json())}

    def cosign(self, plan: Plan, message: Message) -> Message:
        """The cosignature of a checkpoint.

        Raises:
            CryptoError: as `OwnerWitness.cosign`.
        """
        line = self._watching().cosign(
            note=take(message, "checkpoint", bytes),
            proof=take(message, "proof", bytes),
            leaf=take(message, "leaf", bytes),
            path=take(message, "path", bytes),
            session=plan.session,
            sent={**self._stored(plan), **self._sent},
            time=int(time.time()),
        )
        return {"key_id": line.key_id, "signature": line.signature}

    def _stored(self, plan: Plan) -> dict[AttemptKey, bytes]:
        last = None if self._store is None else self._store.get()
        return {} if last is None or last.session != plan.session else {last.key: last.digest}

    def _watching(self) -> OwnerWitness:
        if self._witness is None:
            raise RefusalError("no_witness")
        return self._witness


def last_word(
    plan: Plan, owner: str, key: IdentityKey, ledger: AttemptLedger, model: bytes | None
) -> Message:
    """What an owner says when a run is over: the signed head of its ledger, and its model's hash.

    Args:
        plan: the plan. owner: who speaks. key: its identity.
        ledger: with nothing of the plan reserved any more.
        model: SHA-256 of the trained weights that it holds; None where it holds none.
    """
    head = bytes.fromhex(ledger.head)
    digest = end_digest(plan.session, owner, ledger.size, head, model)
    return {
        "entries": ledger.size,
        "head": head,
        "model": model or b"",
        "signature": key.sign(END_LABEL, digest),
    }
