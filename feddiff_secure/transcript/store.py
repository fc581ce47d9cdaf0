"""The transcript's files while a run writes them: leaves, checkpoints, rosters, vectors.

Leaves and checkpoints are appended as they come, a leaf before any checkpoint that names it, so
what an owner has cosigned is in the file. A run that breaks off leaves a transcript without a
manifest, which no verifier takes for a finished one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from feddiff_crypto.encoding import Value
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.tlog.log import Log
from feddiff_crypto.tlog.note import Note
from feddiff_secure.transcript.digests import message_bytes
from feddiff_secure.transcript.files import CHECKPOINTS, FOLDER, LEAVES, ROSTERS, VECTORS
from feddiff_secure.transcript.leaves import Leaf
from feddiff_secure.transcript.rosters import roster_line
from feddiff_secure.transcript.vectors import VectorsWriter


class TranscriptStore:
    """Writes one run's transcript.

    Args:
        directory: the run directory; it exists and has no transcript.
    """

    def __init__(self, directory: Path) -> None:
        (directory / FOLDER).mkdir()
        self.directory = directory
        self.log = Log()
        self.notes: list[Note] = []
        self.vectors = VectorsWriter(directory / VECTORS)

    def append(self, leaf: Leaf) -> int:
        """Add a leaf; its index."""
        index = self.log.append(leaf.to_json())
        self._extend(LEAVES, self.log.leaves[index] + b"\n")
        return index

    def put_note(self, note: Note) -> None:
        """Keep a checkpoint with its cosignatures."""
        self._extend(CHECKPOINTS, (b"\n" if self.notes else b"") + note.to_bytes())
        self.notes.append(note)

    def put_roster(self, roster: Roster) -> None:
        """Keep the roster of a release."""
        self._extend(ROSTERS, roster_line(roster))

    @staticmethod
    def message(message: Mapping[str, Value]) -> bytes:
        """A message as it is stored."""
        return message_bytes(message)

    def close(self) -> None:
        """Finish the files that stay open."""
        self.vectors.close()

    def _extend(self, name: str, data: bytes) -> None:
        with (self.directory / name).open("ab") as file:
            file.write(data)
