"""CKKS keys: one secret key for all owners, or one custodian's with a public half for the owners.

Among owners. The first member of the roster makes a fresh key in each attempt and seals it to every
other member over the sealing keys of the roster. Every owner can then decrypt what any owner
encrypted, so CKKS hides nothing among owners: that is the masks' work. The coordinator has no key.

With a custodian. One party makes a pair, signs the public key for the round, and decrypts. Owners
cannot read each other's ciphertexts; the custodian could, and sees masked vectors.

SEAL draws a key from the operating system's randomness itself (ternary coefficients). Keys live in
memory; SEAL's own files are memory files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import DecodeError, ShareError
from feddiff_crypto.he.memory_file import MemoryFile
from feddiff_crypto.he.parameters import DEGREE, MODULUS, SPECIAL_MODULUS
from feddiff_crypto.he.seal import load_seal
from feddiff_crypto.he.seal_format import Residues
from feddiff_crypto.hybrid import SealingKey
from feddiff_crypto.keys import AgreementPublic, derive
from feddiff_crypto.masking.messages import Roster
from feddiff_crypto.sealing import seal, unseal

KEY_ID_LABEL: Final = b"feddiff-secure v1 ckks key id"

SECRET_KEY_BYTES: Final = 8 * 2 * DEGREE
PUBLIC_KEY_BYTES: Final = 8 * 2 * 2 * DEGREE
_MODULI: Final = np.array([[MODULUS], [SPECIAL_MODULUS]], np.uint64)  # (primes, 1)


@dataclass(frozen=True, slots=True, eq=False)
class CkksSecretKey:
    """A secret key: residues uint64 (2 primes, 4096), never shown.

    Raises:
        DecodeError: a wrong shape or a residue out of range, or zero everywhere.
    """

    residues: Residues = field(repr=False)

    def __post_init__(self) -> None:
        _check_residues("ckks secret key", self.residues, (2, DEGREE))

    @classmethod
    def generate(cls) -> CkksSecretKey:
        """A new key.

        Raises:
            EncryptionUnavailableError: this machine cannot.
        """
        ckks = load_seal()
        return cls(_secret_residues(ckks.api.KeyGenerator(ckks.context).secret_key()))

    @classmethod
    def from_bytes(cls, raw: bytes) -> CkksSecretKey:
        """Read what `to_bytes` wrote. Raises DecodeError for anything else."""
        return cls(_from_bytes("ckks secret key", raw, (2, DEGREE)))

    def to_bytes(self) -> bytes:
        """65,536 bytes, for sealing only."""
        return self.residues.astype("<u8").tobytes()

    def key_id(self, context: bytes) -> bytes:
        """32 bytes that name the key in a round without telling anything about it."""
        return derive(self.to_bytes(), KEY_ID_LABEL, context)

    def load(self, file: MemoryFile) -> Any:
        """The key as SEAL's object; `file` is emptied afterwards."""
        ckks = load_seal()
        file.write(ckks.key_framing.secret_key(self.residues))
        key = ckks.api.SecretKey()
        key.load(ckks.context, file.path)
        file.write(b"")
        return key


@dataclass(frozen=True, slots=True, eq=False)
class CkksPublicKey:
    """A public key: residues uint64 (2 polynomials, 2 primes, 4096).

    Raises:
        DecodeError: a wrong shape or a residue out of range, or a polynomial of zeros.
    """

    residues: Residues = field(repr=False)

    def __post_init__(self) -> None:
        for polynomial in self.residues:
            _check_residues("ckks public key", polynomial, (2, DEGREE))
        if self.residues.shape != (2, 2, DEGREE):
            raise DecodeError(f"ckks public key: shape {self.residues.shape}")

    @classmethod
    def from_bytes(cls, raw: bytes) -> CkksPublicKey:
        """Read what `to_bytes` wrote. Raises DecodeError for anything else."""
        return cls(_from_bytes("ckks public key", raw, (2, 2, DEGREE)))

    def to_bytes(self) -> bytes:
        """131,072 bytes."""
        return self.residues.astype("<u8").tobytes()

    def load(self, file: MemoryFile) -> Any:
        """The key as SEAL's object."""
        ckks = load_seal()
        file.write(ckks.key_framing.ciphertext(self.residues, scale=1.0, primes=2))
        key = ckks.api.PublicKey()
        key.load(ckks.context, file.path)
        return key


def generate_pair() -> tuple[CkksSecretKey, CkksPublicKey]:
    """A custodian's key pair.

    Raises:
        EncryptionUnavailableError: this machine cannot.
    """
    ckks = load_seal()
    generator = ckks.api.KeyGenerator(ckks.context)
    public = ckks.api.PublicKey()
    generator.create_public_key(public)
    words = public.data().dyn_array()
    residues = np.array([words.at(i) for i in range(4 * DEGREE)], np.uint64)
    secret = CkksSecretKey(_secret_residues(generator.secret_key()))
    return secret, CkksPublicKey(residues.reshape(2, 2, DEGREE))


def key_maker(roster: Roster) -> str:
    """The member of the roster that makes the owners' key: the first."""
    return roster.parties[0]


def seal_secret_key(
    secret: CkksSecretKey, *, key: SealingKey, sender: str, roster: Roster, context: bytes
) -> dict[str, bytes]:
    """The secret key sealed to every other member of the roster, recipient → ciphertext.

    Args:
        secret: a key made for this attempt.
        key: the sender's sealing key of this attempt.
        sender: `key_maker(roster)`.
        roster: the attempt's roster.
        context: digest of the round's context, with the roster.

    Raises:
        ShareError: the sender is not the one that makes the key.
        KeyInvalidError: a member's sealing key is a point of low order.
    """
    _check_maker(sender, roster)
    return {
        advert.party: seal(
            secret.to_bytes(),
            key=key,
            peer=advert.sealing_public,
            context=_sealing_context(context),
            sender=sender,
            recipient=advert.party,
        )
        for advert in roster.adverts
        if advert.party != sender
    }


def open_secret_key(
    sealed: bytes,
    *,
    key: SealingKey,
    sender: str,
    recipient: str,
    roster: Roster,
    context: bytes,
) -> CkksSecretKey:
    """Open what `seal_secret_key` made, as `recipient`, who holds the sealing key `key`.

    Raises:
        ShareError: not from the member that makes the key, or the seal is broken.
        DecodeError: what was sealed is no key.
        KeyInvalidError: the sender's sealing key is a point of low order.
    """
    _check_maker(sender, roster)
    raw = unseal(
        sealed,
        key=key,
        peer=AgreementPublic(roster.by_party()[sender].sealing_key),
        context=_sealing_context(context),
        sender=sender,
        recipient=recipient,
    )
    return CkksSecretKey.from_bytes(raw)


def _check_maker(sender: str, roster: Roster) -> None:
    if sender != key_maker(roster):
        raise ShareError(f"{key_maker(roster)} makes the key of this roster", party=sender)


def _sealing_context(context: bytes) -> bytes:
    # The shares are sealed under the same agreement keys, and a sealing key serves one message:
    # another context makes it another key.
    return canonical_digest({"kind": "ckks key sealing", "context": context})


def _secret_residues(key: Any) -> Residues:
    plain = key.data()
    words = [plain.data(i) for i in range(2 * DEGREE)]
    return np.array(words, np.uint64).reshape(2, DEGREE)


def _from_bytes(what: str, raw: bytes, shape: tuple[int, ...]) -> Residues:
    expected = 8 * math.prod(shape)
    if len(raw) != expected:
        raise DecodeError(f"{what}: {len(raw)} bytes, expected {expected}")
    return np.frombuffer(raw, "<u8").astype(np.uint64).reshape(shape)


def _check_residues(what: str, residues: Residues, shape: tuple[int, ...]) -> None:
    if residues.dtype != np.uint64 or residues.shape != shape:
        raise DecodeError(f"{what}: {residues.dtype}{residues.shape}, expected uint64{shape}")
    if (residues >= _MODULI).any():
        raise DecodeError(f"{what}: a residue is not below its prime")
    if not residues.any(axis=1).all():
        raise DecodeError(f"{what}: zero modulo a prime")
