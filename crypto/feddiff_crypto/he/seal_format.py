r"""SEAL's serialised objects, as far as we write and read them.

Nothing that a party sends is given to SEAL's deserialiser. A message carries residues and seeds as
arrays (`ciphertexts.py`), they are checked, and the bytes that SEAL loads are framed here, without
compression. So SEAL only ever parses headers of our own making around residues in range. The other
way, from SEAL's own output to arrays, only trusted bytes are read.

Layout (SEAL 4, little-endian):

    object     = header body
    header     = 5e a1, 10 (its length), major, minor, compression (u8), 00 00, size(u64, all bytes)
    ciphertext = parms_id(4 × u64) ntt(u8) polynomials(u64) degree(u64) primes(u64) scale(f64)
                 correction(u64 = 1) array [generator]
    secret key = parms_id(4 × u64) coefficients(u64) scale(f64) array
    array      = header count(u64) words(u64)*
    generator  = header kind(u8 = 1, Blake2xb) seed(64)

A seeded ciphertext stores its first polynomial only; the second is what the seed expands to.
Compressed bodies are one zstd frame (RFC 8878); ours hold random residues, which do not compress,
so their blocks are stored raw.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.he.parameters import DEGREE

Residues = NDArray[np.uint64]

SEED_BYTES: Final = 64
HEADER_BYTES: Final = 16
_MAGIC: Final = b"\x5e\xa1\x10"
_BLAKE2XB: Final = 1
_ZSTD: Final = 2
_ZSTD_MAGIC: Final = bytes.fromhex("28b52ffd")
_ARRAY_START: Final = 32 + 1 + 5 * 8 + HEADER_BYTES + 8  # offset of a ciphertext's words


class StoredOtherwiseError(Exception):
    """SEAL wrote a body in a form that is not read here, such as a compressed block."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How the loaded SEAL frames objects: its version and the identity of our parameters."""

    version: tuple[int, int]
    parms_id: tuple[int, ...]  # four words

    def ciphertext(
        self, words: Residues, *, scale: float, primes: int = 1, seed: bytes = b""
    ) -> bytes:
        """A ciphertext of two polynomials, as SEAL loads it.

        Args:
            words: residues in SEAL's order, polynomial by polynomial, prime by prime: both
                polynomials, or the first one with the `seed` of the other.
            scale: Δ; 1 in a public key.
            primes: residues of each coefficient.
            seed: empty, or 64 bytes.
        """
        head = struct.pack("<4QB3QdQ", *self.parms_id, 1, 2, DEGREE, primes, scale, 1)
        generator = self._object(bytes([_BLAKE2XB]) + seed) if seed else b""
        return self._object(head + self._array(words) + generator)

    def secret_key(self, words: Residues) -> bytes:
        """A secret key of N coefficients for both primes, as SEAL loads it."""
        head = struct.pack("<4QQd", *self.parms_id, words.size, 1.0)
        return self._object(head + self._array(words))

    def _array(self, words: Residues) -> bytes:
        stored = np.ascontiguousarray(words, "<u8").tobytes()
        return self._object(struct.pack("<Q", words.size) + stored)

    def _object(self, body: bytes) -> bytes:
        major, minor = self.version
        size = struct.pack("<Q", HEADER_BYTES + len(body))
        return _MAGIC + bytes([major, minor, 0, 0, 0]) + size + body


def version_of(stored: bytes) -> tuple[int, int]:
    """The version in the header of an object that SEAL wrote.

    Raises:
        StoredOtherwiseError: no such header.
    """
    if len(stored) < HEADER_BYTES or not stored.startswith(_MAGIC):
        raise StoredOtherwiseError("no header of SEAL")
    return stored[3], stored[4]


def words_of_ciphertext(stored: bytes, shape: Sequence[int]) -> tuple[Residues, bytes]:
    """The words of a ciphertext that SEAL wrote, in `shape`, and what follows them.

    What follows is the generator of a seeded ciphertext, whose last 64 bytes are the seed.

    Raises:
        StoredOtherwiseError: another number of words, or a compressed body.
    """
    body = _body(stored)
    count = math.prod(shape)
    end = _ARRAY_START + 8 * count
    if len(body) < end or struct.unpack_from("<Q", body, _ARRAY_START - 8) != (count,):
        raise StoredOtherwiseError(f"not a ciphertext of {count} words")
    words = np.frombuffer(body, "<u8", count, _ARRAY_START)
    return words.reshape(shape), bytes(body[end:])


def _body(stored: bytes) -> memoryview:
    version_of(stored)
    if stored[5] == 0:
        return memoryview(stored)[HEADER_BYTES:]
    if stored[5] != _ZSTD or stored[HEADER_BYTES : HEADER_BYTES + 4] != _ZSTD_MAGIC:
        raise StoredOtherwiseError("neither uncompressed nor zstd")
    return memoryview(_raw_blocks(memoryview(stored)[HEADER_BYTES + 4 :]))


def _raw_blocks(frame: memoryview) -> bytes:
    """The content of a zstd frame (after its magic) whose blocks are all raw."""
    if not frame:
        raise StoredOtherwiseError("an empty zstd frame")
    descriptor = frame[0]
    single_segment = descriptor >> 5 & 1
    size_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
    if descriptor & 3:
        raise StoredOtherwiseError("a zstd dictionary")
    position = 1 + (1 - single_segment) + size_bytes
    content: list[memoryview] = []
    last = 0
    while not last:
        block = int.from_bytes(frame[position : position + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        position += 3
        if kind or position + size > len(frame):
            raise StoredOtherwiseError("a zstd block that is not raw")
        content.append(frame[position : position + size])
        position += size
    return bytes(content[0]) if len(content) == 1 else b"".join(content)
