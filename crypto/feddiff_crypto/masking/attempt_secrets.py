"""What an owner makes fresh for each attempt, and the advert that announces its public side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from feddiff_crypto.hybrid import HybridKey, KeyAgreement, SealingKey
from feddiff_crypto.keys import ADVERTISE_LABEL, SIGNATURE_BYTES, AgreementKey, IdentityKey
from feddiff_crypto.masking.adverts import Advertise
from feddiff_crypto.masking.mask_keys import MaskKey, generate_mask_key, mask_publics
from feddiff_crypto.masking.seeds import commit_secret
from feddiff_crypto.randomness import RandomBytes
from feddiff_crypto.shamir import SECRET_BYTES

_UNSIGNED: Final = bytes(SIGNATURE_BYTES)


@dataclass(frozen=True, slots=True, repr=False)
class AttemptSecrets:
    """The secrets of one owner in one attempt.

    Attributes:
        party: whose they are.
        context: digest of the round's context, without roster.
        mask_key: shared among the members. sealing_key: never shared.
        self_secret: of the self mask, 32 bytes; shared among the members.
    """

    party: str
    context: bytes
    mask_key: MaskKey
    sealing_key: SealingKey
    self_secret: bytes

    @classmethod
    def generate(
        cls, agreement: KeyAgreement, party: str, context: bytes, random: RandomBytes
    ) -> AttemptSecrets:
        """New secrets for the attempt `context` (digest without roster)."""
        sealing = AgreementKey if agreement is KeyAgreement.X25519 else HybridKey
        return cls(
            party=party,
            context=context,
            mask_key=generate_mask_key(agreement, party, context, random),
            sealing_key=sealing.generate(random),
            self_secret=random.random_bytes(SECRET_BYTES),
        )

    def advert(self, identity: IdentityKey) -> Advertise:
        """The public halves and the commitment to the self-mask secret, signed.

        Raises:
            HybridUnavailableError: hybrid keys on a machine without ML-KEM-768.
        """
        mask_key, kem_mask_key = mask_publics(self.mask_key)
        agreement, kem_sealing_key = _sealing_publics(self.sealing_key)
        unsigned = Advertise(
            self.context,
            self.party,
            mask_key,
            agreement,
            commit_secret(self.self_secret, self.party, self.context),
            _UNSIGNED,
            kem_mask_key,
            kem_sealing_key,
        )
        return replace(unsigned, signature=identity.sign(ADVERTISE_LABEL, unsigned.signed_digest()))


def _sealing_publics(key: SealingKey) -> tuple[bytes, bytes]:
    if isinstance(key, AgreementKey):
        return key.public.raw, b""
    return key.public.agreement.raw, key.public.kem.raw
