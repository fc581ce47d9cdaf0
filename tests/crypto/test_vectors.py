"""The published vectors: the code agrees with them, and the script still makes them."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import feddiff_crypto
from feddiff_crypto.encoding import decode, encode
from feddiff_crypto.fixedpoint import Grid, round_nearest
from feddiff_crypto.keys import CONSISTENCY_LABEL, AgreementKey, IdentityKey, derive
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


@pytest.mark.parametrize("bits", [32, 64])
def test_grid_and_ring_values_are_the_published_ones(bits: int) -> None:
    (vector,) = [v for v in read("fixedpoint") if v["ring_bits"] == bits]
    steps = round_nearest(np.array(vector["values"]), vector["scale"])
    assert steps.tolist() == vector["grid"]
    assert Grid(vector["scale"], bits).to_ring(steps).tolist() == vector["ring"]
