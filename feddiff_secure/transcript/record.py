"""The record of one attempt while it is under way: what arrived, and at the end its leaf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from feddiff_crypto.encoding import Value
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.coordinator import EncryptedSum
from feddiff_crypto.he.messages import sum_digest
from feddiff_crypto.masking.coordinator import RoundSum
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_secure.transcript.digests import message_digest
from feddiff_secure.transcript.leaves import HASH_BYTES, AbortLeaf, AttemptKey, RoundLeaf
from feddiff_secure.transcript.opened import OpenedMessage
from feddiff_secure.transcript.store import TranscriptStore


class _Message(Protocol):
    def to_message(self) -> dict[str, Value]: ...


class AttemptRecord:
    """Takes down one attempt.

    Args:
        store: where vectors, rosters and opened secrets go.
        key: which attempt.
        model: SHA-256 of the model that owners are shown; in encrypted mode it becomes known with
            the owners' first replies, by `on_model`.
    """

    def __init__(self, store: TranscriptStore, key: AttemptKey, model: bytes | None) -> None:
        self.key = key
        self._store = store
        self._model = model
        self._inputs: dict[str, bytes] = {}
        self._leaf: RoundLeaf | None = None

    def on_model(self, model: bytes) -> None:
        """The model on which the owners computed."""
        self._model = model

    def on_inputs(self, inputs: Mapping[str, _Message]) -> None:
        """The messages with the owners' vectors, party → message."""
        self._inputs = {p: message_digest(m.to_message()) for p, m in inputs.items()}

    def on_masked(self, inputs: Mapping[str, MaskedInput]) -> None:
        """The same in masked mode, where the vectors themselves are kept."""
        self.on_inputs(inputs)
        self._store.vectors.put_vectors(self.key, {p: m.vector for p, m in inputs.items()})

    def on_plain(self, vectors: Mapping[str, RingArray], total: RingArray) -> None:
        """The vectors of a plain release and their sum: of both only hashes are kept."""
        self._inputs = {p: message_digest({"vector": v}) for p, v in vectors.items()}
        self._leaf = RoundLeaf(
            key=self.key,
            mode="plain",
            model=self._known_model(),
            inputs=self._inputs,
            aggregate=sum_digest(total, bytes(HASH_BYTES)),
        )

    def on_sum(self, done: RoundSum) -> None:
        """The end of a masked release."""
        opened = OpenedMessage.of(done)
        self._store.vectors.put_opened(self.key, self._store.message(opened))
        self._close(done, opened, "masked", sum_digest(done.total, done.context), {})

    def on_encrypted_sum(self, done: EncryptedSum) -> None:
        """The end of an encrypted release: opened secrets are hashed, and not kept."""
        opened = OpenedMessage.of(done.opened)
        self._close(done.opened, opened, "encrypted", done.digest, done.signatures)

    def leaf(self) -> RoundLeaf:
        """The leaf of a completed attempt.

        Raises:
            RuntimeError: it is not completed.
        """
        if self._leaf is None:
            raise RuntimeError(f"{self.key} was not completed")
        return self._leaf

    def abort_leaf(self, reason: str) -> AbortLeaf:
        """The leaf of an attempt that was given up."""
        return AbortLeaf(self.key, self._inputs, reason)

    def _close(
        self,
        done: RoundSum,
        opened: Mapping[str, Value],
        mode: str,
        aggregate: bytes,
        sum_signatures: Mapping[str, bytes],
    ) -> None:
        self._store.put_roster(done.roster)
        self._leaf = RoundLeaf(
            key=self.key,
            mode=mode,
            model=self._known_model(),
            inputs=self._inputs,
            aggregate=aggregate,
            context=done.context,
            roster=done.roster.digest(),
            signatures=done.signatures,
            opened=message_digest(opened),
            sum_signatures=sum_signatures,
        )

    def _known_model(self) -> bytes:
        if self._model is None:
            raise RuntimeError(f"{self.key}: no owner named its model")
        return self._model
