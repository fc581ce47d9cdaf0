"""Startup kits for tests: one provisioned federation a process, copied for whoever changes one."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feddiff_secure.node.project import Project
from feddiff_secure.node.provisioning import Kits, provision

PROJECT = Project(
    "forest",
    "localhost",
    18002,
    "forest_lab",
    "analyst@forest.org",
    {"ann": "ann_org", "ben": "b2"},
)
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def kits() -> Kits:
    """Kits of `PROJECT`; not to be changed."""
    folder = tempfile.TemporaryDirectory(prefix="kits-")
    _KEPT.append(folder)
    return provision(PROJECT, Path(folder.name) / "made", key_bits=2048)


def copied(kit: Path, folder: Path) -> Path:
    """A copy of a site's or admin's kit that a test may change."""
    return Path(shutil.copytree(kit, folder / kit.name))


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
