"""The owner as a witness of the run's log: what it signs, and what it checks before.

The rules of the machine:

- It follows one log: that of the plan it accepted, under the coordinator's pinned key.
- It signs the first leaf only if that names the pinned identities, the pinned log key and the plan
  it accepted.
- With a checkpoint it is shown the newest leaf and the path to it. If the leaf is of a release,
  what it says of this owner's vector must be what this owner sent.
- Only then the checkpoint goes to `feddiff_crypto.tlog.witness.Witness`, which cosigns nothing that
  does not continue the last one.

A cosignature of such a checkpoint says that the log is one history and that this owner found its
own part in it; it says nothing of the others' parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from feddiff_crypto.errors import ContextMismatchError, DecodeError, RosterError
from feddiff_crypto.keys import IdentityKey, IdentityPublic, Registry
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.errors import ForkError
from feddiff_crypto.tlog.log import parse_leaf
from feddiff_crypto.tlog.merkle import HASH_BYTES, MAX_PATH, leaf_hash
from feddiff_crypto.tlog.merkle_proof import verify_inclusion
from feddiff_crypto.tlog.note import NoteSignature, parse_note
from feddiff_crypto.tlog.witness import Witness, WitnessStore
from feddiff_secure.transcript.digests import RUN_LABEL
from feddiff_secure.transcript.files import COORDINATOR, origin_of
from feddiff_secure.transcript.leaves import AttemptKey, RoundLeaf, RunLeaf, read_leaf


class MemoryStore:
    """A witness's state for as long as its process lives."""

    def __init__(self) -> None:
        self._stored: bytes | None = None

    def read(self) -> bytes | None:
        """The stored bytes."""
        return self._stored

    def update(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace them by what `change` makes of them."""
        self._stored = change(self._stored)


class OwnerWitness:
    """One owner's eyes on one run's log.

    Args:
        name: the owner.
        key: its identity.
        owners: the pinned identities.
        log_key: the pinned identity of the coordinator.
        store: where its last checkpoint is kept.
    """

    def __init__(
        self,
        name: str,
        key: IdentityKey,
        owners: Registry,
        log_key: IdentityPublic,
        store: WitnessStore,
    ) -> None:
        self._name, self._key = name, key
        self._owners, self._log_key, self._store = owners, log_key, store

    def sign_run(self, data: bytes, session: str, plan: bytes) -> bytes:
        """The signature of the first leaf.

        Args:
            data: its bytes, without signatures.
            session: of the accepted plan. plan: its canonical JSON.

        Raises:
            DecodeError: no such leaf.
            RosterError: it names others than are pinned here.
            ContextMismatchError: it is of another plan.
        """
        leaf = RunLeaf.from_json(parse_leaf(data, "run leaf"))
        pinned = {party: key.raw for party, key in self._owners.identities.items()}
        if leaf.owners != pinned or leaf.log_key != self._log_key.raw:
            raise RosterError("the log names other identities than are pinned here")
        if leaf.coordinator != COORDINATOR or leaf.signatures:
            raise DecodeError("run leaf: another coordinator, or signatures before their time")
        if leaf.origin != origin_of(session) or leaf.plan_bytes() != plan:
            raise ContextMismatchError("the log is of another plan than was accepted")
        return self._key.sign(RUN_LABEL, leaf.signed_digest())

    def cosign(
        self,
        *,
        note: bytes,
        proof: bytes,
        leaf: bytes,
        path: bytes,
        session: str,
        sent: Mapping[AttemptKey, bytes],
        time: int,
    ) -> NoteSignature:
        """The cosignature of a checkpoint.

        Args:
            note: the checkpoint. proof: consistency with the last one, 32 bytes a hash.
            leaf: the newest leaf. path: its inclusion, 32 bytes a hash.
            session: of the accepted plan.
            sent: digest of the message with this owner's vector, of each attempt it took part in.
            time: now, in seconds since 1970.

        Raises:
            DecodeError: not made of the right things.
            LogProofError: the leaf is not the log's last.
            ContextMismatchError: the leaf says something else of this owner than what it sent.
            CheckpointRefusedError: as `Witness.cosign`, for one.
        """
        parsed = parse_note(note)
        state = parse_checkpoint(parsed.text)
        if state.size < 1:
            raise ForkError(f"{state.origin}: an empty log")
        verify_inclusion(
            leaf_hash(leaf), state.size - 1, state.size, _hashes(path, "path"), state.root
        )
        said = read_leaf(parse_leaf(leaf, "newest leaf"))
        if isinstance(said, RoundLeaf):
            self._check_own(said, sent)
        return self._follower(session).cosign(parsed, _hashes(proof, "proof"), time)

    def cosigned(self, session: str) -> int:
        """Leaves of a run's log at the last cosignature; 0 before the first.

        Raises:
            DecodeError, LimitError: the stored state is damaged, or another witness's.
        """
        return self._follower(session).last(origin_of(session)).size

    def _follower(self, session: str) -> Witness:
        return Witness(self._name, self._key, {origin_of(session): self._log_key}, self._store)

    def _check_own(self, leaf: RoundLeaf, sent: Mapping[AttemptKey, bytes]) -> None:
        named = leaf.inputs.get(self._name)
        if named is not None and named != sent.get(leaf.key):
            raise ContextMismatchError("the log names another vector than this owner sent")


def _hashes(data: bytes, what: str) -> tuple[bytes, ...]:
    if len(data) % HASH_BYTES or len(data) > 2 * MAX_PATH * HASH_BYTES:
        raise DecodeError(f"{what}: {len(data)} bytes are no hashes of {HASH_BYTES}")
    return tuple(data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES))
