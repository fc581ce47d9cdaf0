"""The transcript's files while a run writes them: leaves, checkpoints, rosters, vectors.

Leaves and checkpoints are appended as they come, a leaf before any checkpoint that names it, so
what an owner has cosigned is in the file. A run that breaks off leaves a transcript without a
manifest, which no verifier takes for a finished one. The vectors of a release are a file of their
own, in the folder that an unfinished run has for what it goes on from, until the run is finished:
HDF5 that is killed while it writes can lose what it wrote before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import CryptoError
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.tlog.checkpoint import parse_checkpoint
from feddiff_crypto.tlog.log import Log, parse_leaf, parse_log
from feddiff_crypto.tlog.note import MAX_NOTE_BYTES, Note
from feddiff_secure.errors import DataError
from feddiff_secure.transcript.checkpoints import parse_checkpoints
from feddiff_secure.transcript.digests import message_bytes
from feddiff_secure.transcript.files import (
    CHECKPOINTS,
    FOLDER,
    LEAVES,
    RESUME,
    ROSTERS,
    VECTORS,
    make_resume_folder,
)
from feddiff_secure.transcript.growing_file import EMPTY, FileState, GrowingFile
from feddiff_secure.transcript.leaves import AttemptKey, Leaf, RoundLeaf, read_leaf
from feddiff_secure.transcript.rosters import roster_line
from feddiff_secure.transcript.vectors import VectorsWriter

GROWING = (LEAVES, CHECKPOINTS, ROSTERS)
"""The files whose states make up the state of a transcript."""
_DAMAGED = "the directory was changed since the run stopped; nothing in it goes on from here"


class TranscriptStore:
    """Writes one run's transcript.

    Args:
        directory: the run directory; it exists.
        kept: states of the files in `GROWING` to go on from; None for a new transcript.

    Raises:
        DataError: files that are not as they were, or no transcript.
    """

    def __init__(self, directory: Path, kept: Mapping[str, FileState] | None = None) -> None:
        (directory / FOLDER).mkdir(exist_ok=kept is not None)
        make_resume_folder(directory)
        self.directory = directory
        self.log = Log()
        self.notes: list[Note] = []
        self.vectors = VectorsWriter(directory / RESUME / "vectors")
        self._files = {name: GrowingFile(directory / name) for name in GROWING}
        if kept is not None:
            self._go_on(kept)

    @property
    def states(self) -> dict[str, FileState]:
        """The files in `GROWING` as they are."""
        return {name: file.state for name, file in self._files.items()}

    @property
    def leaves(self) -> list[Leaf]:
        """The leaves of the log, in order."""
        return [read_leaf(parse_leaf(data, "leaf")) for data in self.log.leaves]

    def append(self, leaf: Leaf) -> int:
        """Add a leaf; its index."""
        index = self.log.append(leaf.to_json())
        self._files[LEAVES].append(self.log.leaves[index] + b"\n")
        return index

    def put_note(self, note: Note) -> None:
        """Keep a checkpoint with its cosignatures."""
        self._files[CHECKPOINTS].append((b"\n" if self.notes else b"") + note.to_bytes())
        self.notes.append(note)

    def put_roster(self, roster: Roster) -> None:
        """Keep the roster of a release."""
        self._files[ROSTERS].append(roster_line(roster))

    @staticmethod
    def message(message: Mapping[str, Value]) -> bytes:
        """A message as it is stored."""
        return message_bytes(message)

    def gather_vectors(self) -> None:
        """Make the one file of all releases' vectors, if it is not there."""
        path = self.directory / VECTORS
        if not path.exists():  # it gets its name when it is whole
            self.vectors.gather(_masked(self.leaves), path)

    def _go_on(self, kept: Mapping[str, FileState]) -> None:
        last = self._last_note(kept.get(CHECKPOINTS, EMPTY).size)
        data = {}
        for name in GROWING:
            path = self.directory / name
            self._files[name], data[name] = GrowingFile.cut(path, kept.get(name, EMPTY))
        try:
            self.log = parse_log(data[LEAVES])
            notes = data[CHECKPOINTS]
            self.notes = list(parse_checkpoints(notes)) if notes else []
            leaves = self.leaves
        except CryptoError as error:
            raise DataError(f"{self.directory / FOLDER}: {error}", _DAMAGED) from error
        self.vectors.keep(_masked(leaves))
        if last is not None and self.is_noted(last):
            self.put_note(last)

    def is_noted(self, note: Note) -> bool:
        """Whether a checkpoint is of the log as it is now."""
        state = parse_checkpoint(note.text)
        return (state.size, state.root) == (self.log.size, self.log.root())

    def _last_note(self, start: int) -> Note | None:
        """The one whole note in the file of checkpoints from `start` on, if that is what is there.

        It was taken in after the last state was recorded, and the owners' memory may have moved on
        since, so that they could not sign the same again.
        """
        try:
            with (self.directory / CHECKPOINTS).open("rb") as file:
                file.seek(start)
                tail = file.read(MAX_NOTE_BYTES + 2)
            (note,) = parse_checkpoints(tail.removeprefix(b"\n"))
        except (OSError, CryptoError, ValueError):  # none, cut off in the middle, or more
            return None
        return note


def _masked(leaves: Sequence[Leaf]) -> list[AttemptKey]:
    """The releases whose vectors are kept."""
    rounds = (leaf for leaf in leaves if isinstance(leaf, RoundLeaf))
    return [leaf.key for leaf in rounds if leaf.mode == "masked"]
