"""The published vectors of logs and attestations, checked without the project's code.

Hashes by hashlib, signatures by cryptography, formats by hand from the specifications (RFC 6962,
RFC 9162, C2SP, DSSE): what another implementation has to do to read our files.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import feddiff_crypto

FOLDER = Path(feddiff_crypto.__file__).parent / "vectors"
REFERENCE, WITNESSED = json.loads((FOLDER / "tlog.json").read_text(encoding="utf-8"))["vectors"]
(ATTESTED,) = json.loads((FOLDER / "attest.json").read_text(encoding="utf-8"))["vectors"]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def root(hashes: list[bytes]) -> bytes:
    """The root by levels, an odd last node rising as it is: RFC 6962's tree, another way."""
    if not hashes:
        return sha(b"")
    while len(hashes) > 1:
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        rest = hashes[-1:] if len(hashes) % 2 else []
        hashes = [sha(b"\x01" + left + right) for left, right in pairs] + rest
    return hashes[0]


def climbed(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path leads to: at each level, is there a sibling, and on which side?"""
    result, steps = leaf, iter(path)
    while size > 1:
        if index % 2:
            result = sha(b"\x01" + next(steps) + result)
        elif index + 1 < size:
            result = sha(b"\x01" + result + next(steps))
        index, size = index // 2, (size + 1) // 2
    assert next(steps, None) is None
    return result


def key(vector: dict[str, Any], name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["identities"][name]))


def test_the_reference_roots_and_paths_hold() -> None:
    leaves = [sha(b"\x00" + bytes.fromhex(leaf)) for leaf in REFERENCE["leaves"]]
    roots = [bytes.fromhex(value) for value in REFERENCE["roots"]]
    assert [root(leaves[:n]) for n in range(len(leaves) + 1)] == roots
    for proof in REFERENCE["inclusion"]:
        path = [bytes.fromhex(value) for value in proof["path"]]
        size = proof["size"]
        assert climbed(leaves[proof["index"]], proof["index"], size, path) == roots[size]
    assert len(REFERENCE["inclusion"]) == 36


def test_the_reference_consistency_proofs_hold() -> None:
    """Rebuild both roots from the proof: its nodes, left to right, are those of the old tree."""
    roots = [bytes.fromhex(value) for value in REFERENCE["roots"]]
    leaves = [sha(b"\x00" + bytes.fromhex(leaf)) for leaf in REFERENCE["leaves"]]

    def expected(old: int, start: int, end: int, known: bool) -> list[bytes]:
        if old == end:
            return [] if known else [root(leaves[start:end])]
        middle = start + 2 ** ((end - start - 1).bit_length() - 1)
        if old <= middle:
            return [*expected(old, start, middle, known), root(leaves[middle:end])]
        return [*expected(old, middle, end, False), root(leaves[start:middle])]

    for proof in REFERENCE["consistency"]:
        path = [bytes.fromhex(value) for value in proof["path"]]
        assert path == expected(proof["old"], 0, proof["new"], True)
        assert root(leaves[: proof["old"]]) == roots[proof["old"]]
    assert len(REFERENCE["consistency"]) == 28


def signed_lines(note: str) -> tuple[str, dict[str, bytes]]:
    text, _, lines = note.rpartition("\n\n")
    rows = [line.split(" ") for line in lines.splitlines()]
    assert all(dash == "—" for dash, _, _ in rows)
    return text + "\n", {name: base64.b64decode(blob) for _, name, blob in rows}


def test_the_checkpoint_is_that_of_the_log_and_is_signed_by_all() -> None:
    origin = WITNESSED["origin"]
    text, lines = signed_lines(WITNESSED["checkpoint"])
    leaves = WITNESSED["log"].encode().splitlines()
    assert all(json.loads(leaf) for leaf in leaves)
    expected = base64.b64encode(root([sha(b"\x00" + leaf) for leaf in leaves])).decode()
    assert text == f"{origin}\n{len(leaves)}\n{expected}\n"
    for name, blob in lines.items():
        public = key(WITNESSED, "log" if name == origin else name).public_key()
        kind = b"\x01" if name == origin else b"\x04"
        assert blob[:4] == sha(name.encode() + b"\n" + kind + public.public_bytes_raw())[:4]
        message = text
        if name != origin:
            message = f"cosignature/v1\ntime {int.from_bytes(blob[4:12], 'big')}\n{text}"
        public.verify(blob[-64:], message.encode())
        assert len(blob) == (68 if name == origin else 76)
    assert list(lines) == [origin, "ann", "bob", "cy", "dee"]
    assert WITNESSED["quorum"] == (4 + WITNESSED["colluders"]) // 2 + 1


def test_the_proof_file_leads_to_the_checkpoint() -> None:
    head, _, note = WITNESSED["proof"].partition("\n\n")
    version, extra, index, *path = head.split("\n")
    assert (version, note) == ("c2sp.org/tlog-proof@v1", WITNESSED["checkpoint"])
    leaf = base64.b64decode(extra.removeprefix("extra "))
    place = int(index.removeprefix("index "))
    assert WITNESSED["log"].encode().splitlines()[place] == leaf
    _, size, value = note.split("\n")[:3]
    hashes = [base64.b64decode(line) for line in path]
    assert climbed(sha(b"\x00" + leaf), place, int(size), hashes) == base64.b64decode(value)


def test_the_witness_remembers_the_checkpoint() -> None:
    origin, size, value = WITNESSED["checkpoint"].split("\n")[:3]
    state = json.loads(WITNESSED["state_of_ann"])
    expected = {"origin": origin, "size": int(size), "root": base64.b64decode(value).hex()}
    assert (state["witness"], state["logs"]) == ("ann", [expected])


def test_the_attestation_is_signed_by_both() -> None:
    envelope = json.loads(ATTESTED["envelope"])
    payload = base64.b64decode(envelope["payload"])
    assert payload.decode() == ATTESTED["statement"]
    kind = envelope["payloadType"]
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    assert message.hex() == ATTESTED["signed_bytes"]
    assert [row["keyid"] for row in envelope["signatures"]] == ["ann", "bob"]
    for row in envelope["signatures"]:
        key(ATTESTED, row["keyid"]).public_key().verify(base64.b64decode(row["sig"]), message)
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    compact = json.dumps(statement, separators=(",", ":"), sort_keys=True)
    assert compact == ATTESTED["statement"]  # ASCII and integers only: RFC 8785 by plain means
