"""Identity keys that sign, agreement keys that share a secret, and the labels that keep uses apart.

Every derived key and every signature of a digest begins with a label that names its one purpose, a
constant beside the types. Two purposes never share a label, so what was made for one is worthless
for another. Formats that others define (checkpoints, cosignatures, attestations) fix their signed
bytes and leave no room for our labels; `domains` shows why none of them can be taken for another or
for a labelled digest, and `sign_message` refuses whatever is not of the stated domain.
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

from feddiff_crypto.domains import LABEL_PREFIX, Domain, domain_of
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
_CURVE_PRIME: Final = 2**255 - 19
_ORDER_EIGHT_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
# y of the eight points whose order divides 8: (0, ±1), (±√−1, 0), and four of order 8.
_LOW_ORDER_Y: Final = frozenset(
    {0, 1, _CURVE_PRIME - 1, _ORDER_EIGHT_Y, _CURVE_PRIME - _ORDER_EIGHT_Y}
)
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
        KeyInvalidError: a point of low order, under which anybody can make signatures that verify
            (Chalkias, Garillot and Nikolaenko 2020, ePrint 2020/1244, section 2).
    """

    raw: bytes

    def __post_init__(self) -> None:
        _check_length("identity public key", self.raw, KEY_BYTES)
        y = int.from_bytes(self.raw, "little") & (2**255 - 1)  # without the sign of x
        if y % _CURVE_PRIME in _LOW_ORDER_Y:
            raise KeyInvalidError("identity public key: a point of low order")

    def verify(self, signature: bytes, label: bytes, digest: bytes) -> None:
        """Return if `signature` is this identity's over `label` and `digest`; raise otherwise.

        Raises:
            SignatureInvalidError: it is not.
        """
        self._verify(signature, _signed(label, digest), label.decode())

    def verify_message(self, signature: bytes, domain: Domain, message: bytes) -> None:
        """Return if `signature` is this identity's over `message` of `domain`; raise otherwise.

        Raises:
            SignatureInvalidError: it is not, or `message` is of another domain.
        """
        if domain_of(message) is not domain:
            raise SignatureInvalidError(f"the signed bytes are no {domain.value}")
        self._verify(signature, message, domain.value)

    def _verify(self, signature: bytes, message: bytes, purpose: str) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            raise SignatureInvalidError(
                f"no valid signature {purpose!r} under identity {self.fingerprint}"
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
        """Sign `digest` for the purpose `label`: 64 bytes.

        Raises:
            ValueError: `label` is none of this project's.
        """
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(_signed(label, digest))

    def sign_message(self, domain: Domain, message: bytes) -> bytes:
        """Sign bytes whose form another specification fixes: 64 bytes.

        Args:
            domain: what the signature is for.
            message: the signed bytes, which `domains.domain_of` puts into `domain` and so into no
                other: the signature serves this purpose alone.

        Raises:
            ValueError: `message` is not of `domain`.
        """
        if domain_of(message) is not domain:
            raise ValueError(f"the message to sign is no {domain.value}")
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(message)


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
    if not label.startswith(LABEL_PREFIX) or b"\x00" in label:
        raise ValueError(f"{label!r} is not a label that begins with {LABEL_PREFIX!r}")
    return label + b"\x00" + digest


def _check_length(what: str, raw: bytes, length: int) -> None:
    if len(raw) != length:
        raise ValueError(f"{what}: {len(raw)} bytes, expected {length}")
