"""The attestation of a run: configuration, code and environment, over the hash of every file.

It is made last, so that nothing is circular: files → manifest (the log's last leaf) → last
checkpoint and its cosignatures → attestation. Its subjects are all files but itself, those of the
transcript included, and its own bytes are covered by its signature.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from feddiff_crypto.attest.statement import RUN_PREDICATE, Statement
from feddiff_crypto.jcs import Json
from feddiff_crypto.tlog.checkpoint import Checkpoint
from feddiff_secure.transcript.files import ATTESTATION, file_digest, run_files
from feddiff_secure.transcript.leaves import RunLeaf
from feddiff_secure.version import __version__

PACKAGES: Final = ("feddiff_crypto", "feddiff_privacy", "feddiff_secure")
PREDICATE_FIELDS: Final = frozenset({"session", "config", "plan", "code", "environment", "log"})


def run_statement(
    directory: Path,
    run: RunLeaf,
    checkpoint: Checkpoint,
    *,
    config_digest: str,
    libraries: Mapping[str, str],
) -> Statement:
    """The statement of a finished run directory.

    Args:
        directory: with every file but the attestation; the run's folder `RESUME` does not count.
        run: the log's first leaf. checkpoint: its last state.
        config_digest: of the resolved configuration.
        libraries: name → version of what computed the guarantee.
    """
    return Statement(subjects(directory, unfinished=True), RUN_PREDICATE, {
        "session": str(run.plan["session"]),
        "config": config_digest,
        "plan": hashlib.sha256(run.plan_bytes()).hexdigest(),
        "code": {"version": __version__, "sha256": code_digest().hex()},
        "environment": _environment(libraries),
        "log": {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
        },
    })  # fmt: skip


def subjects(directory: Path, *, unfinished: bool = False) -> dict[str, bytes]:
    """Name → SHA-256 of every file of a run but the attestation; `unfinished` as in `run_files`."""
    found = run_files(directory, unfinished=unfinished)
    names = (name for name in found if name != ATTESTATION)
    return {name: file_digest(directory / name) for name in names}


def code_digest() -> bytes:
    """SHA-256 over name and hash of every installed file of the packages, but compiled ones."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"{package}/{path.relative_to(root).as_posix()}"
                digest.update(f"{name}\n{file_digest(path).hex()}\n".encode())
    return digest.digest()


def _environment(libraries: Mapping[str, str]) -> dict[str, Json]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libraries": dict(libraries),
    }
