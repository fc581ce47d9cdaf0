"""Write the test vectors of feddiff_crypto, for other implementations to read.

    python scripts/make_vectors.py

Each file is a JSON object {"about": …, "vectors": […]}; byte strings are hex. The bytes that stand
for randomness come from `VectorRandom`, so the files are the same each time; ML-KEM-768, whose
encapsulation cannot be told its randomness, comes from `mlkem.json`, which is not made here. A test
checks that this script still makes the files that are in the package, and another one the code
against them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from log_vectors import attestation, tlog

import feddiff_crypto
from feddiff_crypto import keys
from feddiff_crypto.encoding import Value, canonical_digest, encode
from feddiff_crypto.fixedpoint import Grid, round_nearest
from feddiff_crypto.hybrid import HybridPublic
from feddiff_crypto.keys import AgreementKey, IdentityKey, Registry, derive
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.contributions import contribution, seal_contribution
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.seeds import hybrid_pairwise_seed
from feddiff_crypto.mlkem import Encapsulation, KemPublic
from feddiff_crypto.prg import MaskSeed, add_masks
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.sealing import seal
from feddiff_crypto.shamir import PRIME, split

FOLDER = Path(feddiff_crypto.__file__).parent / "vectors"
MESSAGES: list[tuple[str, dict[str, Value]]] = [
    ("no field", {}),
    ("each scalar", {"b": True, "f": -0.5, "i": -2, "n": math.nan, "s": "señal", "y": b"\x00\xff"}),
    ("order of keys is that of their bytes", {"é": 1, "z": 2, "Z": 3}),
    ("an array of uint32", {"v": np.array([[1, 2, 3], [4, 5, 2**32 - 1]], np.uint32)}),
    ("an array without elements", {"v": np.zeros((0, 3), np.float64)}),
    ("an array without dimensions", {"v": np.array(-1, np.int64)}),
]


def describe(value: Value) -> list[Any]:
    """A value as JSON: its type, then what it holds."""
    match value:
        case np.ndarray():
            return [value.dtype.name, list(value.shape), value.ravel().tolist()]
        case bytes():
            return ["bytes", value.hex()]
        case float() if math.isnan(value):
            return ["float", "NaN"]
        case _:
            return [type(value).__name__, value]


def codec() -> dict[str, Any]:
    """Messages described in words, with their one encoding."""
    about = "messages as key → [type, value], their one encoding and its SHA-256 digest"
    vectors = [
        {
            "name": name,
            "message": {key: describe(value) for key, value in message.items()},
            "encoding": encode(message).hex(),
            "digest": canonical_digest(message).hex(),
        }
        for name, message in MESSAGES
    ]
    return {"about": about, "vectors": vectors}


def prg() -> dict[str, Any]:
    """The first elements of mask streams."""
    about = "the first elements of the mask stream of a seed, in the ring of 2^ring_bits"
    vectors = []
    for seed in (bytes(32), bytes(range(32))):
        for bits, zeros in ((32, np.zeros(6, np.uint32)), (64, np.zeros(6, np.uint64))):
            add_masks(zeros, [MaskSeed(seed)])
            vectors.append({"seed": seed.hex(), "ring_bits": bits, "elements": zeros.tolist()})
    return {"about": about, "vectors": vectors}


def hkdf() -> dict[str, Any]:
    """One derived key a label."""
    about = "HKDF-SHA256 without salt to 32 bytes; info = label, a zero byte, context"
    secret, context = bytes(range(32)), b"context"
    labels = sorted(value for name, value in vars(keys).items() if name.endswith("_LABEL"))
    vectors = [
        {
            "secret": secret.hex(),
            "label": label.decode(),
            "context": context.hex(),
            "key": derive(secret, label, context).hex(),
        }
        for label in labels
    ]
    return {"about": about, "vectors": vectors}


def shamir() -> dict[str, Any]:
    """Shared secrets; any `threshold` shares open each."""
    about = f"any `threshold` shares [x, y] open the secret; the prime is {PRIME}"
    vectors = []
    for threshold, count in ((1, 2), (2, 3), (4, 5)):
        random = VectorRandom(f"shamir {threshold} of {count}".encode())
        secret = random.random_bytes(32)
        shares = split(secret, threshold, range(1, count + 1), random)
        vectors.append(
            {
                "threshold": threshold,
                "secret": secret.hex(),
                "shares": [[share.x, share.to_bytes().hex()] for share in shares],
            }
        )
    return {"about": about, "vectors": vectors}


def sealing() -> dict[str, Any]:
    """A sealed share and a signature."""
    random = VectorRandom(b"sealing")
    sender, recipient = AgreementKey.generate(random), AgreementKey.generate(random)
    identity = IdentityKey.generate(random)
    context, plaintext = random.random_bytes(32), random.random_bytes(66)
    sealed = seal(
        plaintext, key=sender, peer=recipient.public, context=context, sender="ann", recipient="bob"
    )
    vector = {
        "sender": "ann",
        "sender_key": sender.raw.hex(),
        "recipient": "bob",
        "recipient_key": recipient.raw.hex(),
        "context": context.hex(),
        "plaintext": plaintext.hex(),
        "sealed": sealed.hex(),
        "identity": identity.raw.hex(),
        "signature_of_context": identity.sign(keys.CONSISTENCY_LABEL, context).hex(),
    }
    about = "shares sealed from one owner to another; an Ed25519 signature labelled as consistency"
    return {"about": about, "vectors": [vector]}


def mlkem() -> dict[str, Any]:
    """The published vector of ML-KEM-768, as it is in the package."""
    published: dict[str, Any] = json.loads((FOLDER / "mlkem.json").read_text(encoding="utf-8"))
    return published


class PublishedKey(KemPublic):
    """The public key of `mlkem.json`, to which its one ciphertext is always encapsulated."""

    @classmethod
    def read(cls) -> PublishedKey:
        """The key of the file."""
        return cls(bytes.fromhex(mlkem()["vectors"][0]["public_key"]))

    def encapsulate(self) -> Encapsulation:
        """The secret and ciphertext of the file."""
        (known,) = mlkem()["vectors"]
        return Encapsulation(bytes.fromhex(known["secret"]), bytes.fromhex(known["ciphertext"]))


def hybrid() -> dict[str, Any]:
    """Every derivation of the hybrid key agreement, between ann and bob."""
    random, kem = VectorRandom(b"hybrid"), PublishedKey.read()
    before, context, plaintext = (random.random_bytes(n) for n in (32, 32, 66))
    sender, recipient = AgreementKey.generate(random), AgreementKey.generate(random)
    identity, secret = IdentityKey.generate(random), random.random_bytes(32)
    mask_key = HybridMaskKey.derive(secret, "ann", before)
    ours = contribution(secret, "ann", "bob", context)
    names: dict[str, Any] = {"sender": "ann", "recipient": "bob", "context": context}
    peer = HybridPublic(recipient.public, kem)
    seed = hybrid_pairwise_seed(
        ours,
        key=mask_key.agreement,
        party="ann",
        peer_key=recipient.public,
        peer="bob",
        context=context,
    )
    vector = {
        "context": before.hex(),
        "context_with_roster": context.hex(),
        "mask_secret_of_ann": secret.hex(),
        "mask_key_x25519": mask_key.agreement.raw.hex(),
        "mask_key_mlkem_seed": mask_key.kem.seed.hex(),
        "mask_public_mlkem": mask_key.kem.public.raw.hex(),
        "contribution_ann_to_bob": ours.hex(),
        "sealed_contribution": seal_contribution(ours, peer=kem, identity=identity, **names).hex(),
        "identity_of_ann": identity.raw.hex(),
        "bob_x25519": recipient.raw.hex(),
        "pairwise_seed": seed.key.hex(),
        "sealing_key_of_ann": sender.raw.hex(),
        "plaintext": plaintext.hex(),
        "sealed": seal(plaintext, key=sender, peer=peer, **names).hex(),
    }
    about = "hybrid key agreement; bob's ML-KEM-768 key and the one encapsulation: mlkem.json"
    return {"about": about, "vectors": [vector]}


def fixedpoint() -> dict[str, Any]:
    """Real values on the grid and in the ring."""
    values = np.array([0.0, 0.25, 0.75, -0.25, -0.75, 1.5, -1000.125])
    vectors = []
    for bits in (32, 64):
        grid = Grid(2.0, bits)
        steps = round_nearest(values, grid.scale)
        ring = grid.to_ring(steps)
        vectors.append(
            {
                "scale": grid.scale,
                "ring_bits": bits,
                "values": values.tolist(),
                "grid": steps.tolist(),
                "ring": ring.tolist(),
            }
        )
    return {
        "about": "round(value · scale), ties to even, and modulo 2^ring_bits",
        "vectors": vectors,
    }


def whole_round() -> dict[str, Any]:
    """Every message of one round of four owners, of whom `cy` drops out after sharing."""
    names = ("ann", "bob", "cy", "dee")
    sources = {name: VectorRandom(f"round {name}".encode()) for name in names}
    identities = {name: IdentityKey.generate(source) for name, source in sources.items()}
    registry = Registry({name: key.public for name, key in identities.items()})
    policy = Policy(len(names), dropouts=1, colluders=1)
    context = RoundContext("session", 3, 0, bytes(range(32)), bytes(range(32, 64)))
    vectors = {name: np.array([i, 2**32 - 1 - i, 7], np.uint32) for i, name in enumerate(names)}
    shared: dict[str, Any] = {"registry": registry, "policy": policy, "context": context}
    sent: dict[str, dict[str, str]] = {}

    def play(
        phase: str, steps: dict[str, tuple[Any, Any]]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The states and messages of a phase; the messages are kept for the file."""
        messages = {name: message for name, (_, message) in steps.items()}
        sent[phase] = {name: encode(m.to_message()).hex() for name, m in messages.items()}
        return {name: state for name, (state, _) in steps.items()}, messages

    owners: dict[str, Any] = {
        name: OwnerStart(party=name, identity=identities[name], random=sources[name], **shared)
        for name in names
    }
    owners, adverts = play("advertise", {name: owners[name].advertise() for name in names})
    sharing, rosters = CoordinatorStart(**shared, dimension=3).roster(adverts)
    owners, shares = play("share", {name: owners[name].share(rosters[name]) for name in names})
    masking, delivered = sharing.deliver(shares)
    present = [name for name in names if name != "cy"]
    masked = {name: owners[name].mask(delivered[name], vectors[name]) for name in present}
    owners, inputs = play("masked input", masked)
    consistency, sets = masking.collect(inputs)
    owners, signed = play("consistency", {name: owners[name].sign(sets[name]) for name in present})
    unmasking, requests = consistency.request(signed)
    replies = {name: owners[name].reveal(requests[name], lambda _: None) for name in present}
    result = unmasking.finish(play("unmask", replies)[1])
    vector = {
        "owners": policy.owners,
        "dropouts": policy.dropouts,
        "colluders": policy.colluders,
        "threshold": policy.threshold,
        "session": context.session,
        "round_index": context.round_index,
        "attempt": context.attempt,
        "model_hash": context.model_hash.hex(),
        "config_hash": context.config_hash.hex(),
        "context": context.digest().hex(),
        "roster_hash": result.roster.digest().hex(),
        "context_with_roster": result.context.hex(),
        "identities": {name: key.raw.hex() for name, key in identities.items()},
        "vectors": {name: v.tolist() for name, v in vectors.items()},
        "messages": sent,
        "survivors": list(result.survivors),
        "self_secrets": {name: s.hex() for name, s in result.revealed.self_secrets.items()},
        "mask_keys": {name: key.raw.hex() for name, key in result.revealed.mask_keys.items()},
        "sum": result.total.tolist(),
    }
    about = "one round in full: who knew what, each owner's encoded messages, and the opened sum"
    return {"about": about, "vectors": [vector]}


def build() -> dict[str, str]:
    """File name → its text."""
    suites = {
        "attest": attestation(),
        "codec": codec(),
        "fixedpoint": fixedpoint(),
        "hkdf": hkdf(),
        "hybrid": hybrid(),
        "mlkem": mlkem(),
        "prg": prg(),
        "round": whole_round(),
        "sealing": sealing(),
        "shamir": shamir(),
        "tlog": tlog(),
    }
    return {
        f"{name}.json": json.dumps(suite, indent=1, ensure_ascii=False) + "\n"
        for name, suite in suites.items()
    }


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in build().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


if __name__ == "__main__":
    main()
