"""X25519 and ML-KEM-768 side by side: what is derived stays secret unless both are broken.

One party encapsulates to the other's ML-KEM key, both do X25519, and a key is derived from the two
results, ML-KEM's first (NIST SP 800-56C rev. 2, section 2: an approved shared secret may be
followed by another; draft-ietf-tls-hybrid-design, section 3.3: fixed lengths are concatenated).
The derivation binds the ciphertext and all public keys: without the ciphertext, whoever breaks one
of the two could maul it (Giacon, Heuer and Poettering, PKC 2018; X-Wing,
draft-connolly-cfrg-xwing-kem, binds what ML-KEM-768 does not bind itself).

X25519 between signed keys also says who sealed: ML-KEM alone would let anyone seal. So what is
protected against a future quantum computer is secrecy; who sent what rests on today's keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from feddiff_crypto.encoding import canonical_digest
from feddiff_crypto.keys import AgreementKey, AgreementPublic, derive
from feddiff_crypto.mlkem import KemKey, KemPublic
from feddiff_crypto.randomness import RandomBytes


class KeyAgreement(StrEnum):
    """How the owners of a plan agree on keys; everyone in a round uses the same."""

    X25519 = "x25519"
    HYBRID = "hybrid"  # X25519 and ML-KEM-768


@dataclass(frozen=True, slots=True)
class HybridPublic:
    """The public halves of a hybrid key."""

    agreement: AgreementPublic
    kem: KemPublic


@dataclass(frozen=True, repr=False)
class HybridKey:
    """An X25519 and an ML-KEM-768 private key of one round and one purpose, never shown."""

    agreement: AgreementKey = field(repr=False)
    kem: KemKey = field(repr=False)

    @classmethod
    def generate(cls, random: RandomBytes) -> HybridKey:
        """A new key from 96 random bytes."""
        return cls(AgreementKey.generate(random), KemKey.generate(random))

    @cached_property
    def public(self) -> HybridPublic:
        """The public halves. Raises HybridUnavailableError: as `require_mlkem`."""
        return HybridPublic(self.agreement.public, self.kem.public)


SealingKey = AgreementKey | HybridKey
SealingPublic = AgreementPublic | HybridPublic


def combine_secrets(kem_secret: bytes, agreement_secret: bytes, label: bytes, info: bytes) -> bytes:
    """32 bytes that follow from both secrets and from neither alone.

    Args:
        kem_secret: 32 bytes from ML-KEM-768, or that travelled under it.
        agreement_secret: the 32 bytes of X25519.
        label: the one purpose.
        info: what the key is bound to; a digest that covers ciphertext and public keys.

    Raises:
        ValueError: a secret of another length, which would make the concatenation ambiguous.
    """
    if len(kem_secret) != 32 or len(agreement_secret) != 32:
        raise ValueError(f"secrets of {len(kem_secret)} and {len(agreement_secret)} bytes, not 32")
    return derive(kem_secret + agreement_secret, label, info)


def transcript(
    header: bytes, ciphertext: bytes, sender: AgreementPublic, recipient: HybridPublic
) -> bytes:
    """Digest of all that a sender and a recipient saw of one hybrid agreement.

    Args:
        header: digest of the context and the names.
        ciphertext: of ML-KEM-768, to the recipient.
        sender: its X25519 key. recipient: its two keys.
    """
    return canonical_digest(
        {
            "header": header,
            "ciphertext": ciphertext,
            "sender": sender.raw,
            "recipient": recipient.agreement.raw,
            "recipient_kem": recipient.kem.raw,
        }
    )
