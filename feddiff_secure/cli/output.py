"""Writing what a command was asked for: a disk that refuses is a user's matter, not a bug."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feddiff_secure.errors import UsageError

_HINT = "make room, or give a path that can be written"


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Say in two lines why an output could not be written.

    Args:
        out: what was asked for.

    Raises:
        UsageError: the system refused: a full disk, a path without permission.
    """
    try:
        yield
    except OSError as error:
        where = out if error.filename is None else error.filename
        raise UsageError(f"out: {where}: {error.strerror or error}", _HINT) from error
    except RuntimeError as error:
        if "errno = " not in str(error):  # how the HDF5 library reports that a write failed
            raise
        raise UsageError(f"out: {out}: {str(error)[:160]}", _HINT) from error


@contextmanager
def written(out: Path) -> Iterator[None]:
    """The same for a single new file, of which no half is left.

    Raises:
        UsageError: as `disk_errors`.
    """
    paths = (out, out.with_name(out.name + ".partial"))
    new = [path for path in paths if not os.path.lexists(path)]
    try:
        with disk_errors(out):
            yield
    except UsageError:
        for path in new:
            if path.is_file():
                path.unlink()
        raise
