"""A ledger on disk: locked while open, and every entry synced before `append` returns. POSIX only.

* A new file gets its header before it gets its name (written beside, synced, linked), so a file
  without a whole header is damage, never an interrupted creation.
* The lock is exclusive and held until `close`: two processes with one ledger could each see room
  for the same plan.
* An entry is written by one `write` at the end of the file and synced. Whatever goes wrong in
  between, this object refuses every later append: what is on disk is then known only after the
  file has been opened again.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from feddiff_privacy.ledger.chain import MOST_FILE_BYTES, Chain, parse_chain
from feddiff_privacy.ledger.entries import Entry, Header, to_line
from feddiff_privacy.ledger.errors import LedgerBusyError, LedgerError

_MODE = 0o600
_WRITABLE_BY_OTHERS = 0o022
_OPEN_HINT = "check the path, its permissions and its disk"


def create_file(path: Path, header: Header) -> bool:
    """Make a ledger of one header, durably; False where the name is taken already.

    Raises:
        LedgerError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(to_line(header, 0, None) + b"\n")
                file.flush()
                os.fsync(descriptor)
            os.link(temporary, path)  # unlike a rename, fails where the name is taken
        finally:
            temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise LedgerError(f"{path}: cannot be made: {error.strerror}", _OPEN_HINT) from None
    return True


def read_file(path: Path) -> Chain:
    """Read a ledger without locking or changing it; another process may be appending to it.

    Raises:
        LedgerError: missing, not a ledger, or damaged.
    """
    descriptor = _open(path, os.O_RDONLY)
    try:
        return parse_chain(_content(path, descriptor), path)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ChainFile:
    """An open, locked ledger file.

    Args:
        path: an existing ledger.

    Raises:
        LedgerBusyError: another process holds it.
        LedgerError: missing, not a ledger, or damaged anywhere but in a last, newline-less line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = _open(path, os.O_RDWR | os.O_APPEND)
        try:
            self._lock()
            self.chain = parse_chain(_content(path, self._descriptor), path)
            if self.chain.torn:
                self._cut()
        except BaseException:
            self.close()
            raise

    def append(self, entry: Entry) -> int:
        """Write an entry; returns its number once it is on disk, and not before.

        Raises:
            LineError: an entry that the rules do not allow; nothing was written.
            LedgerError: the disk failed, now or earlier, or the ledger is closed.
        """
        if self._descriptor is None:
            raise LedgerError(f"{self.path}: closed, or failed before", "open the ledger again")
        chain = self.chain
        chain.balance.check(entry)
        line = to_line(entry, len(chain.heads), chain.heads[-1])
        try:
            written = os.write(self._descriptor, line + b"\n")
            if written != len(line) + 1:
                raise OSError(0, f"wrote {written} of {len(line) + 1} bytes")
            os.fsync(self._descriptor)
            chain.add(entry, line)
        except OSError as error:
            self.close()
            raise LedgerError(f"{self.path}: {error.strerror}", _OPEN_HINT) from None
        except BaseException:  # Ctrl-C: the line may be on disk or not
            self.close()
            raise
        return len(chain.heads) - 1

    def close(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def is_open(self) -> bool:
        """Whether entries can be appended."""
        return self._descriptor is not None

    def _lock(self) -> None:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LedgerBusyError(
                f"{self.path}: in use by another run", "wait until that run has ended"
            ) from error
        try:
            same = os.path.samestat(os.fstat(self._descriptor), self.path.lstat())
        except FileNotFoundError:
            same = False
        if not same:
            raise LedgerBusyError(f"{self.path}: replaced while it was opened", "start again")

    def _cut(self) -> None:
        """Remove the torn last line (see `chain`)."""
        assert self._descriptor is not None
        try:
            os.ftruncate(self._descriptor, self.chain.size)
            os.fsync(self._descriptor)
        except OSError as error:
            raise LedgerError(f"{self.path}: {error.strerror}", _OPEN_HINT) from None
        self.chain.torn = 0


def _open(path: Path, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be opened: {error.strerror}", _OPEN_HINT) from None
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode) and not facts.st_mode & _WRITABLE_BY_OTHERS:
        return descriptor
    os.close(descriptor)
    raise LedgerError(
        f"{path}: no regular file, or one that others may write "
        f"(mode {stat.S_IMODE(facts.st_mode):04o})",
        "give the path of a ledger; chmod 600 it",
    )


def _content(path: Path, descriptor: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while size <= MOST_FILE_BYTES:
            part = os.read(descriptor, min(1 << 20, MOST_FILE_BYTES + 1 - size))
            if not part:
                break
            parts.append(part)
            size += len(part)
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read: {error.strerror}", _OPEN_HINT) from None
    return b"".join(parts)
