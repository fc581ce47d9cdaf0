"""Files that exist in memory only, because SEAL reads and writes files and secrets stay off disks.

The pages may be swapped out like all memory of a process; whoever must rule that out turns swap
off or encrypts it.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final

from feddiff_crypto.he.errors import EncryptionUnavailableError

_DESCRIPTORS: Final = Path("/proc/self/fd")


class MemoryFile:
    """An anonymous file without a name in any folder, gone when closed. Use it as a context.

    One instance belongs to one thread and process.

    Raises:
        EncryptionUnavailableError: the platform has no memory files (Linux has, with /proc).
    """

    def __init__(self) -> None:
        if not hasattr(os, "memfd_create"):
            raise EncryptionUnavailableError("this platform has no memory files (memfd_create)")
        self._descriptor = os.memfd_create("ckks", os.MFD_CLOEXEC)
        self.path = str(_DESCRIPTORS / str(self._descriptor))
        if not os.path.exists(self.path):  # noqa: PTH110 - a link to a file that has no path
            os.close(self._descriptor)
            raise EncryptionUnavailableError(f"no {_DESCRIPTORS} to open memory files by path")

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def read(self) -> bytes:
        """All bytes."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, size, 0)

    def write(self, data: bytes) -> None:
        """Replace the content."""
        os.ftruncate(self._descriptor, len(data))
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], done)
