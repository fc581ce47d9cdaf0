"""`--log-file`: public events of a run, one line each, appended to a file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feddiff_secure.errors import FeddiffError, UsageError
from feddiff_secure.public_log import PUBLIC_LOG
from feddiff_secure.version import __version__

LEVELS = ("debug", "info", "warning", "error")


@contextmanager
def log_to(path: Path | None, level: str, command: str) -> Iterator[None]:
    """Append the public events of a command to a file; without a path, do nothing.

    Args:
        path: the file; made if there is none.
        level: one of `LEVELS`: the least that is written.
        command: its name, for the first line.

    Raises:
        UsageError: an unknown level, or a file that cannot be written.
    """
    if level not in LEVELS:
        raise UsageError(f"log-level is {level[:40]!r}", f"use one of: {', '.join(LEVELS)}")
    if path is None:
        yield
        return
    handler = _open(path)
    PUBLIC_LOG.addHandler(handler)
    PUBLIC_LOG.setLevel(level.upper())
    try:
        PUBLIC_LOG.info("feddiff-secure %s: %s begins", __version__, command)
        yield
        PUBLIC_LOG.info("%s ends, exit code 0", command)
    except FeddiffError as error:  # not its message: that may quote a value of the data
        PUBLIC_LOG.error("%s ends, exit code %d (%s)", command, error.exit_code, _name(error))
        raise
    except BaseException as error:
        PUBLIC_LOG.error("%s ends (%s)", command, _name(error))
        raise
    finally:
        PUBLIC_LOG.removeHandler(handler)
        handler.close()


def _open(path: Path) -> logging.FileHandler:
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"log-file: {path}: {error.strerror}", "give a file in a folder that can be written"
        ) from error
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(formatter)
    return handler


def _name(error: BaseException) -> str:
    return type(error).__name__
