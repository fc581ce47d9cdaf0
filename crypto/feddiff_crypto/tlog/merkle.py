"""The Merkle tree hash of RFC 6962, section 2.1, and its root leaf by leaf.

A leaf is hashed behind a zero byte and a node behind a one byte, so no node can be shown as a leaf
(a second preimage). The root of n > 1 leaves joins the root of the first k, k the largest power of
two below n, with that of the rest; the root of none is the hash of nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

HASH_BYTES: Final = 32
MAX_SIZE: Final = 2**63 - 1  # leaves; so no path is longer than 63 hashes
MAX_PATH: Final = 63
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf's bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over the hashes of its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """The root over the bytes of all leaves, read once, in memory of O(log n)."""
    range_ = CompactRange()
    for leaf in leaves:
        range_.append(leaf_hash(leaf))
    return range_.root


class CompactRange:
    """The least that gives the root of a growing tree: the roots of its perfect subtrees.

    One hash for each set bit of the size, the largest subtree first. Appending takes two hashes on
    average; a verifier that reads leaves in order has the root at every size.
    """

    def __init__(self) -> None:
        self._subtrees: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        *larger, root = self._subtrees
        for subtree in reversed(larger):
            root = node_hash(subtree, root)
        return root

    def append(self, leaf: bytes) -> None:
        """Add the *hash* of the next leaf.

        Raises:
            ValueError: not 32 bytes.
        """
        check_hash("leaf hash", leaf)
        root, merges = leaf, self._size
        while merges & 1:  # a set bit of the size is a subtree as large as the one just made
            root = node_hash(self._subtrees.pop(), root)
            merges >>= 1
        self._subtrees.append(root)
        self._size += 1


def check_hash(what: str, value: bytes) -> None:
    """Return if `value` has the length of a hash.

    Raises:
        ValueError: it has not.
    """
    if len(value) != HASH_BYTES:
        raise ValueError(f"{what}: {len(value)} bytes, expected {HASH_BYTES}")
