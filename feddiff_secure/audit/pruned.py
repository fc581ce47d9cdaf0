"""Pruning: after a retention period only the hashes of vectors and opened secrets stay.

`transcript/vectors.h5` goes, `transcript/pruned.json` says so and names its hash. What is left
still shows who took part, what they signed and that the hashes are those of one witnessed history;
sums and model can no longer be recomputed, and `verify` says that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from feddiff_crypto.canonical_json import canonical_json, parse_canonical
from feddiff_crypto.rotation import read_hex
from feddiff_secure.audit.verdict import require
from feddiff_secure.transcript.files import PRUNED, VECTORS, file_digest, read_bytes
from feddiff_secure.transcript.leaves import HASH_BYTES, ManifestLeaf

FORMAT: Final = "feddiff-secure pruned"
VERSION: Final = 1
_MAX_BYTES: Final = 4096


def pruned_bytes(digest: bytes) -> bytes:
    """The one form of the record of a pruning.

    Args:
        digest: SHA-256 of the file that was removed.
    """
    return canonical_json(
        {"format": FORMAT, "version": VERSION, "removed": VECTORS, "sha256": digest.hex()}
    )


def is_pruned(directory: Path, manifest: ManifestLeaf) -> bool:
    """Whether the vectors were removed on record.

    Raises:
        DecodeError, LimitError, VerificationError: a record that is none.
        StepFailedError: a record of another file, or beside the file that it says is gone.
    """
    if not os.path.lexists(directory / PRUNED):
        return False
    data = read_bytes(directory / PRUNED, _MAX_BYTES)
    content = parse_canonical(data, FORMAT, VERSION, ("removed", "sha256"), _MAX_BYTES)
    digest = read_hex(content, "pruned", "sha256", HASH_BYTES)
    require(content["removed"] == VECTORS, f"{PRUNED} names another file than {VECTORS}")
    require(digest == manifest.files.get(VECTORS), f"{PRUNED} names another hash than the log")
    require(data == pruned_bytes(digest), f"{PRUNED} is not in its one form")
    require(not os.path.lexists(directory / VECTORS), f"{VECTORS} and {PRUNED} are both there")
    return True


def prune(directory: Path, manifest: ManifestLeaf) -> bool:
    """Remove the vectors and opened secrets of a run, on record; False where there are none.

    The record is on disk before the file goes, so a crash in between leaves a directory that says
    what is wrong with it, and pruning again finishes it.

    Raises:
        StepFailedError: the file is not the one that the log names: something else is wrong.
        VerificationError: it cannot be read.
    """
    if VECTORS not in manifest.files:
        return False
    path, record = directory / VECTORS, directory / PRUNED
    if not os.path.lexists(path):
        require(is_pruned(directory, manifest), f"{VECTORS} is missing, and no pruning recorded")
        return False
    digest = manifest.files[VECTORS]
    require(file_digest(path) == digest, f"{VECTORS} is not the file that the log names")
    with record.open("wb") as file:
        file.write(pruned_bytes(digest))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    return True
