"""The data of runs in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.one_machine import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("data"))
