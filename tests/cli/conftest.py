"""The command line in this process, for every test of it."""

from __future__ import annotations

import pytest

from feddiff_secure.cli.main import run_cli
from tests.support.command_line import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line; returns exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run_cli([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
