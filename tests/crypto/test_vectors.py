"""The published vectors: the code agrees with them, and the script still makes them."""

from __future__ import annotations

import hmac
import importlib.util
import itertools
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import feddiff_crypto
from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.fixedpoint import Grid, round_nearest
from feddiff_crypto.hybrid import HybridKey
from feddiff_crypto.keys import CONSISTENCY_LABEL, AgreementKey, IdentityKey, Registry, derive
from feddiff_crypto.masking.contributions import (
    check_contributions,
    contribution,
    open_contribution,
)
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.seeds import hybrid_pairwise_seed
from feddiff_crypto.mlkem import KemKey
from feddiff_crypto.prg import MaskSeed, add_masks
from feddiff_crypto.sealing import unseal
from feddiff_crypto.shamir import Share, combine

FOLDER = Path(feddiff_crypto.__file__).parent / "vectors"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_vectors.py"
sys.path.append(str(SCRIPT.parent))  # the scripts import each other


def read(name: str) -> list[dict[str, Any]]:
    suite: dict[str, list[dict[str, Any]]] = json.loads(
        (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    )
    assert suite["vectors"]
    return suite["vectors"]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_vectors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_still_makes_the_published_files() -> None:
    files = script().build()
    assert {path.name for path in FOLDER.glob("*.json")} == set(files)
    for name, text in files.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text


def test_encodings_are_the_published_ones_and_read_back() -> None:
    described = dict(script().MESSAGES)
    for vector in read("codec"):
        raw = bytes.fromhex(vector["encoding"])
        assert encode(described[vector["name"]]) == raw
        assert encode(decode(raw)) == raw


def test_mask_streams_are_the_published_ones() -> None:
    for vector in read("prg"):
        stream = np.zeros(6, f"u{vector['ring_bits'] // 8}")
        add_masks(stream, [MaskSeed(bytes.fromhex(vector["seed"]))])
        assert stream.tolist() == vector["elements"]


def test_the_zero_seeds_stream_begins_with_the_known_aes_block() -> None:
    """AES-256 of the zero block under the zero key: dc95c078a2408989ad48a21492842087."""
    first = next(v for v in read("prg") if v["seed"] == "00" * 32 and v["ring_bits"] == 32)
    block = np.array(first["elements"][:4], "<u4").tobytes()
    assert block.hex() == "dc95c078a2408989ad48a21492842087"


def test_derived_keys_are_the_published_ones() -> None:
    for vector in read("hkdf"):
        secret, context = bytes.fromhex(vector["secret"]), bytes.fromhex(vector["context"])
        assert derive(secret, vector["label"].encode(), context).hex() == vector["key"]


def test_published_shares_open_the_published_secrets() -> None:
    for vector in read("shamir"):
        shares = [Share.from_bytes(x, bytes.fromhex(y)) for x, y in vector["shares"]]
        for chosen in itertools.combinations(shares, vector["threshold"]):
            assert combine(chosen, vector["threshold"]).hex() == vector["secret"]


def test_the_published_sealed_share_opens_and_its_signature_verifies() -> None:
    (vector,) = read("sealing")
    raw = {name: value for name, value in vector.items() if name not in ("sender", "recipient")}
    raw = {name: bytes.fromhex(value) for name, value in raw.items()}
    opened = unseal(
        raw["sealed"],
        key=AgreementKey(raw["recipient_key"]),
        peer=AgreementKey(raw["sender_key"]).public,
        context=raw["context"],
        sender=vector["sender"],
        recipient=vector["recipient"],
    )
    assert opened == raw["plaintext"]
    identity = IdentityKey(raw["identity"]).public
    identity.verify(raw["signature_of_context"], CONSISTENCY_LABEL, raw["context"])


def test_the_published_hybrid_keys_and_seeds_follow_from_the_published_secrets() -> None:
    (v,) = read("hybrid")
    secret, context = bytes.fromhex(v["mask_secret_of_ann"]), bytes.fromhex(v["context"])
    later = bytes.fromhex(v["context_with_roster"])
    key = HybridMaskKey.derive(secret, "ann", context)
    assert key.agreement.raw.hex() == v["mask_key_x25519"]
    assert key.kem.seed.hex() == v["mask_key_mlkem_seed"]
    assert key.kem.public.raw.hex() == v["mask_public_mlkem"]
    k = contribution(secret, "ann", "bob", later)
    assert k.hex() == v["contribution_ann_to_bob"]
    bob = AgreementKey(bytes.fromhex(v["bob_x25519"]))
    for own, party, peer, name in (
        (key.agreement, "ann", bob, "bob"),
        (bob, "bob", key.agreement, "ann"),
    ):
        seed = hybrid_pairwise_seed(
            k, key=own, party=party, peer_key=peer.public, peer=name, context=later
        )
        assert seed.key.hex() == v["pairwise_seed"]


def test_what_was_sealed_to_the_published_mlkem_key_opens() -> None:
    (v,), (known,) = read("hybrid"), read("mlkem")
    kem = KemKey(bytes.fromhex(known["seed"]))
    later = bytes.fromhex(v["context_with_roster"])
    names: dict[str, Any] = {"sender": "ann", "recipient": "bob", "context": later}
    bob = HybridKey(AgreementKey(bytes.fromhex(v["bob_x25519"])), kem)
    peer = AgreementKey(bytes.fromhex(v["sealing_key_of_ann"])).public
    sealed, row = bytes.fromhex(v["sealed"]), bytes.fromhex(v["sealed_contribution"])
    assert unseal(sealed, key=bob, peer=peer, **names).hex() == v["plaintext"]
    assert open_contribution(row, key=kem, **names).hex() == v["contribution_ann_to_bob"]
    ann = IdentityKey(bytes.fromhex(v["identity_of_ann"]))
    check_contributions({"ann": row}, "bob", Registry({"ann": ann.public}), later)


def test_the_published_hybrid_derivations_are_plain_hkdf_of_what_the_page_names() -> None:
    """HKDF-SHA256 by hmac alone, as docs/protocol.md describes it, without this package's code."""
    (v,) = read("hybrid")
    secret, context = bytes.fromhex(v["mask_secret_of_ann"]), bytes.fromhex(v["context"])
    later = bytes.fromhex(v["context_with_roster"])

    def hkdf(material: bytes, label: str, **bound: Any) -> str:
        info = b"feddiff-secure v1 " + label.encode() + b"\0" + sha256(encode(bound)).digest()
        extracted = hmac.digest(bytes(32), material, "sha256")
        return hmac.digest(extracted, info + b"\x01", "sha256").hex()

    ann = {"context": context, "party": "ann"}
    assert hkdf(secret, "hybrid mask key x25519", **ann) == v["mask_key_x25519"]
    d, z = (hkdf(secret, f"hybrid mask key ml-kem {part}", **ann) for part in "dz")
    assert d + z == v["mask_key_mlkem_seed"]
    to_bob = {"context": later, "sender": "ann", "recipient": "bob"}
    k = hkdf(secret, "hybrid contribution", **to_bob)
    assert k == v["contribution_ann_to_bob"]
    x25519 = X25519PrivateKey.from_private_bytes(bytes.fromhex(v["mask_key_x25519"])).exchange(
        X25519PrivateKey.from_private_bytes(bytes.fromhex(v["bob_x25519"])).public_key()
    )
    pair = {"context": later, "first": "ann", "second": "bob"}
    seed = hkdf(bytes.fromhex(k) + x25519, "hybrid pairwise mask", **pair)
    assert seed == v["pairwise_seed"]


@pytest.mark.parametrize("bits", [32, 64])
def test_grid_and_ring_values_are_the_published_ones(bits: int) -> None:
    (vector,) = [v for v in read("fixedpoint") if v["ring_bits"] == bits]
    steps = round_nearest(np.array(vector["values"]), vector["scale"])
    assert steps.tolist() == vector["grid"]
    assert Grid(vector["scale"], bits).to_ring(steps).tolist() == vector["ring"]
