"""Where the command line begins: the platform is checked before its commands are imported."""

from __future__ import annotations

import sys

from feddiff_secure.errors import UsageError
from feddiff_secure.platform_check import require_platform


def main() -> None:
    """Run the command line and exit with the code of the contract."""
    try:
        require_platform()
    except UsageError as error:  # by hand: nothing that prints is imported yet
        sys.stderr.write(f"error: {error}\nhint: {error.hint}\n")
        sys.exit(error.exit_code)
    # Imported here: some commands import what an unsupported platform lacks.
    from feddiff_secure.cli.main import main as run_command_line  # noqa: PLC0415

    run_command_line()
