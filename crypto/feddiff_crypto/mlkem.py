"""ML-KEM-768 (FIPS 203), the key encapsulation that is meant to outlast a quantum computer.

A key is its 64-byte seed d ‖ z (FIPS 203, section 7.1), so it can be derived; a public key is
checked by the modulus test of section 7.2 when it is used. A ciphertext that was not made for a key
does not fail: it decapsulates to bytes that nobody else knows (implicit rejection, section 7.3).
Whoever must notice authenticates what is under the secret.

The randomness of an encapsulation is drawn by the library from the operating system itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm

from feddiff_crypto.errors import HybridUnavailableError, KeyInvalidError, ShareError
from feddiff_crypto.randomness import RandomBytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

KEM_SEED_BYTES: Final = 64
KEM_PUBLIC_BYTES: Final = 1184
KEM_CIPHERTEXT_BYTES: Final = 1088


class Encapsulation(NamedTuple):
    """A fresh 32-byte secret, and the 1088 bytes from which the key's holder gets it."""

    secret: bytes
    ciphertext: bytes


def require_mlkem() -> None:
    """Return if this machine has ML-KEM-768.

    Raises:
        HybridUnavailableError: `cryptography`, or the library under it, is too old for it.
    """
    mlkem = _mlkem()
    try:
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(KEM_SEED_BYTES))
    except UnsupportedAlgorithm as error:
        raise HybridUnavailableError(
            f"the cryptographic library here has no ML-KEM-768: {error}"
        ) from None


@dataclass(frozen=True, slots=True)
class KemPublic:
    """A public (encapsulation) key, 1184 bytes.

    Raises:
        ValueError: not 1184 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        _check_length("ML-KEM-768 public key", self.raw, KEM_PUBLIC_BYTES)

    def encapsulate(self) -> Encapsulation:
        """A fresh secret for the holder of the key.

        Raises:
            KeyInvalidError: the key fails the modulus check.
            HybridUnavailableError: as `require_mlkem`.
        """
        try:
            public = _mlkem().MLKEM768PublicKey.from_public_bytes(self.raw)
        except ValueError:
            raise KeyInvalidError(f"ML-KEM-768 key {self.raw[:8].hex()}… is out of range") from None
        except UnsupportedAlgorithm as error:
            raise HybridUnavailableError(f"no ML-KEM-768: {error}") from None
        return Encapsulation(*public.encapsulate())


@dataclass(frozen=True)
class KemKey:
    """A private (decapsulation) key as its 64-byte seed, never shown.

    Raises:
        ValueError: not 64 bytes.
    """

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_length("ML-KEM-768 seed", self.seed, KEM_SEED_BYTES)

    @classmethod
    def generate(cls, random: RandomBytes) -> KemKey:
        """A new key from 64 random bytes."""
        return cls(random.random_bytes(KEM_SEED_BYTES))

    @cached_property
    def public(self) -> KemPublic:
        """The public half. Raises HybridUnavailableError: as `require_mlkem`."""
        return KemPublic(self._private.public_key().public_bytes_raw())

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte secret in `ciphertext`; of one made for another key, unknown bytes.

        Raises:
            ShareError: not 1088 bytes.
            HybridUnavailableError: as `require_mlkem`.
        """
        if len(ciphertext) != KEM_CIPHERTEXT_BYTES:
            raise ShareError(
                f"ML-KEM-768 ciphertext: {len(ciphertext)} bytes, expected {KEM_CIPHERTEXT_BYTES}"
            )
        return self._private.decapsulate(ciphertext)

    @cached_property
    def _private(self) -> MLKEM768PrivateKey:  # expanding a seed costs as much as three uses
        try:
            private: MLKEM768PrivateKey = _mlkem().MLKEM768PrivateKey.from_seed_bytes(self.seed)
        except UnsupportedAlgorithm as error:
            raise HybridUnavailableError(f"no ML-KEM-768: {error}") from None
        return private


def _mlkem() -> ModuleType:
    # Imported at use: releases of `cryptography` that lack the module still do all but this.
    try:
        from cryptography.hazmat.primitives.asymmetric import mlkem  # noqa: PLC0415
    except ImportError:
        raise HybridUnavailableError(
            "this release of the package cryptography has no ML-KEM-768"
        ) from None
    return mlkem


def _check_length(what: str, raw: bytes, length: int) -> None:
    if len(raw) != length:
        raise ValueError(f"{what}: {len(raw)} bytes, expected {length}")
