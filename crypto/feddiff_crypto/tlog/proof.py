"""C2SP tlog-proof, version 1: one text file that shows, offline, that a log has a leaf.

    c2sp.org/tlog-proof@v1
    extra <base64 of the leaf>
    index <its place, from 0>
    <base64 of one hash a line, the leaf's sibling first>

    <the checkpoint with its signatures and cosignatures>

The specification leaves `extra` to the application and does not authenticate it. Here it must be
there and hold the leaf's bytes, which the path authenticates: the file then needs no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from feddiff_crypto.base64_form import read_base64, write_base64
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.tlog.checkpoint import parse_checkpoint, read_decimal
from feddiff_crypto.tlog.log import Log, parse_leaf
from feddiff_crypto.tlog.merkle import HASH_BYTES, MAX_PATH, leaf_hash
from feddiff_crypto.tlog.merkle_proof import verify_inclusion
from feddiff_crypto.tlog.note import Note, parse_note
from feddiff_crypto.tlog.policy import CosignedCheckpoint, LogPolicy

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 2**21
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """What a proof shows.

    Attributes:
        leaf: the JSON object.
        index: its place in the log, from 0.
        cosigned: the checkpoint it is in, and who cosigned it when.
    """

    leaf: dict[str, Any]
    index: int
    cosigned: CosignedCheckpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf's proof; nothing is verified until `verify`.

    Attributes:
        leaf: its bytes.
        index: its place in the log, from 0.
        path: the inclusion proof, the leaf's sibling first, at most 63 hashes of 32 bytes.
        note: the checkpoint with its signatures.
    """

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    note: Note

    def verify(self, policy: LogPolicy) -> ProvenLeaf:
        """What this proof shows under `policy`.

        1. The checkpoint is signed by the log and cosigned by a quorum.
        2. The leaf leads to the checkpoint's root.
        3. The leaf is a JSON object in its one form.

        Raises:
            DecodeError: no checkpoint, or no such leaf.
            CheckpointRefusedError: the policy is not satisfied; its subclass says how.
            LogProofError: the leaf is not in the log at this index.
        """
        cosigned = policy.verify(self.note)  # 1
        state = cosigned.checkpoint
        verify_inclusion(leaf_hash(self.leaf), self.index, state.size, self.path, state.root)  # 2
        return ProvenLeaf(parse_leaf(self.leaf, "proof: leaf"), self.index, cosigned)  # 3

    def to_bytes(self) -> bytes:
        """The one form of the file."""
        lines = [
            HEADER,
            _EXTRA + write_base64(self.leaf),
            f"{_INDEX}{self.index}",
            *(write_base64(value) for value in self.path),
        ]
        return "\n".join(lines).encode() + b"\n\n" + self.note.to_bytes()


def make_proof(log: Log, index: int, note: Note) -> Proof:
    """The proof of leaf `index` of `log` towards the checkpoint in `note`.

    Raises:
        DecodeError: the note is no checkpoint.
        ValueError: the checkpoint is not this log's, or has no leaf `index`.
    """
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.size > log.size or log.root(checkpoint.size) != checkpoint.root:
        raise ValueError(f"the checkpoint of {checkpoint.size} leaves is not one of this log")
    path = log.inclusion_proof(index, checkpoint.size)
    return Proof(log.leaves[index], index, path, note)


def parse_proof(data: bytes) -> Proof:
    """Read the bytes of a proof; nothing is verified.

    Raises:
        LimitError: larger, or with a longer path, than a proof may be.
        DecodeError: not the one form of a proof; the message names the line.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise LimitError(f"proof: {len(data)} bytes > limit {MAX_PROOF_BYTES}")
    head, blank, note = data.partition(b"\n\n")
    if not blank or not head.isascii():
        raise DecodeError("proof: no ASCII head and empty line before the checkpoint")
    header, *lines = head.decode().split("\n")
    if header != HEADER:
        raise DecodeError(f"proof: its first line is not {HEADER}")
    if len(lines) < 2 or not lines[0].startswith(_EXTRA) or not lines[1].startswith(_INDEX):
        raise DecodeError("proof: its second and third line are not extra and index")
    if len(lines) > 2 + MAX_PATH:
        raise LimitError(f"proof: {len(lines) - 2} hashes > limit {MAX_PATH}")
    leaf = read_base64(lines[0].removeprefix(_EXTRA), "proof: extra")
    parse_leaf(leaf, "proof: leaf")
    index = read_decimal(lines[1].removeprefix(_INDEX), "proof: index")
    path = tuple(_parse_hash(line) for line in lines[2:])
    parsed = parse_note(note)
    parse_checkpoint(parsed.text)
    return Proof(leaf, index, path, parsed)


def _parse_hash(line: str) -> bytes:
    value = read_base64(line, "proof: hash")
    if len(value) != HASH_BYTES:
        raise DecodeError(f"proof: a hash of {len(value)} bytes, expected {HASH_BYTES}")
    return value
