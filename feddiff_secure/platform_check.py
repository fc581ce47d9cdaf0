"""Whether this platform has what keys and ledgers rest on; checked before anything is imported.

Ledgers are locked by `flock`, files are opened without following links and with their owner and
mode checked. Where the operating system has none of that, the promises about budgets and keys
would not hold, so the tool does not run (docs/platforms.md).
"""

from __future__ import annotations

import importlib.util
import os
import sys

from feddiff_secure.errors import UsageError

_MODULES = ("fcntl",)
_CALLS = ("O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "fchmod", "geteuid", "link")


def missing_features() -> list[str]:
    """What this platform lacks, by the name of the module or call."""
    modules = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    return modules + [f"os.{name}" for name in _CALLS if not hasattr(os, name)]


def require_platform() -> None:
    """Go on only where files can be locked and protected.

    Raises:
        UsageError: naming what is missing.
    """
    missing = missing_features()
    if missing:
        raise UsageError(
            f"platform {sys.platform}: no {', '.join(missing)}, on which ledgers and keys rest",
            "use Linux or macOS; on Windows, the Windows Subsystem for Linux (docs/platforms.md)",
        )
