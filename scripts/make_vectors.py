"""Write the test vectors of feddiff_crypto, for other implementations to read.

    python scripts/make_vectors.py

Each file is a JSON object {"about": …, "vectors": […]}; byte strings are hex. The bytes that stand
for randomness come from `VectorRandom`, so the files are the same each time. A test checks that
this script still makes the files that are in the package, and another one the code against them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import feddiff_crypto
from feddiff_crypto import keys
from feddiff_crypto.encoding import Value, canonical_digest, encode
from feddiff_crypto.fixedpoint import Grid, round_nearest
from feddiff_crypto.keys import AgreementKey, IdentityKey, derive
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


def build() -> dict[str, str]:
    """File name → its text."""
    suites = {
        "codec": codec(),
        "fixedpoint": fixedpoint(),
        "hkdf": hkdf(),
        "prg": prg(),
        "sealing": sealing(),
        "shamir": shamir(),
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
