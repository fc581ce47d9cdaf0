"""The parts of the test vectors that are about logs and attestations: see make_vectors.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from feddiff_crypto.attest.dsse import pae
from feddiff_crypto.attest.statement import PAYLOAD_TYPE, RUN_PREDICATE, Statement
from feddiff_crypto.jcs import Json
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.tlog.log import Log
from feddiff_crypto.tlog.merkle import leaf_hash
from feddiff_crypto.tlog.policy import LogPolicy
from feddiff_crypto.tlog.proof import Proof, make_proof
from feddiff_crypto.tlog.tree import MerkleTree
from feddiff_crypto.tlog.witness import Witness

ORIGIN: Final = "feddiff-secure.invalid/log/vectors"
NAMES: Final = ("ann", "bob", "cy", "dee")
TIME: Final = 1_750_000_000
# The leaves of the reference tree of google/certificate-transparency, whose roots are published.
REFERENCE_LEAVES: Final = tuple(
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)  # fmt: skip
LEAVES: Final[tuple[dict[str, Json], ...]] = (
    {"kind": "roster", "parties": list(NAMES)},
    {"kind": "config", "epsilon": 8.0, "sha256": "00" * 32},
    {"kind": "round", "round": 0, "survivors": list(NAMES)},
    {"kind": "round", "round": 1, "survivors": ["ann", "bob", "dee"], "note": "cy: señal €\n"},
    {"kind": "end", "noise": [1e-7, 0.002, 1e21, -0.0, 333333333.3333333], "ok": True},
)
PREDICATE: Final[dict[str, Json]] = {"config": "00" * 32, "version": "0.1.0"}


class StoredInMemory:
    """A witness's store for these vectors: one process, nothing to survive."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def read(self) -> bytes | None:
        """The stored bytes."""
        return self.data

    def update(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace them."""
        self.data = change(self.data)


def identities() -> dict[str, IdentityKey]:
    """The keys of the log and of its four witnesses."""
    random = VectorRandom(b"log")
    return {name: IdentityKey.generate(random) for name in ("log", *NAMES)}


def witnessed() -> tuple[Log, LogPolicy, Proof, bytes]:
    """A log that four owners witnessed at three and at five leaves; a proof; ann's state."""
    keys = identities()
    log = Log()
    stores = {name: StoredInMemory() for name in NAMES}
    followed = {ORIGIN: keys["log"].public}
    witnesses = {name: Witness(name, keys[name], followed, stores[name]) for name in NAMES}
    note = log.checkpoint(ORIGIN).sign(keys["log"])
    for leaf in LEAVES:
        log.append(leaf)
        if log.size in (3, 5):
            note = log.checkpoint(ORIGIN).sign(keys["log"])
            for i, name in enumerate(NAMES):
                proof = log.consistency_proof(witnesses[name].last(ORIGIN).size)
                note = note.with_signature(witnesses[name].cosign(note, proof, TIME + i))
    registry = Registry({name: keys[name].public for name in NAMES})
    policy = LogPolicy(ORIGIN, keys["log"].public, registry, colluders=1)
    state = stores["ann"].data
    assert state is not None
    return log, policy, make_proof(log, 3, note), state


def tlog() -> dict[str, Any]:
    """Every proof of the reference tree, and a log with all its files."""
    tree = MerkleTree()
    for leaf in REFERENCE_LEAVES:
        tree.append(leaf_hash(leaf))
    size = tree.size
    reference = {
        "name": "reference tree",
        "leaves": [leaf.hex() for leaf in REFERENCE_LEAVES],
        "roots": [tree.root(n).hex() for n in range(size + 1)],
        "inclusion": [
            {"index": i, "size": n, "path": [h.hex() for h in tree.inclusion_proof(i, n)]}
            for n in range(1, size + 1)
            for i in range(n)
        ],
        "consistency": [
            {"old": m, "new": n, "path": [h.hex() for h in tree.consistency_proof(m, n)]}
            for n in range(1, size + 1)
            for m in range(1, n)
        ],
    }
    log, policy, proof, state = witnessed()
    whole = {
        "name": "witnessed log",
        "origin": ORIGIN,
        "identities": {name: key.raw.hex() for name, key in identities().items()},
        "colluders": policy.colluders,
        "quorum": policy.quorum,
        "log": log.to_bytes().decode(),
        "checkpoint": proof.note.to_bytes().decode(),
        "state_of_ann": state.decode(),
        "proof": proof.to_bytes().decode(),
    }
    about = "RFC 6962 trees and proofs; a log's file, cosigned checkpoint, witness state and proof"
    return {"about": about, "vectors": [reference, whole]}


def attestation() -> dict[str, Any]:
    """A statement that two owners signed."""
    keys = identities()
    statement = Statement(
        {"model.safetensors": bytes(32), "config.toml": bytes(range(32))}, RUN_PREDICATE, PREDICATE
    )
    payload = statement.to_bytes()
    envelope = statement.sign({name: keys[name] for name in ("bob", "ann")})
    vector = {
        "identities": {name: keys[name].raw.hex() for name in ("ann", "bob")},
        "statement": payload.decode(),
        "signed_bytes": pae(PAYLOAD_TYPE, payload).hex(),
        "envelope": envelope.to_bytes().decode(),
    }
    return {"about": "an in-toto Statement in a DSSE envelope of two signers", "vectors": [vector]}
