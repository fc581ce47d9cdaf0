"""Write tests/crypto/bad_messages: one small file a known attack on a parser, and their README.

    python scripts/make_bad_messages.py

A file is named `parser--attack.bin`. The table below says which error refuses it and which words
that error's message has. A test checks that this script still makes the files, and that each is
refused as stated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from bad_encrypted_messages import rows_of_encrypted_mode
from bad_log_messages import ROWS
from bad_transcript_messages import ROWS as TRANSCRIPT_ROWS
from hybrid_bad_messages import hybrid_attacks

from feddiff_crypto.encoding import Value, encode
from feddiff_crypto.identity_file import store_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.masking import messages as m
from feddiff_crypto.randomness import VectorRandom
from feddiff_crypto.registry_file import RegistryFile
from feddiff_crypto.rotation import Rotation

FOLDER: Final = Path(__file__).parents[1] / "tests" / "crypto" / "bad_messages"
CONTEXT: Final = bytes(range(32))
RANDOM: Final = VectorRandom(b"bad messages")
ANN, BOB = IdentityKey.generate(RANDOM), IdentityKey.generate(RANDOM)


@dataclass(frozen=True)
class Bad:
    """One attack: the parser it is for, its bytes, and how it is refused."""

    parser: str
    attack: str
    data: bytes
    error: str
    words: str
    why: str

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.parser}--{self.attack}.bin"


def codec() -> list[Bad]:
    """Attacks on the codec that every message goes through."""
    head, one = b"FDM\x01", struct.pack("<H", 1)
    key = struct.pack("<H", 1) + b"v"
    array = head + one + key + b"\x06\x02"  # an array of uint32, its dimensions to follow
    padded = head + one + b"\x02\x00vv\x06\x02\x01\x01\x00\x00\x00"  # its element begins at 24
    good = encode({"a": 1, "b": 2})
    swapped = good[:6] + good[18:] + good[6:18]
    twice = good[:6] + good[6:18] + good[6:18]
    signalling = head + one + key + b"\x03" + struct.pack("<Q", 0x7FF0000000000001)
    rows = [
        ("empty", b"", "DecodeError", "header", "no message at all"),
        ("pickle", b"\x80\x04cos\nsystem\n.", "DecodeError", "header", "code to be unpickled"),
        ("truncated", good[:-1], "DecodeError", "are left", "a message cut short"),
        ("trailing", good + b"\x00", "DecodeError", "follow", "a second meaning behind the first"),
        ("repeated-field", twice, "DecodeError", "ascending", "two values for one field"),
        (
            "unsorted-fields",
            swapped,
            "DecodeError",
            "ascending",
            "a second encoding, a second hash",
        ),
        ("bool-two", head + one + key + b"\x01\x02", "DecodeError", "bool", "a second 'true'"),
        ("nan-payload", signalling, "DecodeError", "NaN", "data hidden in a NaN"),
        ("unknown-tag", head + one + key + b"\x09", "DecodeError", "tag", "a type of the future"),
        (
            "huge-array",
            array + struct.pack("<BII", 2, 2**31, 2**31),
            "LimitError",
            "elements",
            "2⁶² elements in 20 bytes: memory exhaustion",
        ),
        (
            "huge-empty-array",
            array + struct.pack("<BII", 2, 0, 2**32 - 1),
            "LimitError",
            "elements",
            "no element, but a dimension that overflows whoever multiplies by it",
        ),
        (
            "empty-array-of-huge-rows",
            array + b"\x03" + struct.pack("<III", 0, 2**26, 2**26),
            "LimitError",
            "elements",
            "no element, and dimensions within their limit whose product is not",
        ),
        (
            "many-dimensions",
            array + b"\xff" + bytes(1020),
            "DecodeError",
            "dimensions",
            "255 dimensions",
        ),
        (
            "huge-text",
            head + one + key + b"\x04" + struct.pack("<I", 2**32 - 1),
            "DecodeError",
            "are left",
            "4 GiB of text announced, none sent",
        ),
        (
            "many-fields",
            head + struct.pack("<H", 65535),
            "LimitError",
            "fields",
            "65535 fields announced",
        ),
        (
            "padding",
            padded + b"\xff" * 7 + bytes(4),
            "DecodeError",
            "padding",
            "data hidden in padding",
        ),
    ]
    return [Bad("codec", *row) for row in rows]


def _changed(message: dict[str, Value], **fields: Value) -> bytes:
    return encode(message | fields)


def protocol() -> list[Bad]:
    """Attacks on the messages of a round."""
    advert = m.Advertise(CONTEXT, "ann", b"m" * 32, b"s" * 32, b"c" * 32, bytes(64))
    adverts = (advert, replace(advert, party="bob", mask_key=b"n" * 32))
    roster = m.Roster(CONTEXT, adverts).to_message()
    reply = m.UnmaskReply(CONTEXT, "ann", {"ann": bytes(33)}, {"bob": bytes(33)}).to_message()
    request = m.UnmaskRequest(CONTEXT, ("ann",), {"ann": bytes(64)}).to_message()
    shares = m.SealedShares(CONTEXT, "ann", {"bob": bytes(m.SEALED_BYTES)}).to_message()
    masked = m.MaskedInput(CONTEXT, "ann", np.arange(4, dtype=np.uint32)).to_message()
    crowd = "\n".join(f"p{i:03d}" for i in range(101))
    counted = _changed(masked, sample_count=1234)
    floats = _changed(masked, vector=np.zeros(4, np.float64))
    table: list[tuple[str, str, bytes, str, str]] = [
        (
            "unmask-reply",
            "both-kinds-for-one-owner",
            _changed(reply, dropped="ann"),
            "both kinds",
            "self-mask and mask-key share of one owner open its vector (Flower 1.41)",
        ),
        (
            "unmask-request",
            "nobody-signs",
            _changed(request, signers="", signatures=np.zeros((0, 64), np.uint8)),
            "signers",
            "an unmask request without a signature",
        ),
        (
            "unmask-request",
            "fewer-signatures-than-signers",
            _changed(request, signers="ann\nbob"),
            "signatures",
            "a signer without its signature",
        ),
        (
            "survivor-set",
            "one-owner-twice",
            _changed(m.SurvivorSet(CONTEXT, ("ann", "bob")).to_message(), survivors="ann\nann"),
            "ascending",
            "names repeated to reach the threshold",
        ),
        (
            "roster",
            "one-owner-twice",
            _changed(roster, parties="ann\nann"),
            "ascending",
            "two keys for one owner, or two positions in Shamir's scheme",
        ),
        ("roster", "crowd", _changed(roster, parties=crowd), "101", "more owners than may be"),
        (
            "roster",
            "fewer-keys-than-members",
            _changed(roster, mask_keys=np.zeros((1, 32), np.uint8)),
            "mask_keys",
            "keys shifted against names",
        ),
        (
            "advertise",
            "newline-in-name",
            _changed(advert.to_message(), party="ann\nbob"),
            "party",
            "one name that reads as two in a list",
        ),
        (
            "advertise",
            "short-key",
            _changed(advert.to_message(), mask_key=bytes(31)),
            "mask_key",
            "a key of another length",
        ),
        (
            "sealed-shares",
            "short-bundle",
            _changed(shares, sealed=np.zeros((1, 66), np.uint8)),
            "sealed",
            "shares without the authentication tag",
        ),
        (
            "masked-input",
            "sample-count-in-clear",
            counted,
            "unknown fields",
            "a sample count beside the masked vector",
        ),
        (
            "masked-input",
            "floats",
            floats,
            "ring",
            "a plain float vector where a masked one belongs",
        ),
        (
            "masked-input",
            "no-element",
            _changed(masked, vector=np.zeros(0, np.uint32)),
            "ring",
            "an empty vector",
        ),
        (
            "consistency-signature",
            "another-kind",
            encode(masked),
            "kind",
            "a message of one phase replayed in another",
        ),
    ]
    return [
        Bad(p, attack, data, "DecodeError", words, why) for p, attack, data, words, why in table
    ]


def hybrid() -> list[Bad]:
    """Attacks on the messages of the hybrid key agreement."""
    rows = hybrid_attacks(CONTEXT)
    return [Bad(p, attack, data, "DecodeError", words, why) for p, attack, data, words, why in rows]


def files() -> list[Bad]:
    """Attacks on keys and registries at rest, and on a single share."""
    identity = store_identity("ann", ANN, None, RANDOM).to_bytes()
    registry = RegistryFile({}).put("ann", ANN.public).put("bob", BOB.public).to_bytes()
    rotation = Rotation.sign("ann", ANN, BOB).to_bytes()
    print_ann, print_bob = ANN.public.fingerprint.encode(), BOB.public.fingerprint.encode()
    again = registry.replace(b'"name": "bob"', b'"name": "ann"')
    same = registry.replace(BOB.public.raw.hex().encode(), ANN.public.raw.hex().encode())
    table = [
        ("share", "outside-the-field", b"\xff" * 33, "ShareError", "prime", "y ≥ p: a second form"),
        ("share", "short", bytes(32), "ShareError", "33", "a share of another length"),
        (
            "identity-file",
            "windows-line-ends",
            identity.replace(b"\n", b"\r\n"),
            "DecodeError",
            "five lines",
            "a second form of one file",
        ),
        (
            "identity-file",
            "plain-key-said-to-be-sealed",
            identity.replace(b"none", b"scrypt " + b"00" * 16),
            "DecodeError",
            "protection",
            "a key taken for its ciphertext",
        ),
        (
            "identity-file",
            "two-parties",
            identity.replace(b"party ann", b"party ann\nparty bob"),
            "DecodeError",
            "five lines",
            "one key for two names",
        ),
        (
            "registry-file",
            "borrowed-fingerprint",
            registry.replace(print_bob, print_ann),
            "DecodeError",
            "fingerprint",
            "people compare a fingerprint that is not the key's",
        ),
        (
            "registry-file",
            "one-name-twice",
            again,
            "DecodeError",
            "canonical",
            "two keys for one name",
        ),
        (
            "registry-file",
            "one-key-twice",
            same.replace(print_bob, print_ann),
            "DecodeError",
            "twice",
            "one key under two names",
        ),
        (
            "registry-file",
            "repeated-json-key",
            registry.replace(b"{\n", b'{\n "format": "x",\n', 1),
            "DecodeError",
            "canonical",
            "a field that two JSON readers understand differently",
        ),
        (
            "registry-file",
            "deep-nesting",
            b"[" * 5000,
            "DecodeError",
            "JSON",
            "a parser's stack exhausted",
        ),
        (
            "registry-file",
            "huge-number",
            registry.replace(b'"version": 1', b'"version": 1' + b"0" * 5000),
            "DecodeError",
            "JSON",
            "a number whose conversion takes quadratic time",
        ),
        (
            "rotation-file",
            "version-true",
            rotation.replace(b'"version": 1', b'"version": true'),
            "DecodeError",
            "version",
            "true equals 1 in Python",
        ),
        (
            "rotation-file",
            "upper-case-hex",
            rotation.replace(ANN.public.raw.hex().encode(), ANN.public.raw.hex().upper().encode()),
            "DecodeError",
            "hex",
            "a second form of one key",
        ),
    ]
    return [Bad(*row) for row in table]


def attacks() -> list[Bad]:
    """Every attack."""
    encrypted = [Bad(*row) for row in rows_of_encrypted_mode()]
    logs = [Bad(*row) for row in (*ROWS, *TRANSCRIPT_ROWS)]
    return [*codec(), *protocol(), *encrypted, *hybrid(), *files(), *logs]


def readme() -> str:
    """The folder's table of contents."""
    lines = [
        "# Bad messages",
        "",
        "One file a known attack. `scripts/make_bad_messages.py` makes them and this page;",
        "`tests/crypto/test_fuzz_parsers.py` checks that the named parser refuses each with the",
        "named error, whose message has the given words.",
        "",
        "| file | attack | refused with | words |",
        "|---|---|---|---|",
        *(f"| `{bad.file}` | {bad.why} | `{bad.error}` | {bad.words} |" for bad in attacks()),
    ]
    return "\n".join(lines) + "\n"


def build() -> dict[str, bytes]:
    """File name → bytes."""
    return {bad.file: bad.data for bad in attacks()} | {"README.md": readme().encode()}


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, data in build().items():
        (FOLDER / name).write_bytes(data)
        print(FOLDER / name)


if __name__ == "__main__":
    main()
