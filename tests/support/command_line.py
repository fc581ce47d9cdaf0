"""The command line as a function: what the fixture `cli` of tests/cli gives."""

from __future__ import annotations

from collections.abc import Callable

Cli = Callable[..., tuple[int, str, str]]
"""Arguments → exit code, stdout and stderr."""
