"""Descriptors kept between runs: off unless asked for, by digest, in one private folder.

Descriptors of a tile follow from its values and the frozen public networks alone; on rasters they
are most of a run's time. They are also private data, less than the tiles but not harmless (docs/
attacks.md inverts such features), so nothing is kept unless `run --cache` asks for it. The folder
is the platform's cache folder, or `FEDDIFF_CACHE`; it has mode 0700 and its files 0600.

* The name of an entry is the SHA-256 of everything that its numbers follow from: the feature map
  with every network's digest, seed and layout, the versions of the numerical packages, and the
  tiles' values and masks. Labels are not in it.
* An entry is one line with the SHA-256 of what follows, then a safetensors file. One that is not
  exactly what its tiles ask for is removed and computed again.
* Writing is by rename, under a lock that eviction and `clear` hold too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
import rfc8785
from numpy.typing import NDArray

from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.cached_entry import entry_bytes, parse_entry
from feddiff_secure.federation.examples import Described, Describer, describe, steps
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.public_log import PUBLIC_LOG

FOLDER_VARIABLE = "FEDDIFF_CACHE"
MOST_ENTRY_BYTES = 1 << 30
MOST_CACHE_BYTES = 4 << 30
_SUFFIX = ".descriptors"
_LOCK = ".lock"


class DescriptorCache:
    """A folder of entries; as a describer, `describe` that looks there first.

    Args:
        folder: where entries are; made when the first one is written.
        most_bytes: of all entries together; the ones unused longest make room.
        describer: computes what is not there.
    """

    def __init__(
        self, folder: Path, most_bytes: int = MOST_CACHE_BYTES, describer: Describer = describe
    ) -> None:
        self.folder = folder
        self._most_bytes = most_bytes
        self._describer = describer

    @classmethod
    def default(cls) -> Self:
        """The cache of this user: in `FEDDIFF_CACHE`, or the platform's cache folder."""
        named = os.environ.get(FOLDER_VARIABLE)
        root = Path(named) if named else platformdirs.user_cache_path("feddiff-secure")
        return cls(root / "descriptors")

    def __call__(self, features: FeatureMap, tiles: TileSet, progress: Progress) -> Described:
        """The descriptors of every pixel of every tile, kept or computed.

        Raises:
            UsageError: the folder is open to other users, or cannot be made.
        """
        path = self.folder / (entry_key(features, tiles) + _SUFFIX)
        found = self._read(path, features, tiles)
        if found is not None:
            progress.advance(steps(tiles))
            return found
        described = self._describer(features, tiles, progress)
        self._write(path, entry_bytes(described))
        return described

    def clear(self) -> tuple[int, int]:
        """Remove every entry; returns how many there were and their bytes together."""
        if not self.folder.is_dir():
            return 0, 0
        with self._locked():
            entries = self._entries()
            for path, _, _ in entries:
                path.unlink(missing_ok=True)
        return len(entries), sum(size for _, size, _ in entries)

    def _read(self, path: Path, features: FeatureMap, tiles: TileSet) -> Described | None:
        try:
            with path.open("rb") as file:
                data = file.read(MOST_ENTRY_BYTES + 1)
            os.utime(path)  # the last use, for eviction
        except OSError:
            return None
        self._check_private()
        try:
            return parse_entry(data, features, tiles)
        except ValueError as error:
            PUBLIC_LOG.warning("cache: %s: %s; computed again", path.name, error)
            path.unlink(missing_ok=True)
            return None

    def _write(self, path: Path, data: bytes) -> None:
        """Keep an entry; a cache that cannot be written costs time, not the run."""
        if len(data) > min(MOST_ENTRY_BYTES, self._most_bytes):
            return
        with self._locked():
            temporary = path.with_suffix(f".{os.getpid()}.partial")
            try:
                self._make_room(len(data))
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError as error:
                PUBLIC_LOG.warning("cache: %s: not kept: %s", path.name, error.strerror)
                temporary.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        total = sum(held for _, held, _ in entries) + size
        for path, held, _ in entries:
            if total <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= held

    def _entries(self) -> list[tuple[Path, int, int]]:
        """(path, bytes, last use in ns) of every entry, and of what a crash left half-written."""
        found = []
        for path in self.folder.iterdir():
            if path.suffix in {_SUFFIX, ".partial"}:
                facts = path.lstat()
                found.append((path, facts.st_size, facts.st_mtime_ns))
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_private()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.folder / _LOCK, flags, 0o600)
        except OSError as error:
            raise UsageError(
                f"cache: {self.folder}: {error.strerror}",
                f"set {FOLDER_VARIABLE} to a folder that can be written, or leave out --cache",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _check_private(self) -> None:
        facts = self.folder.lstat()
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            raise UsageError(
                f"cache: {self.folder} is open to other users (mode {facts.st_mode & 0o777:o})",
                f"chmod 700 it, or set {FOLDER_VARIABLE} to another folder",
            )


def entry_key(features: FeatureMap, tiles: TileSet) -> str:
    """SHA-256 (hex) of everything that the descriptors of tiles follow from."""
    import torch  # noqa: PLC0415 - torch is loaded only where it is needed

    fixed: dict[str, Any] = {
        "features": features.numbers(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(rfc8785.dumps(fixed))
    for block in tiles:
        arrays: list[tuple[str, NDArray[Any]]] = [*block.modalities.items()]
        arrays += [(f"{name} valid", mask) for name, mask in block.valid.items()]
        for name, values in arrays:
            digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
