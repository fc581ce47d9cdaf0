"""A witness: it remembers the last checkpoint of each log and cosigns only what continues it.

- A witness follows the logs it was given, each under one key, and no others.
- It never cosigns a smaller tree than before, another tree of the same size, or a larger tree
  without a proof that it begins with all leaves of the last one.
- The new state is on stable storage before the cosignature exists. A crash between the two loses a
  cosignature; the other order could lose the memory of one.
- Each decision reads the stored state and replaces it in one exclusive step
  (`WitnessStore.update`), so two processes with one store cannot cosign two histories between them.
- Not covered: whoever restores an old copy of the store makes its witness forget. It then counts
  among the colluders that `policy` allows for.

The state is a JSON file in the one form of `canonical_json`: the witness's name and, for each log
in ascending order of its origin, size and root of the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.keys import IdentityKey, IdentityPublic
from feddiff_crypto.rotation import read_hex
from feddiff_crypto.tlog.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from feddiff_crypto.tlog.cosignature import MAX_TIME, cosign
from feddiff_crypto.tlog.errors import (
    ForkError,
    LogProofError,
    RollbackError,
    UnknownOriginError,
)
from feddiff_crypto.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from feddiff_crypto.tlog.merkle_proof import verify_consistency
from feddiff_crypto.tlog.note import Note, NoteSignature, is_key_name

FORMAT: Final = "feddiff-secure witness"
VERSION: Final = 1
MAX_LOGS: Final = 4096
MAX_STATE_BYTES: Final = 2**22


class WitnessStore(Protocol):
    """Where a witness's state lives."""

    def read(self) -> bytes | None:
        """The stored bytes, None before the first update."""
        ...

    def update(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace the stored bytes by what `change` makes of them.

        Nobody else reads or replaces them in between, a reader sees the old bytes or the new ones,
        and the new ones survive a crash once this returns. If `change` raises, nothing is replaced
        and the error goes on to the caller.

        Args:
            change: gets the stored bytes, None before the first update.
        """
        ...


@dataclass(frozen=True, slots=True)
class WitnessState:
    """What a witness remembers.

    Attributes:
        witness: its name.
        last: origin → the last checkpoint that it cosigned.
    """

    witness: str
    last: Mapping[str, Checkpoint]

    def seen(self, origin: str) -> Checkpoint:
        """The last checkpoint of a log; of one never seen, the empty tree that all continue."""
        return self.last.get(origin, Checkpoint(origin, 0, EMPTY_ROOT))

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        logs = [
            {"origin": c.origin, "root": c.root.hex(), "size": c.size}
            for _, c in sorted(self.last.items())
        ]
        return canonical_json(
            {"format": FORMAT, "version": VERSION, "witness": self.witness, "logs": logs}
        )


def parse_witness_state(data: bytes) -> WitnessState:
    """Read a witness's state.

    Raises:
        DecodeError: not the one form of such a file; the message names the field.
        LimitError: larger, or more logs, than there may be.
    """
    content = parse_canonical(data, FORMAT, VERSION, ("witness", "logs"), MAX_STATE_BYTES)
    witness, rows = content["witness"], content["logs"]
    if not isinstance(witness, str) or not is_key_name(witness):
        raise DecodeError("witness.witness: not a key name")
    if not isinstance(rows, list):
        raise DecodeError(f"witness.logs: {type(rows).__name__}, expected list")
    if len(rows) > MAX_LOGS:
        raise LimitError(f"witness.logs: {len(rows)} > limit {MAX_LOGS}")
    last = {c.origin: c for c in (_parse_row(row) for row in rows)}
    state = WitnessState(witness, last)
    if state.to_bytes() != data:  # order and repeated origins
        raise DecodeError("witness: not in its one canonical form")
    return state


class Witness:
    """One witness and the logs it follows.

    Args:
        name: its name in signature lines: an owner's party name.
        key: its identity key.
        logs: origin → the key of that log.
        store: where its state is.

    Raises:
        ValueError: no key name.
    """

    def __init__(
        self,
        name: str,
        key: IdentityKey,
        logs: Mapping[str, IdentityPublic],
        store: WitnessStore,
    ) -> None:
        if not is_key_name(name):
            raise ValueError(f"{name[:64]!a} is no key name")
        self._name, self._key, self._logs, self._store = name, key, dict(logs), store

    def last(self, origin: str) -> Checkpoint:
        """The checkpoint that the next consistency proof must start from.

        Raises:
            UnknownOriginError: a log that it does not follow.
            DecodeError, LimitError: the stored state is damaged, or another witness's.
        """
        self._log_key(origin)
        return self._state(self._store.read()).seen(origin)

    def cosign(self, note: Note, proof: Sequence[bytes], time: int) -> NoteSignature:
        """The cosignature of a checkpoint that continues the last one.

        1. The text is a checkpoint of a log that it follows, signed by that log's key.
        2. It has at least as many leaves as the last one.
        3. `proof` shows that it continues the last one.
        4. It is stored as the last one.
        5. Only then it is cosigned.

        Args:
            note: the log's checkpoint; other signature lines are not looked at.
            proof: the consistency proof from `last(origin)`, empty for a first one or the same one.
            time: now, in seconds since 1970.

        Raises:
            DecodeError: the text is no checkpoint, or the stored state is damaged.
            UnknownOriginError: of a log that it does not follow.
            LogSignatureError: not signed by that log's key.
            RollbackError: a smaller tree than the last one.
            ForkError: a tree that the proof does not show to continue the last one.
            LimitError: it follows more logs than its state may hold.
            ValueError: `time` outside 0..2⁶³ − 1.
        """
        if not 0 <= time <= MAX_TIME:
            raise ValueError(f"time: {time} is not in 0..{MAX_TIME}")
        origin = parse_checkpoint(note.text).origin  # 1
        checkpoint = verify_checkpoint(note, origin, self._log_key(origin))

        def advance(stored: bytes | None) -> bytes:
            state = self._state(stored)
            _check_continues(state.seen(origin), checkpoint, proof)  # 2, 3
            last = {**state.last, origin: checkpoint}
            if len(last) > MAX_LOGS:
                raise LimitError(f"witness {self._name}: more than {MAX_LOGS} logs")
            return WitnessState(self._name, last).to_bytes()

        self._store.update(advance)  # 4
        return cosign(checkpoint, self._name, self._key, time)  # 5

    def _log_key(self, origin: str) -> IdentityPublic:
        if origin not in self._logs:
            raise UnknownOriginError(f"witness {self._name} does not follow the log {origin!r}")
        return self._logs[origin]

    def _state(self, stored: bytes | None) -> WitnessState:
        if stored is None:
            return WitnessState(self._name, {})
        state = parse_witness_state(stored)
        if state.witness != self._name:
            raise DecodeError(f"witness.witness: {state.witness!a}, expected {self._name!a}")
        return state


def _check_continues(last: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    if new.size < last.size:
        raise RollbackError(
            f"{new.origin}: {new.size} leaves, and {last.size} were cosigned before"
        )
    try:
        verify_consistency(last.size, last.root, new.size, new.root, proof)
    except LogProofError as error:
        raise ForkError(
            f"{new.origin}: not shown to continue the last checkpoint: {error}"
        ) from None


def _parse_row(row: Any) -> Checkpoint:
    if not isinstance(row, dict) or row.keys() != {"origin", "root", "size"}:
        raise DecodeError("witness.logs: an entry is not an object of origin, root and size")
    origin, size = row["origin"], row["size"]
    if not isinstance(origin, str) or type(size) is not int:
        raise DecodeError("witness.logs: origin is not text, or size no integer")
    try:
        return Checkpoint(origin, size, read_hex(row, "witness.logs", "root", HASH_BYTES))
    except ValueError as error:
        raise DecodeError(f"witness.logs: {error}") from None
