"""Secure randomness: one explicit type, never a global generator.

`SecureRandom` is the only source of keys, mask seeds, noise and sampling bits in production.
`VectorRandom` makes the same bytes from the same seed, for test vectors and tests; it is another
type so that neither is passed for the other by accident.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final, NoReturn, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

_REKEY_BYTES: Final = 2**26  # bytes of one key's stream, far below any bound of AES-CTR
_CHUNK_BYTES: Final = 2**20  # bytes made at once from a shared block of zeros
_ZEROS: Final = bytes(_CHUNK_BYTES)
_VECTOR_LABEL: Final = b"feddiff-secure v1 test vector randomness"


class RandomBytes(Protocol):
    """Anything that makes bytes that are uniform and independent of all earlier ones."""

    def random_bytes(self, count: int) -> bytes:
        """Return `count` bytes. Raises ValueError if `count` is negative."""
        ...


class SecureRandom:
    """Cryptographically secure bytes: an AES-256-CTR generator keyed by the operating system.

    Faster than `os.urandom` for the millions of bytes that noise takes (NIST SP 800-90A's CTR
    construction without its derivation function: the key comes whole from the kernel). A new key is
    drawn after each 64 MiB and in a forked child, so a fork never repeats its parent's bytes.
    One instance belongs to one thread. It cannot be copied, seeded or serialised.
    """

    def __init__(self) -> None:
        self._rekey()

    def random_bytes(self, count: int) -> bytes:
        """Return `count` secure bytes.

        Raises:
            ValueError: `count` is negative.
        """
        _check_count(count)
        if count <= _CHUNK_BYTES:
            return self._chunk(count)
        chunks = [self._chunk(_CHUNK_BYTES) for _ in range(count // _CHUNK_BYTES)]
        return b"".join([*chunks, self._chunk(count % _CHUNK_BYTES)])

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secure generator is never copied or serialised: it would repeat bytes")

    def _rekey(self) -> None:
        self._stream = _keystream(os.urandom(32))
        self._made = 0
        self._pid = os.getpid()

    def _chunk(self, count: int) -> bytes:
        if self._made + count > _REKEY_BYTES or self._pid != os.getpid():
            self._rekey()
        self._made += count
        return self._stream.update(_ZEROS[:count])


class VectorRandom:
    """Reproducible bytes for published vectors and tests. Never for a real round.

    Args:
        seed: any bytes; equal seeds give equal streams.
    """

    def __init__(self, seed: bytes) -> None:
        self._stream = _keystream(hashlib.sha256(_VECTOR_LABEL + seed).digest())

    def random_bytes(self, count: int) -> bytes:
        """Return the next `count` bytes of the stream.

        Raises:
            ValueError: `count` is negative.
        """
        _check_count(count)
        return self._stream.update(bytes(count))


def _check_count(count: int) -> None:
    if count < 0:
        raise ValueError(f"count: {count} < 0")


def _keystream(key: bytes) -> CipherContext:
    # The first counter block may be zero: each key makes one stream, from its beginning, once.
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
