"""The log of public events, and the only one that `--log-file` writes.

A log file gets shared, so it is an allowlist: stages, releases, configuration and exit codes go to
`PUBLIC_LOG`; everything else that a module logs (an owner's saturated fraction, say) goes to that
module's own logger and never into the file. Never log to `PUBLIC_LOG` what was computed from an
owner's data before noise: no counts, sizes, accuracies, or messages of errors, which quote values.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

PUBLIC_LOG: Final = logging.getLogger("feddiff_secure.public")
"""Levels: INFO for stages, DEBUG for every release, WARNING and ERROR for how a run ended."""

_PUBLIC_FIELDS: Final = ("phase", "round", "attempt", "tiles", "noised_gradient_norm")


def log_release(line: Mapping[str, Any]) -> None:
    """One release: its public fields, each of them noised or fixed by the plan."""
    known = {name: line[name] for name in _PUBLIC_FIELDS if name in line}
    PUBLIC_LOG.debug("release %s", " ".join(f"{name}={value}" for name, value in known.items()))
