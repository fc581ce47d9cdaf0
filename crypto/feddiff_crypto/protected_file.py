"""Files whose permissions matter: read only where they are safe, written whole or not at all.

A private key that others can read is no secret, and a registry that others can write pins nothing.
So a file is opened without following a link, its mode and owner are checked on the open descriptor
(not on the path, which could change in between), and its size is bounded before it is read.
Writing goes to a new file in the same folder, which is synced, read back and only then given its
name. POSIX only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from feddiff_crypto.errors import FileRefusedError

PRIVATE_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644
READABLE_BY_OTHERS: Final = 0o077  # what a private file must not grant
WRITABLE_BY_OTHERS: Final = 0o022  # what a trust anchor must not grant


def read_protected(path: Path, *, forbidden_mode: int, max_bytes: int) -> bytes:
    """Read a regular file that belongs to this user.

    Args:
        path: the file; a symbolic link is refused.
        forbidden_mode: permission bits of which none may be set.
        max_bytes: the largest file that is read.

    Raises:
        FileRefusedError: missing, unreadable, a link, no regular file, another user's, too open
            or too large; the message names the path and the bound.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        _check_facts(path, os.fstat(descriptor), forbidden_mode)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise FileRefusedError(f"{path}: more than {max_bytes} bytes")
    return data


def _check_facts(path: Path, facts: os.stat_result, forbidden_mode: int) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise FileRefusedError(f"{path}: is no regular file")
    if facts.st_uid != os.geteuid():
        raise FileRefusedError(f"{path}: belongs to user {facts.st_uid}, not {os.geteuid()}")
    excess = facts.st_mode & forbidden_mode
    if excess:
        raise FileRefusedError(
            f"{path}: mode {stat.S_IMODE(facts.st_mode):04o} grants {excess:04o} to others"
        )


def write_new(path: Path, data: bytes, *, mode: int, check: Callable[[bytes], object]) -> None:
    """Write a file that does not exist yet.

    Args:
        path: its name; a file of that name is never replaced.
        data: its bytes.
        mode: its permissions, set before a byte is written.
        check: called with the bytes read back; what it raises keeps the file from being written.

    Raises:
        FileRefusedError: the file exists, or cannot be written.
    """
    temporary = _write_beside(path, data, mode, check)
    try:
        os.link(temporary, path)  # unlike a rename, fails where the name is taken
    except FileExistsError:
        raise FileRefusedError(f"{path}: exists and is not overwritten") from None
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def replace(path: Path, data: bytes, *, mode: int, check: Callable[[bytes], object]) -> None:
    """Write a file, in place of one of the same name; a reader sees the old one or the new one.

    Args:
        path: its name.
        data: its bytes.
        mode: its permissions.
        check: called with the bytes read back; what it raises keeps the old file.

    Raises:
        FileRefusedError: it cannot be written.
    """
    temporary = _write_beside(path, data, mode, check)
    try:
        temporary.replace(path)
    except OSError as error:
        temporary.unlink()
        raise FileRefusedError(f"{path}: cannot be written: {error.strerror}") from None
    _sync_folder(path.parent)


def _write_beside(path: Path, data: bytes, mode: int, check: Callable[[bytes], object]) -> Path:
    """A synced file of another name in the same folder that reads back as `data`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)  # whatever the umask says
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            back = temporary.read_bytes()
            if back != data:
                raise FileRefusedError(f"{path}: does not read back as it was written")
            check(back)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileRefusedError(f"{path}: cannot be written: {error.strerror}") from None
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
