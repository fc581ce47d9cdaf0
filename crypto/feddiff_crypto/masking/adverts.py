"""The messages of the advertise phase: an owner's public keys, and the roster of all of them.

With hybrid key agreement an advert carries an ML-KEM-768 key beside each X25519 key. The fields say
which it is; whether it is the agreement of the plan is checked with the roster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from feddiff_crypto.encoding import Value, canonical_digest
from feddiff_crypto.hybrid import HybridPublic, KeyAgreement, SealingPublic
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES, AgreementPublic
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties, stack_rows
from feddiff_crypto.mlkem import KEM_PUBLIC_BYTES, KemPublic

_KEM_KEYS: Final = ("kem_mask_key", "kem_sealing_key")
_KEM_COLUMNS: Final = ("kem_mask_keys", "kem_sealing_keys")


@dataclass(frozen=True, slots=True)
class Advertise:
    """An owner's public keys for this attempt, and a commitment to its self-mask secret."""

    KIND: ClassVar[str] = "advertise"
    context: bytes
    party: str
    mask_key: bytes
    sealing_key: bytes
    secret_commitment: bytes
    signature: bytes
    kem_mask_key: bytes = b""  # 1184 bytes each with hybrid key agreement, else empty
    kem_sealing_key: bytes = b""

    @property
    def agreement(self) -> KeyAgreement:
        """The key agreement that these keys are for."""
        both = self.kem_mask_key and self.kem_sealing_key
        return KeyAgreement.HYBRID if both else KeyAgreement.X25519

    @property
    def sealing_public(self) -> SealingPublic:
        """The key to which shares are sealed."""
        agreement = AgreementPublic(self.sealing_key)
        if self.agreement is KeyAgreement.X25519:
            return agreement
        return HybridPublic(agreement, KemPublic(self.kem_sealing_key))

    def public_keys(self) -> tuple[bytes, ...]:
        """Every public key of the advert."""
        keys = (self.mask_key, self.sealing_key, self.kem_mask_key, self.kem_sealing_key)
        return tuple(key for key in keys if key)

    def signed_digest(self) -> bytes:
        """What the owner's identity signs: every field but the signature."""
        return canonical_digest({k: v for k, v in self.to_message().items() if k != "signature"})

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        fields: dict[str, Value] = {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "mask_key": self.mask_key,
            "sealing_key": self.sealing_key,
            "secret_commitment": self.secret_commitment,
            "signature": self.signature,
        }
        if self.agreement is KeyAgreement.HYBRID:
            fields["kem_mask_key"] = self.kem_mask_key
            fields["kem_sealing_key"] = self.kem_sealing_key
        return fields

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> Advertise:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "mask_key", "sealing_key", "secret_commitment", "signature")
        fields = Fields(message, cls.KIND, names, hybrid=_KEM_KEYS)
        kem = [fields.blob(name, KEM_PUBLIC_BYTES) for name in _KEM_KEYS if fields.is_hybrid]
        return cls(
            fields.blob("context", HASH_BYTES),
            fields.party("party"),
            fields.blob("mask_key", KEY_BYTES),
            fields.blob("sealing_key", KEY_BYTES),
            fields.blob("secret_commitment", HASH_BYTES),
            fields.blob("signature", SIGNATURE_BYTES),
            *kem,
        )


@dataclass(frozen=True, slots=True)
class Roster:
    """All adverts of an attempt, in ascending order of their parties; of one key agreement."""

    KIND: ClassVar[str] = "roster"
    context: bytes
    adverts: tuple[Advertise, ...]

    @property
    def parties(self) -> tuple[str, ...]:
        """The members, ascending; a member's position counted from 1 is its share's x."""
        return tuple(advert.party for advert in self.adverts)

    @property
    def is_hybrid(self) -> bool:
        """Whether every advert is of the hybrid key agreement."""
        return all(advert.agreement is KeyAgreement.HYBRID for advert in self.adverts)

    def by_party(self) -> dict[str, Advertise]:
        """The adverts by name."""
        return {advert.party: advert for advert in self.adverts}

    def digest(self) -> bytes:
        """The roster hash that later contexts bind."""
        return canonical_digest(self.to_message())

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        fields: dict[str, Value] = {
            "kind": self.KIND,
            "context": self.context,
            "parties": join_parties(self.parties),
            "mask_keys": stack_rows((a.mask_key for a in self.adverts), KEY_BYTES),
            "sealing_keys": stack_rows((a.sealing_key for a in self.adverts), KEY_BYTES),
            "secret_commitments": stack_rows(
                (a.secret_commitment for a in self.adverts), HASH_BYTES
            ),
            "signatures": stack_rows((a.signature for a in self.adverts), SIGNATURE_BYTES),
        }
        if self.is_hybrid:
            mask_keys = (a.kem_mask_key for a in self.adverts)
            sealing_keys = (a.kem_sealing_key for a in self.adverts)
            fields["kem_mask_keys"] = stack_rows(mask_keys, KEM_PUBLIC_BYTES)
            fields["kem_sealing_keys"] = stack_rows(sealing_keys, KEM_PUBLIC_BYTES)
        return fields

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> Roster:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("parties", "mask_keys", "sealing_keys", "secret_commitments", "signatures")
        fields = Fields(message, cls.KIND, ("context", *names), hybrid=_KEM_COLUMNS)
        context = fields.blob("context", HASH_BYTES)
        parties = fields.parties("parties", least=1)
        columns = [
            fields.rows("mask_keys", len(parties), KEY_BYTES),
            fields.rows("sealing_keys", len(parties), KEY_BYTES),
            fields.rows("secret_commitments", len(parties), HASH_BYTES),
            fields.rows("signatures", len(parties), SIGNATURE_BYTES),
        ]
        if fields.is_hybrid:
            columns += [fields.rows(c, len(parties), KEM_PUBLIC_BYTES) for c in _KEM_COLUMNS]
        rows = zip(*columns, strict=True)
        adverts = (
            Advertise(context, party, *row) for party, row in zip(parties, rows, strict=True)
        )
        return cls(context, tuple(adverts))
