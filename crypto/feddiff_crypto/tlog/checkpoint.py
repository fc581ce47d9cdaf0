"""C2SP tlog-checkpoint: a log's size and root, signed by the log's key.

    <origin>
    <size>
    <root hash, base64>

An origin here is 1 to 255 visible ASCII characters other than `+`, and the log's key has the
origin as its name. Extension lines are refused: nothing in this project writes them, and witnesses
say nothing about them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from feddiff_crypto.base64_form import read_base64, write_base64
from feddiff_crypto.domains import Domain, domain_of
from feddiff_crypto.errors import DecodeError, SignatureInvalidError
from feddiff_crypto.keys import IdentityKey, IdentityPublic
from feddiff_crypto.tlog.errors import LogSignatureError, UnknownOriginError
from feddiff_crypto.tlog.merkle import EMPTY_ROOT, MAX_SIZE, check_hash
from feddiff_crypto.tlog.note import Note, NoteSignature, SignatureType, key_id

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def is_origin(origin: str) -> bool:
    """Whether a checkpoint may begin with `origin`: see `domains`."""
    if not origin.isascii() or "\n" in origin:
        return False
    return domain_of(origin.encode() + b"\n") is Domain.CHECKPOINT


def read_decimal(text: str, what: str, most: int = MAX_SIZE) -> int:
    """Read a number in its one ASCII form, 0..`most`.

    Raises:
        DecodeError: anything else, leading zeros and signs included.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > most:
        raise DecodeError(f"{what}: {text[:40]!a} is no decimal in 0..{most}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log.

    Args:
        origin: which log.
        size: its leaves, 0..2⁶³ − 1.
        root: the Merkle root over them, 32 bytes.

    Raises:
        ValueError: one of them outside its limits.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not is_origin(self.origin):
            raise ValueError(f"{self.origin[:64]!a} is no origin of visible ASCII without '+'")
        if not 0 <= self.size <= MAX_SIZE:
            raise ValueError(f"size: {self.size} is not in 0..{MAX_SIZE}")
        check_hash("root", self.root)
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise ValueError("a root of no leaves that is not the empty tree's")

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{write_base64(self.root)}\n"

    def sign(self, key: IdentityKey) -> Note:
        """The checkpoint as a note with the log's signature."""
        made = key.sign_message(Domain.CHECKPOINT, self.text.encode())
        name = key_id(self.origin, SignatureType.ED25519, key.public)
        return Note(self.text, (NoteSignature(self.origin, name, made),))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a note as a checkpoint.

    Raises:
        DecodeError: not three such lines.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise DecodeError(f"checkpoint: {len(lines) - 1} lines, expected origin, size and root")
    size = read_decimal(lines[1], "checkpoint: size")
    root = read_base64(lines[2], "checkpoint: root")
    try:
        return Checkpoint(lines[0], size, root)
    except ValueError as error:
        raise DecodeError(f"checkpoint: {error}") from None


def verify_checkpoint(note: Note, origin: str, log_key: IdentityPublic) -> Checkpoint:
    """The checkpoint in `note` if it is of `origin` and signed by that log's key.

    Other lines are not looked at.

    Raises:
        DecodeError: the text is no checkpoint.
        UnknownOriginError: it is of another log.
        LogSignatureError: no line of the log's key, or one that is not valid.
    """
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise UnknownOriginError(f"a checkpoint of {checkpoint.origin!r}, expected {origin!r}")
    expected = (origin, key_id(origin, SignatureType.ED25519, log_key))
    for signature in note.signatures:
        if signature.key != expected:
            continue
        try:
            log_key.verify_message(signature.signature, Domain.CHECKPOINT, note.text.encode())
        except SignatureInvalidError as error:
            raise LogSignatureError(f"{origin}: {error}") from None
        return checkpoint
    raise LogSignatureError(f"{origin}: no signature of the log's key {log_key.fingerprint}")
