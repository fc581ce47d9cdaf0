"""RFC 6962 trees: published roots and proofs, a recursive oracle, and altered proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.tlog.errors import LogProofError
from feddiff_crypto.tlog.merkle import (
    EMPTY_ROOT,
    MAX_SIZE,
    CompactRange,
    leaf_hash,
    merkle_root,
    node_hash,
)
from feddiff_crypto.tlog.merkle_proof import verify_consistency, verify_inclusion
from feddiff_crypto.tlog.tree import MerkleTree

MOST = 300
DATA = [i.to_bytes(2, "big") * (i % 5) for i in range(MOST)]
HASHES = [leaf_hash(leaf) for leaf in DATA]

# The reference tree of github.com/google/certificate-transparency (merkle_tree_test.cc) and of
# github.com/transparency-dev/merkle (proof/verify_test.go).
REFERENCE_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
REFERENCE_INCLUSION = {  # (index, size): path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
REFERENCE_CONSISTENCY = {  # (old, new): path
    (1, 1): [],
    (1, 8): REFERENCE_INCLUSION[0, 8],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


def grown(hashes: Sequence[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for value in hashes:
        tree.append(value)
    return tree


TREE = grown(HASHES)
ROOTS = [TREE.root(n) for n in range(MOST + 1)]


# RFC 6962, sections 2.1, 2.1.1 and 2.1.2, as they are written there: lists and recursion, no cache.
def oracle_split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def oracle_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = oracle_split(len(leaves))
    return hashlib.sha256(b"\x01" + oracle_root(leaves[:k]) + oracle_root(leaves[k:])).digest()


def oracle_path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = oracle_split(len(leaves))
    if m < k:
        return [*oracle_path(m, leaves[:k]), oracle_root(leaves[k:])]
    return [*oracle_path(m - k, leaves[k:]), oracle_root(leaves[:k])]


def oracle_subproof(m: int, leaves: Sequence[bytes], known: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if known else [oracle_root(leaves)]
    k = oracle_split(len(leaves))
    if m <= k:
        return [*oracle_subproof(m, leaves[:k], known), oracle_root(leaves[k:])]
    return [*oracle_subproof(m - k, leaves[k:], False), oracle_root(leaves[:k])]


sizes = st.integers(1, MOST)


def test_roots_of_the_reference_tree_are_the_published_ones() -> None:
    tree = grown([leaf_hash(leaf) for leaf in REFERENCE_LEAVES])
    for n, root in enumerate(REFERENCE_ROOTS):
        assert tree.root(n).hex() == root
        assert merkle_root(REFERENCE_LEAVES[:n]).hex() == root


def test_proofs_of_the_reference_tree_are_the_published_ones() -> None:
    tree = grown([leaf_hash(leaf) for leaf in REFERENCE_LEAVES])
    roots = [bytes.fromhex(root) for root in REFERENCE_ROOTS]
    for (index, size), path in REFERENCE_INCLUSION.items():
        published = [bytes.fromhex(value) for value in path]
        assert list(tree.inclusion_proof(index, size)) == published
        leaf = leaf_hash(REFERENCE_LEAVES[index])
        verify_inclusion(leaf, index, size, published, roots[size])
    for (old, new), path in REFERENCE_CONSISTENCY.items():
        published = [bytes.fromhex(value) for value in path]
        assert list(tree.consistency_proof(old, new)) == published
        verify_consistency(old, roots[old], new, roots[new], published)


@given(sizes)
@settings(max_examples=40)
def test_roots_are_the_oracles_at_every_size(size: int) -> None:
    assert TREE.root(size) == oracle_root(DATA[:size]) == merkle_root(DATA[:size])


@given(sizes, st.data())
@settings(max_examples=40)
def test_proofs_are_the_oracles(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert list(TREE.inclusion_proof(index, size)) == oracle_path(index, DATA[:size])
    old = data.draw(st.integers(1, size))
    assert list(TREE.consistency_proof(old, size)) == oracle_subproof(old, DATA[:size], True)


def test_a_compact_range_has_the_root_at_every_size() -> None:
    growing = CompactRange()
    assert growing.root == EMPTY_ROOT
    for n, value in enumerate(HASHES, start=1):
        growing.append(value)
        assert (growing.size, growing.root) == (n, ROOTS[n])


def test_every_leaf_is_proven_at_every_size() -> None:
    for size in [*range(1, 65), 127, 128, 129, 200, 255, 256, 257, MOST]:
        for index in range(size):
            path = TREE.inclusion_proof(index, size)
            verify_inclusion(HASHES[index], index, size, path, ROOTS[size])


def test_every_size_is_shown_to_continue_every_smaller_one() -> None:
    for new in range(MOST + 1):
        for old in range(new + 1):
            path = TREE.consistency_proof(old, new)
            verify_consistency(old, ROOTS[old], new, ROOTS[new], path)


def altered(path: Sequence[bytes], bit: int) -> list[list[bytes]]:
    """Every way to drop, repeat, flip, swap, lengthen or shorten one hash of a path."""
    ways = [[*path, HASHES[0]], [HASHES[0], *path], [*path, *path] or [EMPTY_ROOT]]
    for i, value in enumerate(path):
        flipped = bytearray(value)
        flipped[bit // 8 % 32] ^= 1 << bit % 8
        before, after = list(path[:i]), list(path[i + 1 :])
        ways += [before + after, [*before, value, value, *after], [*before, bytes(flipped), *after]]
        ways += [[*before, value[:-1], *after], [*before, value + b"\x00", *after]]
        if after and after[0] != value:
            ways.append([*before, after[0], value, *after[1:]])
    return [way for way in ways if way != list(path)]


@given(sizes, st.data())
@settings(max_examples=60)
def test_an_altered_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.integers(0, 255))
    leaf, root, path = HASHES[index], ROOTS[size], TREE.inclusion_proof(index, size)
    for way in altered(path, bit):
        with pytest.raises(LogProofError):
            verify_inclusion(leaf, index, size, way, root)
    other = data.draw(st.integers(-1, MOST + 1).filter(lambda i: i != index))
    claims = [(leaf, other, size, root), (HASHES[index - 1], index, size, root)]
    claims += [(leaf, index, size, node_hash(root, root)), (leaf, index, size, root[:-1])]
    for claim_leaf, claim_index, claim_size, claim_root in claims:
        if claim_leaf == leaf and claim_index == index and claim_root == root:
            continue  # a tree of one leaf, or two equal leaves
        with pytest.raises(LogProofError):
            verify_inclusion(claim_leaf, claim_index, claim_size, path, claim_root)


@given(sizes, sizes, st.integers(0, 255))
@settings(max_examples=60)
def test_an_altered_consistency_proof_fails(one: int, other: int, bit: int) -> None:
    old, new = sorted((one, other))
    path = TREE.consistency_proof(old, new)
    for way in altered(path, bit):
        with pytest.raises(LogProofError):
            verify_consistency(old, ROOTS[old], new, ROOTS[new], way)
    forged = node_hash(ROOTS[old], ROOTS[new])
    for old_root, new_root in ((forged, ROOTS[new]), (ROOTS[old], forged), (forged, b"")):
        with pytest.raises(LogProofError):
            verify_consistency(old, old_root, new, new_root, path)
    if old < new:
        with pytest.raises(LogProofError):
            verify_consistency(new, ROOTS[new], old, ROOTS[old], path)
        with pytest.raises(LogProofError):
            verify_consistency(old, ROOTS[new], new, ROOTS[old], path)


@given(st.integers(2, MOST), st.data())
@settings(max_examples=60)
def test_a_rewritten_history_is_not_shown_to_continue_the_old_one(
    new: int, data: st.DataObject
) -> None:
    """The log changes one old leaf and makes the best proof that it can."""
    old = data.draw(st.integers(1, new))
    changed = data.draw(st.integers(0, old - 1))
    hashes = [*HASHES[:changed], leaf_hash(b"changed"), *HASHES[changed + 1 : new]]
    fork = grown(hashes)
    for path in (fork.consistency_proof(old, new), TREE.consistency_proof(old, new)):
        with pytest.raises(LogProofError):
            verify_consistency(old, ROOTS[old], new, fork.root(new), path)


def test_a_node_cannot_be_shown_as_a_leaf() -> None:
    left, right = HASHES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)
    verify_inclusion(left, 0, 2, [right], ROOTS[2])
    with pytest.raises(LogProofError):  # the root of two leaves as a single leaf
        verify_inclusion(leaf_hash(left + right), 0, 1, [], ROOTS[2])


def test_what_continues_nothing_needs_no_proof_and_takes_none() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 5, ROOTS[5], [])
    verify_consistency(5, ROOTS[5], 5, ROOTS[5], [])
    for old, old_root, new, new_root, path in (
        (0, ROOTS[1], 5, ROOTS[5], []),  # a root of no leaves that is not the empty one
        (0, EMPTY_ROOT, 0, ROOTS[1], []),
        (0, EMPTY_ROOT, 5, ROOTS[5], [ROOTS[1]]),
        (5, ROOTS[5], 5, ROOTS[5], [ROOTS[1]]),
        (5, ROOTS[5], 5, ROOTS[4], []),
        (4, ROOTS[4], 5, ROOTS[5], []),
        (-1, EMPTY_ROOT, 5, ROOTS[5], []),
        (1, ROOTS[1], MAX_SIZE + 1, ROOTS[5], [ROOTS[1]] * 63),
    ):
        with pytest.raises(LogProofError):
            verify_consistency(old, old_root, new, new_root, path)


def test_sizes_up_to_the_limit_are_walked_without_building_anything() -> None:
    leaf = HASHES[0]
    path = [HASHES[i] for i in range(63)]
    root = leaf
    for sibling in path:
        root = node_hash(root, sibling)
    verify_inclusion(leaf, 0, MAX_SIZE, path, root)
    with pytest.raises(LogProofError, match="index"):
        verify_inclusion(leaf, 0, MAX_SIZE + 1, path, root)
    with pytest.raises(LogProofError, match="too long"):
        verify_inclusion(leaf, 0, MAX_SIZE, [*path, leaf], root)
    with pytest.raises(LogProofError, match="too short"):
        verify_inclusion(leaf, 0, MAX_SIZE, path[:-1], root)


def test_a_caller_who_asks_for_what_the_tree_does_not_have_is_told() -> None:
    small = grown(HASHES[:3])
    for call in (
        lambda: small.root(4),
        lambda: small.root(-1),
        lambda: small.inclusion_proof(3, 3),
        lambda: small.inclusion_proof(0, 4),
        lambda: small.inclusion_proof(0, 0),
        lambda: small.consistency_proof(2, 1),
        lambda: small.consistency_proof(1, 4),
        lambda: small.append(b"short"),
        lambda: CompactRange().append(b"short"),
    ):
        with pytest.raises(ValueError, match=r"not in|bytes"):
            call()
    assert (small.size, small.root()) == (3, ROOTS[3])
