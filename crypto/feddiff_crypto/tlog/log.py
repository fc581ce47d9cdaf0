"""An append-only log of JSON objects, and the file it is kept in.

A leaf is one JSON object in the form of RFC 8785; its hash is that of these bytes. The file is the
leaves in order, one a line, each ended by one newline (RFC 8785 text has none inside), so appending
a leaf appends a line. `parse_log` accepts exactly such files: a leaf cut off by a crash, an empty
line or another form of the same object is refused, and a leaf that was changed, dropped, repeated
or moved gives another root.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.jcs import Json, jcs, parse_jcs
from feddiff_crypto.tlog.checkpoint import Checkpoint
from feddiff_crypto.tlog.merkle import leaf_hash
from feddiff_crypto.tlog.tree import MerkleTree

MAX_LEAF_BYTES: Final = 2**18
MAX_LEAVES: Final = 2**20
MAX_LOG_BYTES: Final = 2**28


class Log:
    """Leaves and their Merkle tree, in memory. Nothing is ever taken out or changed."""

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._tree = MerkleTree()
        self._bytes = 0

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._leaves)

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """The bytes of all leaves, in order."""
        return tuple(self._leaves)

    def append(self, leaf: Mapping[str, Json]) -> int:
        """Add an object; its index.

        Raises:
            ValueError, TypeError: no RFC 8785 JSON object.
            LimitError: the leaf or the log would be larger than it may be.
        """
        if not isinstance(leaf, Mapping):
            raise TypeError(f"a leaf is an object, not a {type(leaf).__name__}")
        return self._append(jcs(leaf))

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, by default all.

        Raises:
            ValueError: `size` is not in 0..the present size.
        """
        return self._tree.root(size)

    def checkpoint(self, origin: str, size: int | None = None) -> Checkpoint:
        """The log's state at `size` leaves, by default now, to be signed as a checkpoint.

        Raises:
            ValueError: no origin, or `size` is not in 0..the present size.
        """
        at = self.size if size is None else size
        return Checkpoint(origin, at, self.root(at))

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """The path from a leaf to the root of `size` leaves, by default all.

        Raises:
            ValueError: not 0 ≤ index < size ≤ the present size.
        """
        return self._tree.inclusion_proof(index, self.size if size is None else size)

    def consistency_proof(self, old: int, new: int | None = None) -> tuple[bytes, ...]:
        """What shows that `new` leaves, by default all, continue `old` leaves.

        Raises:
            ValueError: not 0 ≤ old ≤ new ≤ the present size.
        """
        return self._tree.consistency_proof(old, self.size if new is None else new)

    def to_bytes(self) -> bytes:
        """The file."""
        return b"".join(leaf + b"\n" for leaf in self._leaves)

    def _append(self, leaf: bytes) -> int:
        """Add the bytes of a leaf that is known to be a JSON object in its one form."""
        if len(leaf) > MAX_LEAF_BYTES:
            raise LimitError(f"leaf {self.size}: {len(leaf)} bytes > limit {MAX_LEAF_BYTES}")
        if self.size == MAX_LEAVES or self._bytes + len(leaf) + 1 > MAX_LOG_BYTES:
            raise LimitError(f"log: more than {MAX_LEAVES} leaves or {MAX_LOG_BYTES} bytes")
        self._leaves.append(leaf)
        self._bytes += len(leaf) + 1
        self._tree.append(leaf_hash(leaf))
        return self.size - 1


def parse_leaf(data: bytes, what: str) -> dict[str, Any]:
    """Read one leaf.

    Raises:
        LimitError: longer than a leaf may be.
        DecodeError: not a JSON object in its one form; the message begins with `what`.
    """
    leaf = parse_jcs(data, what, MAX_LEAF_BYTES)
    if not isinstance(leaf, dict):
        raise DecodeError(f"{what}: a {type(leaf).__name__}, expected an object")
    return leaf


def parse_log(data: bytes) -> Log:
    """Read a log's file; its root is compared with nothing here.

    Raises:
        LimitError: more or longer leaves than a log may have.
        DecodeError: not such a file; the message names the leaf by its index.
    """
    if len(data) > MAX_LOG_BYTES:
        raise LimitError(f"log: {len(data)} bytes > limit {MAX_LOG_BYTES}")
    log = Log()
    if not data:
        return log
    if not data.endswith(b"\n"):
        raise DecodeError("log: its last leaf is cut off: no newline at the end")
    if data.count(b"\n") > MAX_LEAVES:
        raise LimitError(f"log: more than {MAX_LEAVES} leaves")
    for index, line in enumerate(data[:-1].split(b"\n")):
        parse_leaf(line, f"leaf {index}")
        log._append(line)  # the same module; these bytes were just read
    return log
