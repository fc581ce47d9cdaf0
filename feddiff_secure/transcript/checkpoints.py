"""The file of a run's checkpoints: signed notes one after the other, an empty line between.

A note is a text, an empty line, signature lines; neither part has an empty line inside. So the
file splits at its empty lines in one way, and any reader of signed notes can read each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.note import MAX_NOTE_BYTES, Note, parse_note

MAX_CHECKPOINTS: Final = 20_000
MAX_BYTES: Final = 2**28


def write_checkpoints(notes: Sequence[Note]) -> bytes:
    """The one form of the file."""
    return b"\n".join(note.to_bytes() for note in notes)


def parse_checkpoints(data: bytes) -> tuple[Note, ...]:
    """Read the file; nothing is verified.

    Raises:
        LimitError: larger, or with more notes, than a run may have.
        DecodeError: not such a file; the message names the note by its number.
    """
    if len(data) > MAX_BYTES:
        raise LimitError(f"checkpoints: {len(data)} bytes > limit {MAX_BYTES}")
    parts = data.split(b"\n\n")
    if len(parts) % 2 or not data.endswith(b"\n"):
        raise DecodeError("checkpoints: not notes with an empty line between")
    if len(parts) > 2 * MAX_CHECKPOINTS:
        raise LimitError(f"checkpoints: {len(parts) // 2} > limit {MAX_CHECKPOINTS}")
    notes = []
    for number in range(0, len(parts), 2):
        end = b"" if number + 2 == len(parts) else b"\n"
        whole = parts[number] + b"\n\n" + parts[number + 1] + end
        if len(whole) > MAX_NOTE_BYTES:
            raise LimitError(f"checkpoint {number // 2}: {len(whole)} bytes")
        try:
            note = parse_note(whole)
            parse_checkpoint(note.text)
            notes.append(note)
        except DecodeError as error:
            raise DecodeError(f"checkpoint {number // 2}: {error}") from None
    if write_checkpoints(notes) != data:
        raise DecodeError("checkpoints: not in their one form")
    return tuple(notes)
