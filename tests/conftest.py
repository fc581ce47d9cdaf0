"""What all tests share: real data where a machine has it, and reproducible property tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

settings.register_profile("project", deadline=None)  # shared machines are slow at times
settings.load_profile("project")


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data("idtrees_plots")` is the path of a real data file, or skips the test."""

    def find(name: str) -> Path:
        folder = os.environ.get("FEDDIFF_DATA")
        path = (Path(folder) if folder else REPOSITORY.parent / "shared" / "data") / f"{name}.h5"
        if not path.is_file():
            pytest.skip(f"real data {name}.h5 is absent (set FEDDIFF_DATA to its folder)")
        return path

    return find
