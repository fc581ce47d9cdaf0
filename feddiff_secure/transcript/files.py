"""Where a transcript lies in a run directory, and what covers the bytes of which file."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from feddiff_secure.errors import UsageError, VerificationError
from feddiff_secure.transcript.leaves import MOST_FILES, is_file_name

FOLDER: Final = "transcript"
LEAVES: Final = f"{FOLDER}/leaves.jsonl"
CHECKPOINTS: Final = f"{FOLDER}/checkpoints"
ROSTERS: Final = f"{FOLDER}/rosters.jsonl"
VECTORS: Final = f"{FOLDER}/vectors.h5"
PRUNED: Final = f"{FOLDER}/pruned.json"
ATTESTATION: Final = "attestation.json"
PARTIAL: Final = ".partial"
"""Ends the name of a run directory that is not finished."""
RESUME: Final = "resume"
"""The folder that an unfinished run has for what it goes on from; a finished one has none."""

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


def check_finished(directory: Path) -> None:
    """Refuse the directory of a run that was not finished.

    Raises:
        UsageError: its name says that it was not.
    """
    if directory.name.endswith(PARTIAL):
        kept = (directory / RESUME / "checkpoint", directory / ATTESTATION)
        can_go_on = any(path.exists() for path in kept)
        raise UsageError(
            f"{directory}: this run is unfinished",
            f"go on with: feddiff-secure resume {directory}"
            if can_go_on
            else "it cannot go on; start it again",
        )


def make_resume_folder(directory: Path) -> Path:
    """The folder `RESUME` of a run directory, mode 0700; made if there is none."""
    folder = directory / RESUME
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def sync_and_rename(path: Path, name: Path) -> None:
    """Give a finished file its name, once its bytes are on disk."""
    _sync(path, os.O_RDONLY)
    path.replace(name)
    _sync(name.parent, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run_files(directory: Path, *, unfinished: bool = False) -> list[str]:
    """The names of all files of a run, sorted.

    Args:
        directory: of the run.
        unfinished: whether the run is still writing: its folder `RESUME` is then left out.

    Raises:
        VerificationError: something that is neither a regular file nor a folder of some, a link, a
            name that no run makes, or too many files.
    """
    names = sorted(_walk(directory, "", RESUME if unfinished else None))
    if len(names) > MOST_FILES + len(SELF_COVERED):
        raise VerificationError(f"{directory}: {len(names)} files > limit {MOST_FILES}", _HINT)
    return names


def manifest(directory: Path, *, unfinished: bool = False) -> dict[str, bytes]:
    """Name → SHA-256 of every file that the manifest covers; `unfinished` as in `run_files`."""
    return {
        name: file_digest(directory / name)
        for name in run_files(directory, unfinished=unfinished)
        if name not in SELF_COVERED
    }


def _walk(folder: Path, prefix: str, but: str | None = None) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise VerificationError(f"{folder}: cannot be read: {error.strerror}", _HINT) from None
    if prefix and not entries:
        raise VerificationError(f"{folder}: an empty folder, which no run leaves", _HINT)
    for entry in entries:
        name = prefix + entry.name
        if name == but:
            continue
        if not is_file_name(name):
            raise VerificationError(f"{folder}: {entry.name[:80]!a} is no file of a run", _HINT)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name
        else:
            raise VerificationError(f"{entry.path}: a link or special file", _HINT)
