"""The mask key of an attempt: what is Shamir-shared, and opened if its owner drops out.

With X25519 it is the private key. With hybrid key agreement it is a 32-byte mask secret S, from
which follow, by HKDF under labels of their own, the X25519 mask key, the ML-KEM-768 mask key (its
64-byte seed d ‖ z) and the contributions to pairwise masks. Whoever opens S therefore recovers
every pairwise seed of its owner, and nothing that was sealed to it: the sealing keys are others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.errors import ShareError
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import AgreementKey, derive
from feddiff_crypto.masking.adverts import Advertise
from feddiff_crypto.mlkem import KemKey
from feddiff_crypto.randomness import RandomBytes
from feddiff_crypto.shamir import SECRET_BYTES

MASK_AGREEMENT_LABEL: Final = b"feddiff-secure v1 hybrid mask key x25519"
MASK_KEM_D_LABEL: Final = b"feddiff-secure v1 hybrid mask key ml-kem d"
MASK_KEM_Z_LABEL: Final = b"feddiff-secure v1 hybrid mask key ml-kem z"


@dataclass(frozen=True, slots=True)
class HybridMaskKey:
    """A mask secret and the two private keys that follow from it, never shown.

    Attributes:
        raw: the mask secret S, 32 bytes.
        agreement: X25519. kem: ML-KEM-768.
    """

    raw: bytes = field(repr=False)
    agreement: AgreementKey = field(repr=False)
    kem: KemKey = field(repr=False)

    @classmethod
    def derive(cls, secret: bytes, party: str, context: bytes) -> HybridMaskKey:
        """The keys of `party` from its mask secret.

        Args:
            secret: 32 uniform bytes, fresh in each attempt.
            party: whose it is.
            context: digest of the round's context, without roster.

        Raises:
            ValueError: not 32 bytes.
        """
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"mask secret: {len(secret)} bytes, expected {SECRET_BYTES}")
        info = canonical_digest({"context": context, "party": party})
        d, z = (derive(secret, label, info) for label in (MASK_KEM_D_LABEL, MASK_KEM_Z_LABEL))
        agreement = AgreementKey(derive(secret, MASK_AGREEMENT_LABEL, info))
        return cls(secret, agreement, KemKey(d + z))


MaskKey = AgreementKey | HybridMaskKey


def generate_mask_key(
    agreement: KeyAgreement, party: str, context: bytes, random: RandomBytes
) -> MaskKey:
    """A fresh mask key of `party` for the attempt `context` (digest without roster)."""
    if agreement is KeyAgreement.X25519:
        return AgreementKey.generate(random)
    return HybridMaskKey.derive(random.random_bytes(SECRET_BYTES), party, context)


def open_mask_key(secret: bytes, advert: Advertise) -> MaskKey:
    """The mask key that 32 opened bytes are, of the kind that its owner advertised.

    Whether it is the advertised key is for `check_mask_key`.
    """
    if advert.agreement is KeyAgreement.X25519:
        return AgreementKey(secret)
    return HybridMaskKey.derive(secret, advert.party, advert.context)


def mask_publics(key: MaskKey) -> tuple[bytes, bytes]:
    """The public mask keys as an advert carries them: X25519, and ML-KEM-768 (empty without)."""
    if isinstance(key, AgreementKey):
        return key.public.raw, b""
    return key.agreement.public.raw, key.kem.public.raw


def check_mask_key(key: MaskKey, advert: Advertise) -> None:
    """Return if the public halves of `key` are those of the advert.

    Raises:
        ShareError: one is not; names the party.
    """
    if mask_publics(key) != (advert.mask_key, advert.kem_mask_key):
        raise ShareError("the opened mask key is not the advertised one", party=advert.party)
