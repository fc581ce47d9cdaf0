"""Checking Merkle proofs by the loops of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

They work on the bits of index and size and never build a tree, so they share neither code nor
recursion with `tree`, which makes the proofs. Each raises and never returns a bool.
"""

from __future__ import annotations

from collections.abc import Sequence

from feddiff_crypto.tlog.errors import LogProofError
from feddiff_crypto.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, node_hash


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Return if the tree of `size` leaves with this `root` has `leaf` at `index`.

    Args:
        leaf: the leaf's hash, 32 bytes.
        index: its place, from 0.
        size: the leaves of the tree, up to 2⁶³ − 1.
        path: the proof, the leaf's sibling first.
        root: the root, 32 bytes, from a checkpoint that is believed.

    Raises:
        LogProofError: it has not, or the proof is not exactly the one for this index and size.
    """
    _check_hashes([leaf, root, *path])
    if not 0 <= index < size <= MAX_SIZE:
        raise LogProofError(f"index {index} of a tree of {size} leaves")
    first, last = index, size - 1
    result = leaf
    for sibling in path:
        if last == 0:
            raise LogProofError(f"a path of {len(path)} hashes is too long for {size} leaves")
        if first & 1 or first == last:
            result = node_hash(sibling, result)
            while not first & 1 and first:  # levels at which the node has no sibling
                first, last = first >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        first, last = first >> 1, last >> 1
    if last:
        raise LogProofError(f"a path of {len(path)} hashes is too short for {size} leaves")
    if result != root:
        raise LogProofError(f"leaf {index} does not lead to the root of {size} leaves")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Return if the tree of `new_size` leaves begins with all leaves of the old one.

    Every tree continues the empty one, and a tree of the same size is the same tree; for both the
    proof must be empty.

    Args:
        old_size: the leaves of the tree that is already believed.
        old_root: its root, 32 bytes.
        new_size: the leaves of the other tree, at least `old_size`, up to 2⁶³ − 1.
        new_root: its root, 32 bytes.
        path: the proof.

    Raises:
        LogProofError: it does not, or the proof is not exactly the one for these sizes.
    """
    _check_hashes([old_root, new_root, *path])
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise LogProofError(f"a tree of {new_size} leaves does not continue one of {old_size}")
    if old_size in (0, new_size):
        if path:
            raise LogProofError(f"{old_size} to {new_size} leaves takes no proof")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise LogProofError(f"two roots for one tree of {old_size} leaves")
        if new_size == 0 and new_root != EMPTY_ROOT:
            raise LogProofError("a root of no leaves that is not the empty tree's")
        return
    _walk_consistency(old_size, old_root, new_size, new_root, path)


def _walk_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """RFC 9162, 2.1.4.2, for 0 < old_size < new_size."""
    whole = old_size & (old_size - 1) == 0  # then the old root is itself the first subtree
    hashes = [old_root, *path] if whole else list(path)
    if not path:
        raise LogProofError(f"{old_size} to {new_size} leaves takes a proof, and there is none")
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise LogProofError(f"a path of {len(path)} hashes is too long for {new_size} leaves")
        if first & 1 or first == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        first, last = first >> 1, last >> 1
    if last:
        raise LogProofError(f"a path of {len(path)} hashes is too short for {new_size} leaves")
    if old != old_root or new != new_root:
        raise LogProofError(f"{old_size} to {new_size} leaves: the proof misses one of the roots")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise LogProofError(f"a hash of {len(value)} bytes, expected {HASH_BYTES}")
