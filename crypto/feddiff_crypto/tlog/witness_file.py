"""A witness's state on disk: locked while it is read and replaced, synced before it counts.

The state is a trust anchor, so a file that others can write is refused, and so is a link. The lock
is another file beside it, because the state's own file is replaced as a whole; `flock` ends with
the process that holds it, so a crash leaves nothing locked. POSIX only, and local disks only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto import protected_file
from feddiff_crypto.errors import FileRefusedError
from feddiff_crypto.tlog.witness import MAX_STATE_BYTES, parse_witness_state


@dataclass(frozen=True, slots=True)
class WitnessFile:
    """A `WitnessStore` in one file, mode 0600.

    Args:
        path: the file; its folder must exist. `path` with `.lock` added is the lock.
    """

    path: Path

    def read(self) -> bytes | None:
        """The file's bytes, None if there is no file.

        Raises:
            FileRefusedError: a link, another user's, writable by others, or too large.
        """
        if not os.path.lexists(self.path):
            return None
        forbidden = protected_file.WRITABLE_BY_OTHERS
        return protected_file.read_protected(
            self.path, forbidden_mode=forbidden, max_bytes=MAX_STATE_BYTES
        )

    def update(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace the file by what `change` makes of its bytes, alone and durably.

        Raises:
            FileRefusedError: a link, another user's, writable by others, too large, or it cannot
                be locked or written.
            Exception: whatever `change` raises; the file then stays as it was.
        """
        with self._locked():
            stored = self.read()
            new = change(stored)
            if new != stored:
                mode = protected_file.PRIVATE_MODE
                protected_file.replace(self.path, new, mode=mode, check=parse_witness_state)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(self.path.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(lock, flags, protected_file.PRIVATE_MODE)
        except OSError as error:
            raise FileRefusedError(f"{lock}: cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)  # ends the lock
