"""`vectors.h5`: the masked vectors of every release and the secrets that opened its masks.

    /<phase>/<round>/<attempt>/vectors   uint32 or uint64, (survivors, dimension), chunked by row
    /<phase>/<round>/<attempt>/opened    uint8: the message of opened secrets

Rows are in ascending order of the survivors' names. Numbers are decimals without leading zeros.
Both datasets are what `prune` takes away; their hashes stay in the log. A reader compares the
file's SHA-256 with the manifest *before* the HDF5 library sees a byte of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.fixedpoint import RingArray
from feddiff_secure.errors import VerificationError
from feddiff_secure.transcript.leaves import AttemptKey

_CHUNK_ELEMENTS = 1 << 18  # 1 or 2 MiB
_MOST_OPENED = 1 << 26  # bytes: 100 owners, a third of them dropped, with contributions
_HINT = "the run directory is damaged; get it again from whoever made the run"


def _path(key: AttemptKey) -> str:
    return f"{key.phase}/{key.round_index}/{key.attempt}"


class VectorsWriter:
    """Adds releases to a new file.

    Args:
        path: the file; made at the first release.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def put_vectors(self, key: AttemptKey, vectors: Mapping[str, RingArray]) -> None:
        """Store the masked vectors of a release, party → vector."""
        if self._file is None:
            self._file = h5py.File(self._path, "a", libver="latest")
        rows = [vectors[party] for party in sorted(vectors)]
        shape = (len(rows), rows[0].size)
        dataset = self._file.create_dataset(
            f"{_path(key)}/vectors",
            shape,
            rows[0].dtype,
            chunks=(1, min(shape[1], _CHUNK_ELEMENTS)),
            track_times=False,
        )
        for index, row in enumerate(rows):
            dataset[index] = row

    def put_opened(self, key: AttemptKey, opened: bytes) -> None:
        """Store the message of opened secrets of a release whose vectors are stored."""
        data = np.frombuffer(opened, np.uint8)
        self._file.create_dataset(f"{_path(key)}/opened", data=data, track_times=False)
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


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
