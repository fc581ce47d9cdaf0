"""`vectors.h5`: masked vectors of every completed release, and the secrets that opened its masks.

    /<phase>/<round>/<attempt>/vectors   uint32 or uint64, (survivors, dimension), chunked by row
    /<phase>/<round>/<attempt>/opened    uint8: the message of opened secrets

Rows are in ascending order of the survivors' names. Numbers are decimals without leading zeros.
Both datasets are what `prune` takes away; their hashes stay in the log. A reader compares the
file's SHA-256 with the manifest *before* the HDF5 library sees a byte of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.fixedpoint import RingArray
from feddiff_secure.errors import DataError, VerificationError
from feddiff_secure.transcript.files import sync_and_rename
from feddiff_secure.transcript.leaves import AttemptKey

_CHUNK_ELEMENTS = 1 << 18  # 1 or 2 MiB
_MOST_OPENED = 1 << 26  # bytes: 100 owners, a third of them dropped, with contributions
_HINT = "the run directory is damaged; get it again from whoever made the run"
_UNFINISHED = "unfinished"
_LOST = "the directory was changed since the run stopped; nothing in it goes on from here"


def _path(key: AttemptKey) -> str:
    return f"{key.phase}/{key.round_index}/{key.attempt}"


def _name(key: AttemptKey) -> str:
    return f"{key.phase}.{key.round_index}.{key.attempt}.h5"


class VectorsWriter:
    """Keeps each release in a file of its own, and makes the one file of all at the end.

    A release is complete on disk, under its name, before its leaf is in the log. Files of releases
    that never got that far have other names, and `keep` removes them.

    Args:
        folder: of the releases' files; made at the first release.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Any = None

    def put_vectors(self, key: AttemptKey, vectors: Mapping[str, RingArray]) -> None:
        """Store the masked vectors of a release, party → vector."""
        self._close()
        self._folder.mkdir(exist_ok=True)
        self._file = h5py.File(self._folder / _UNFINISHED, "w", libver="latest")
        _write_rows(self._file, key, [vectors[party] for party in sorted(vectors)])

    def put_opened(self, key: AttemptKey, opened: bytes) -> None:
        """Store the message of opened secrets of a release whose vectors are stored."""
        data = np.frombuffer(opened, np.uint8)
        self._file.create_dataset(f"{_path(key)}/opened", data=data, track_times=False)
        self._close()
        sync_and_rename(self._folder / _UNFINISHED, self._folder / _name(key))

    def keep(self, keys: Sequence[AttemptKey]) -> None:
        """Go on after these releases; what is left of others is removed.

        Raises:
            DataError: a release that is not there.
        """
        wanted = {_name(key) for key in keys}
        found = {path.name for path in self._folder.glob("*")}
        for name in sorted(wanted - found):
            raise DataError(f"{self._folder / name}: missing", _LOST)
        for name in found - wanted:
            (self._folder / name).unlink()

    def gather(self, keys: Sequence[AttemptKey], path: Path) -> None:
        """Make the file of these releases, all at once; none is made of no release.

        Raises:
            DataError: a release that cannot be read back.
        """
        self._close()
        if not keys:
            return
        whole = self._folder / _UNFINISHED
        with h5py.File(whole, "w", libver="latest") as file:
            for key in keys:
                try:
                    with h5py.File(self._folder / _name(key), "r") as part:
                        rows, opened = part[f"{_path(key)}/vectors"], part[f"{_path(key)}/opened"]
                        _write_rows(file, key, rows)
                        file.create_dataset(
                            f"{_path(key)}/opened", data=opened[()], track_times=False
                        )
                except (OSError, KeyError) as error:
                    raise DataError(
                        f"{self._folder / _name(key)}: {str(error)[:80]}", _LOST
                    ) from None
        sync_and_rename(whole, path)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_rows(file: Any, key: AttemptKey, rows: Any) -> None:
    shape = (len(rows), rows[0].size)
    dataset = file.create_dataset(
        f"{_path(key)}/vectors",
        shape,
        rows[0].dtype,
        chunks=(1, min(shape[1], _CHUNK_ELEMENTS)),
        track_times=False,
    )
    for index in range(shape[0]):
        dataset[index] = rows[index]


class VectorsReader:
    """Reads releases back. Use it in a `with` statement.

    Args:
        path: a file whose hash is known to be the right one.

    Raises:
        VerificationError: not an HDF5 file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: Any = h5py.File(path, "r")
        except OSError as error:
            raise VerificationError(f"{path}: not HDF5: {str(error)[:80]}", _HINT) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def vectors(
        self, key: AttemptKey, survivors: tuple[str, ...], dimension: int, ring_bits: int
    ) -> dict[str, RingArray]:
        """The masked vectors of a release, survivor → vector.

        Raises:
            VerificationError: missing, or of another shape or type.
        """
        dtype = np.dtype(np.uint32 if ring_bits == 32 else np.uint64)
        found = self._dataset(f"{_path(key)}/vectors", dtype, (len(survivors), dimension))
        return {party: found[index] for index, party in enumerate(survivors)}

    def opened(self, key: AttemptKey) -> bytes:
        """The message of opened secrets of a release.

        Raises:
            VerificationError: missing, or too large.
        """
        return bytes(self._dataset(f"{_path(key)}/opened", np.dtype(np.uint8), None).tobytes())

    def _is_inside(self, name: str) -> bool:
        """Whether no part of a path is a link to elsewhere: a file never leads to another file."""
        parts = name.split("/")
        paths = ("/".join(parts[: i + 1]) for i in range(len(parts)))
        return all(isinstance(self._file.get(p, getlink=True), h5py.HardLink) for p in paths)

    def _dataset(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None
    ) -> NDArray[Any]:
        try:
            dataset = self._file.get(name) if self._is_inside(name) else None
            if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
                raise VerificationError(f"{self._path}: no dataset {name} of its own", _HINT)
            fits = dataset.shape == shape if shape else dataset.size <= _MOST_OPENED
            if dataset.dtype != dtype or not fits:
                raise VerificationError(
                    f"{self._path}: {name} is {dataset.dtype} {dataset.shape}, not {dtype} {shape}",
                    _HINT,
                )
            values: NDArray[Any] = dataset[()]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise VerificationError(f"{self._path}: {name}: {str(error)[:80]}", _HINT) from None
        return values
