"""A file that only grows, and how it is cut back to a state that was recorded of it.

Every append is synced before it returns. Whoever goes on after a crash cuts off what was appended
after the last recorded state; everything before must be as it was.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from feddiff_secure.errors import DataError

_HINT = "the directory was changed since the run stopped; nothing in it goes on from here"


@dataclass(frozen=True, slots=True)
class FileState:
    """A file at one moment.

    Attributes:
        size: its bytes. sha256: their digest.
    """

    size: int
    sha256: bytes


EMPTY = FileState(0, hashlib.sha256().digest())


class GrowingFile:
    """A new file; use `cut` for one that is there.

    Args:
        path: the file; made at the first append.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._digest = hashlib.sha256()

    @classmethod
    def cut(cls, path: Path, state: FileState) -> tuple[GrowingFile, bytes]:
        """The file as it was at `state`, and its bytes then; what came later is cut off.

        Raises:
            DataError: it is shorter than it was, or changed, or cannot be read.
        """
        grown, kept = cls(path), b""
        try:
            if state.size:
                with path.open("rb+") as file:
                    kept = file.read(state.size)
                    file.truncate(state.size)
                    os.fsync(file.fileno())
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}", _HINT) from None
        if len(kept) != state.size:
            raise DataError(f"{path}: {len(kept)} bytes, there were {state.size}", _HINT)
        grown._digest.update(kept)
        grown._size = len(kept)
        if grown.state != state:
            raise DataError(f"{path}: its first {state.size} bytes were changed", _HINT)
        return grown, kept

    @property
    def state(self) -> FileState:
        """The file now."""
        return FileState(self._size, self._digest.digest())

    def append(self, data: bytes) -> None:
        """Add bytes, on disk before this returns."""
        with self._path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(data)
        self._digest.update(data)
