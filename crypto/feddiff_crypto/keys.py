"""Identity keys that sign, agreement keys that share a secret, and the labels that keep uses apart.

Every signature and every derived key begins with a label that names its one purpose, a constant
here beside the types. Two purposes never share a label, so what was made for one is worthless for
another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from feddiff_crypto.errors import KeyInvalidError, RosterError, SignatureInvalidError
from feddiff_crypto.randomness import RandomBytes

ADVERTISE_LABEL: Final = b"feddiff-secure v1 advertise"
CONSISTENCY_LABEL: Final = b"feddiff-secure v1 consistency"
PAIRWISE_MASK_LABEL: Final = b"feddiff-secure v1 pairwise mask"
SELF_MASK_LABEL: Final = b"feddiff-secure v1 self mask"
SELF_COMMITMENT_LABEL: Final = b"feddiff-secure v1 self mask commitment"
SHARE_SEALING_LABEL: Final = b"feddiff-secure v1 share sealing"
IDENTITY_ROTATION_LABEL: Final = b"feddiff-secure v1 identity rotation"
_FINGERPRINT_LABEL: Final = b"feddiff-secure v1 identity fingerprint"

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_PARTY_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def is_party_name(name: str) -> bool:
    """Whether `name` is 1 to 64 ASCII letters, digits, `.`, `_`, `-`, not led by a sign."""
    return _PARTY_NAME.fullmatch(name) is not None


def derive(secret: bytes, label: bytes, context: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of `secret`, without salt, to 32 bytes.

    The info string is the label, a zero byte, and the context: no label holds a zero byte, so no
    two pairs of label and context make the same info.

    Args:
        secret: uniform bytes or a Diffie–Hellman result.
        label: one of the constants of this module.
        context: what the key is bound to, usually a digest.
    """
    return HKDF(SHA256(), KEY_BYTES, None, label + b"\x00" + context).derive(secret)


@dataclass(frozen=True, slots=True)
class IdentityPublic:
    """A party's long-lived Ed25519 public key, 32 bytes.

    Raises:
        ValueError: not 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        _check_length("identity public key", self.raw, KEY_BYTES)

    def verify(self, signature: bytes, label: bytes, digest: bytes) -> None:
        """Return if `signature` is this identity's over `label` and `digest`; raise otherwise.

        Raises:
            SignatureInvalidError: it is not.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, _signed(label, digest))
        except InvalidSignature:
            raise SignatureInvalidError(
                f"no valid signature {label.decode()!r} under identity {self.fingerprint}"
            ) from None

    @property
    def fingerprint(self) -> str:
        """What two people read to each other: 8 groups of 4 hex digits, 128 bits."""
        digest = hashlib.sha256(_FINGERPRINT_LABEL + b"\x00" + self.raw).hexdigest()
        return " ".join(digest[i : i + 4] for i in range(0, 32, 4))


@dataclass(frozen=True, slots=True)
class IdentityKey:
    """A party's long-lived Ed25519 private key, 32 bytes, never shown.

    Raises:
        ValueError: not 32 bytes.
    """

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_length("identity private key", self.raw, KEY_BYTES)

    @classmethod
    def generate(cls, random: RandomBytes) -> IdentityKey:
        """A new identity from 32 random bytes."""
        return cls(random.random_bytes(KEY_BYTES))

    @property
    def public(self) -> IdentityPublic:
        """The public half."""
        private = Ed25519PrivateKey.from_private_bytes(self.raw)
        return IdentityPublic(private.public_key().public_bytes_raw())

    def sign(self, label: bytes, digest: bytes) -> bytes:
        """Sign `digest` for the purpose `label`: 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(_signed(label, digest))


@dataclass(frozen=True, slots=True)
class Registry:
    """The pinned identities: which key speaks for which party.

    It comes from outside the protocol (people compare fingerprints); nothing received in a round
    changes it.

    Args:
        identities: party name to public key, at least one.

    Raises:
        ValueError: no identity, a wrong name, or one key under two names.
    """

    identities: Mapping[str, IdentityPublic]

    def __post_init__(self) -> None:
        if not self.identities:
            raise ValueError("a registry names at least one party")
        for name in self.identities:
            if not is_party_name(name):
                raise ValueError(f"party name {name!r} is not of letters, digits, '.', '_', '-'")
        if len(set(self.identities.values())) != len(self.identities):
            raise ValueError("one identity key under two names")
        object.__setattr__(self, "identities", dict(self.identities))  # pinned: a private copy

    @property
    def parties(self) -> tuple[str, ...]:
        """The names in ascending order."""
        return tuple(sorted(self.identities))

    def identity(self, party: str) -> IdentityPublic:
        """The key pinned for `party`.

        Raises:
            RosterError: `party` is not in the registry.
        """
        if party not in self.identities:
            raise RosterError(f"{party!r} is not one of the {len(self.identities)} pinned parties")
        return self.identities[party]

    def verify(self, party: str, signature: bytes, label: bytes, digest: bytes) -> None:
        """Return if `signature` is that of `party` over `label` and `digest`; raise otherwise.

        Raises:
            RosterError: `party` is not in the registry.
            SignatureInvalidError: the signature is not valid; the error names the party.
        """
        try:
            self.identity(party).verify(signature, label, digest)
        except SignatureInvalidError as error:
            raise SignatureInvalidError(str(error), party=party) from None


@dataclass(frozen=True, slots=True)
class AgreementPublic:
    """An X25519 public key of one round, 32 bytes.

    Raises:
        ValueError: not 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        _check_length("agreement public key", self.raw, KEY_BYTES)


@dataclass(frozen=True, slots=True)
class AgreementKey:
    """An X25519 private key of one round and one purpose, 32 bytes, never shown.

    Raises:
        ValueError: not 32 bytes.
    """

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_length("agreement private key", self.raw, KEY_BYTES)

    @classmethod
    def generate(cls, random: RandomBytes) -> AgreementKey:
        """A new key from 32 random bytes (RFC 7748 clamps them at use)."""
        return cls(random.random_bytes(KEY_BYTES))

    @property
    def public(self) -> AgreementPublic:
        """The public half."""
        private = X25519PrivateKey.from_private_bytes(self.raw)
        return AgreementPublic(private.public_key().public_bytes_raw())

    def agree(self, peer: AgreementPublic, label: bytes, context: bytes) -> bytes:
        """The 32-byte secret shared with `peer` for the purpose `label`, bound to `context`.

        Raises:
            KeyInvalidError: as `exchange`.
        """
        return derive(self.exchange(peer), label, context)

    def exchange(self, peer: AgreementPublic) -> bytes:
        """The bare 32-byte X25519 result, only ever an input of `derive`.

        Raises:
            KeyInvalidError: `peer` is a point of low order, which gives everyone the same
                result (RFC 7748, section 6.1).
        """
        private = X25519PrivateKey.from_private_bytes(self.raw)
        try:
            return private.exchange(X25519PublicKey.from_public_bytes(peer.raw))
        except ValueError:
            raise KeyInvalidError(f"public key {peer.raw.hex()} is of low order") from None


def _signed(label: bytes, digest: bytes) -> bytes:
    return label + b"\x00" + digest


def _check_length(what: str, raw: bytes, length: int) -> None:
    if len(raw) != length:
        raise ValueError(f"{what}: {len(raw)} bytes, expected {length}")
