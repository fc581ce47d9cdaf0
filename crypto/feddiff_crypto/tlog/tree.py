"""A growing Merkle tree that makes proofs: RFC 6962, sections 2.1.1 and 2.1.2.

It keeps the root of every perfect subtree, 2n hashes in all, so any proof at any size up to the
present one takes O(log² n) hashes. The verifying side, `merkle_proof`, shares no code with it.
"""

from __future__ import annotations

from feddiff_crypto.tlog.merkle import EMPTY_ROOT, check_hash, node_hash


class MerkleTree:
    """The hashes of all leaves and of every perfect subtree over them."""

    def __init__(self) -> None:
        self._levels: list[list[bytes]] = [[]]  # level k: roots of 2^k leaves, from the left

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the *hash* of the next leaf.

        Raises:
            ValueError: not 32 bytes.
        """
        check_hash("leaf hash", leaf)
        level = 0
        self._levels[0].append(leaf)
        while len(self._levels[level]) % 2 == 0:
            left, right = self._levels[level][-2:]
            if level + 1 == len(self._levels):
                self._levels.append([])
            level += 1
            self._levels[level].append(node_hash(left, right))

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, by default all.

        Raises:
            ValueError: `size` is not in 0..the present size.
        """
        end = self.size if size is None else size
        self._check("size", end, self.size)
        return self._over(0, end) if end else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """The path from leaf `index` to the root over the first `size` leaves, bottom first.

        Raises:
            ValueError: not 0 ≤ index < size ≤ the present size.
        """
        self._check("size", size, self.size)
        self._check("index", index, size - 1)
        path = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """What shows that the tree of `new` leaves continues the one of `old`.

        Empty where `old` is 0 or equal to `new`: RFC 6962 has no proof for these.

        Raises:
            ValueError: not 0 ≤ old ≤ new ≤ the present size.
        """
        self._check("new size", new, self.size)
        self._check("old size", old, new)
        if old == 0:
            return ()
        path = []
        start, end = 0, new
        while end != old:
            middle = start + _split(end - start)
            if old <= middle:
                path.append(self._over(middle, end))
                end = middle
            else:
                path.append(self._over(start, middle))
                start = middle
        if start:  # else the old tree is a subtree whose root the verifier already has
            path.append(self._over(start, end))
        return tuple(reversed(path))

    def _over(self, start: int, end: int) -> bytes:
        """The root over leaves start..end − 1, start a multiple of a power of two ≥ end − start."""
        size = end - start
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._levels[level][start >> level]
        middle = start + _split(size)
        return node_hash(self._over(start, middle), self._over(middle, end))

    @staticmethod
    def _check(what: str, value: int, most: int) -> None:
        if not 0 <= value <= most:
            raise ValueError(f"{what}: {value} is not in 0..{most}")


def _split(size: int) -> int:
    """The largest power of two below `size` ≥ 2."""
    return 1 << (size - 1).bit_length() - 1
