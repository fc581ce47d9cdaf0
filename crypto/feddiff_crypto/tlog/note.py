"""C2SP signed-note: a text, an empty line, and one line a signature.

    <text, its last line ended by a newline>

    — <key name> <base64 of key ID and signature>

This module reads and writes the form and verifies nothing; `checkpoint` and `cosignature` do. It is
stricter than the specification in three points, so that a note has one form only: base64 has its
padding and no stray bits, no two lines name the same key, and names have at most 255 bytes. Lines
of unknown keys are kept, as the specification demands.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from feddiff_crypto.base64_form import read_base64, write_base64
from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.keys import IdentityPublic

MAX_NOTE_BYTES: Final = 2**20
MAX_SIGNATURES: Final = 128  # the log's and those of 100 owners; the specification asks for 16
MAX_NAME_BYTES: Final = 255
MAX_SIGNATURE_BYTES: Final = 8192  # post-quantum signatures of other witnesses have about 5 kB
KEY_ID_BYTES: Final = 4
_LINE: Final = re.compile("\N{EM DASH} ([^ ]+) ([^ ]+)")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")


class SignatureType(IntEnum):
    """What a key ID says about the algorithm; the numbers are those of signed-note."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


def key_id(name: str, kind: SignatureType, public: IdentityPublic) -> bytes:
    """The 4 bytes by which a line says which key made it: a hint, never a proof."""
    material = name.encode() + b"\n" + bytes([kind]) + public.raw
    return hashlib.sha256(material).digest()[:KEY_ID_BYTES]


def is_key_name(name: str) -> bool:
    """Whether `name` is 1 to 255 bytes of UTF-8 without spaces, controls and plus signs."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False
    odd = "+" in name or _CONTROL.search(name) or any(c.isspace() for c in name)
    return 1 <= length <= MAX_NAME_BYTES and not odd


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line.

    Args:
        name: the key's name.
        key_id: its 4 bytes.
        signature: 1 to 8192 bytes, whose meaning the key's type fixes.

    Raises:
        ValueError: one of them outside its limits.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise ValueError(f"{self.name[:64]!a} is no key name")
        if len(self.key_id) != KEY_ID_BYTES:
            raise ValueError(f"a key ID of {len(self.key_id)} bytes, expected {KEY_ID_BYTES}")
        if not 1 <= len(self.signature) <= MAX_SIGNATURE_BYTES:
            raise ValueError(f"a signature of {len(self.signature)} bytes")

    @property
    def key(self) -> tuple[str, bytes]:
        """What the signed-note specification identifies a key by."""
        return self.name, self.key_id

    @property
    def line(self) -> str:
        """The line, with its newline."""
        blob = write_base64(self.key_id + self.signature)
        return f"\N{EM DASH} {self.name} {blob}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signatures, none of them verified.

    Args:
        text: ends with a newline; no ASCII control character but newlines.
        signatures: at most 128, no two of one key; their order is kept.

    Raises:
        ValueError: one of them outside its limits.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith("\n") or _CONTROL.search(self.text):
            raise ValueError("the text does not end with a newline, or has control characters")
        self.text.encode()  # UnicodeEncodeError, a ValueError, for what is no Unicode
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise ValueError(f"{len(self.signatures)} signatures, not in 1..{MAX_SIGNATURES}")
        if len({signature.key for signature in self.signatures}) != len(self.signatures):
            raise ValueError("two signature lines of one key")

    def with_signature(self, signature: NoteSignature) -> Note:
        """The note with one more line, in place of an older one of the same key."""
        kept = (s for s in self.signatures if s.key != signature.key)
        return replace(self, signatures=(*kept, signature))

    def to_bytes(self) -> bytes:
        """The one form."""
        return (self.text + "\n" + "".join(s.line for s in self.signatures)).encode()


def parse_note(data: bytes) -> Note:
    """Read a signed note; nothing is verified.

    Raises:
        LimitError: longer than 1 MiB.
        DecodeError: not a signed note; the message says what is wrong.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise LimitError(f"note: {len(data)} bytes > limit {MAX_NOTE_BYTES}")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise DecodeError("note: not UTF-8") from None
    head, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise DecodeError("note: no empty line followed by signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise LimitError(f"note: {len(lines)} signature lines > limit {MAX_SIGNATURES}")
    try:
        return Note(head + "\n", tuple(_parse_line(line) for line in lines))
    except ValueError as error:
        raise DecodeError(f"note: {error}") from None


def _parse_line(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise DecodeError(f"note: {line[:40]!a} is no signature line")
    raw = read_base64(match[2], "note: signature")
    return NoteSignature(match[1], raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])
