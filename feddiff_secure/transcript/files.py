"""Where a transcript lies in a run directory, and what covers the bytes of which file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from feddiff_secure.errors import VerificationError
from feddiff_secure.transcript.leaves import MOST_FILES, is_file_name

FOLDER: Final = "transcript"
LEAVES: Final = f"{FOLDER}/leaves.jsonl"
CHECKPOINTS: Final = f"{FOLDER}/checkpoints"
ROSTERS: Final = f"{FOLDER}/rosters.jsonl"
VECTORS: Final = f"{FOLDER}/vectors.h5"
PRUNED: Final = f"{FOLDER}/pruned.json"
ATTESTATION: Final = "attestation.json"

SELF_COVERED: Final = frozenset({LEAVES, CHECKPOINTS, PRUNED, ATTESTATION})
"""Files that no manifest lists. The leaves are covered by the last checkpoint's root, checkpoints
by their signatures, all three by the attestation, which its own signature covers; the record of a
pruning has one form."""

COORDINATOR: Final = "coordinator"
"""The party name of a log's keeper."""

_ORIGIN: Final = "feddiff-secure.invalid/run/"
_CHUNK: Final = 1 << 20
_HINT: Final = "the run directory is not as it was left; get it again from whoever made the run"


def origin_of(session: str) -> str:
    """The origin of a run's log: no other run has it. (`.invalid`: a name, no address.)"""
    return _ORIGIN + session


def file_digest(path: Path) -> bytes:
    """SHA-256 of a regular file.

    Raises:
        VerificationError: missing, a link, no regular file, or unreadable.
    """
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise VerificationError(f"{path}: no regular file", _HINT)
            while block := file.read(_CHUNK):
                digest.update(block)
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read: {error.strerror}", _HINT) from None
    return digest.digest()


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Raises:
        VerificationError: missing, a link, no regular file, unreadable or larger.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise VerificationError(f"{path}: no regular file", _HINT)
            data = file.read(most + 1)
    except OSError as error:
        raise VerificationError(f"{path}: cannot be read: {error.strerror}", _HINT) from None
    if len(data) > most:
        raise VerificationError(f"{path}: larger than {most} bytes", _HINT)
    return data


def run_files(directory: Path) -> list[str]:
    """The names of all files of a run, sorted.

    Raises:
        VerificationError: something that is neither a regular file nor a folder of some, a link, a
            name that no run makes, or too many files.
    """
    names = sorted(_walk(directory, ""))
    if len(names) > MOST_FILES + len(SELF_COVERED):
        raise VerificationError(f"{directory}: {len(names)} files > limit {MOST_FILES}", _HINT)
    return names


def manifest(directory: Path) -> dict[str, bytes]:
    """Name → SHA-256 of every file that the manifest covers."""
    return {
        name: file_digest(directory / name)
        for name in run_files(directory)
        if name not in SELF_COVERED
    }


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise VerificationError(f"{folder}: cannot be read: {error.strerror}", _HINT) from None
    if prefix and not entries:
        raise VerificationError(f"{folder}: an empty folder, which no run leaves", _HINT)
    for entry in entries:
        name = prefix + entry.name
        if not is_file_name(name):
            raise VerificationError(f"{folder}: {entry.name[:80]!a} is no file of a run", _HINT)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            raise VerificationError(f"{entry.path}: a link or special file", _HINT)
