"""The messages that carry ciphertexts and sums, and the labels that owners sign them under.

    who                      message              to
    owner                    EncryptedInput       coordinator
    coordinator              EncryptedAggregate   owners (and custodian)
    owner                    SumSignature         coordinator, verifiers

As in the masking package, `from_message` is the strict inverse of `to_message`, and each message
names the context of its round with the roster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from feddiff_crypto.encoding import Limits, Value, canonical_digest, encode
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.keys import SIGNATURE_BYTES
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties

AGGREGATE_LABEL: Final = b"feddiff-secure v1 encrypted aggregate"
SUM_LABEL: Final = b"feddiff-secure v1 decrypted sum"

CIPHERTEXT_LIMITS: Final = Limits(max_message_bytes=2**29 + 2**20)  # 2²⁴ elements, both polynomials


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedInput:
    """An owner's masked vector, encrypted."""

    KIND: ClassVar[str] = "encrypted input"
    context: bytes
    party: str
    key_id: bytes
    ciphertexts: Ciphertexts

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "key_id": self.key_id,
            **self.ciphertexts.to_fields(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> EncryptedInput:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "key_id", "residues", "seeds")
        fields = Fields(message, cls.KIND, names)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            key_id=fields.blob("key_id", HASH_BYTES),
            ciphertexts=_ciphertexts(message),
        )


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedAggregate:
    """The sum of the survivors' ciphertexts."""

    KIND: ClassVar[str] = "encrypted aggregate"
    context: bytes
    survivors: tuple[str, ...]  # ascending
    key_id: bytes
    ciphertexts: Ciphertexts

    def digest(self) -> bytes:
        """What owners sign, once a round: it names context, survivors, key and every residue."""
        return hashlib.sha256(encode(self.to_message(), CIPHERTEXT_LIMITS)).digest()

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "survivors": join_parties(self.survivors),
            "key_id": self.key_id,
            **self.ciphertexts.to_fields(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> EncryptedAggregate:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "survivors", "key_id", "residues", "seeds")
        fields = Fields(message, cls.KIND, names)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            survivors=fields.parties("survivors", least=1),
            key_id=fields.blob("key_id", HASH_BYTES),
            ciphertexts=_ciphertexts(message),
        )


@dataclass(frozen=True, slots=True)
class SumSignature:
    """The digest of the sum that a key holder decrypted and freed of its masks, signed by it."""

    KIND: ClassVar[str] = "sum signature"
    context: bytes
    party: str
    sum_digest: bytes
    signature: bytes

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "sum_digest": self.sum_digest,
            "signature": self.signature,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> SumSignature:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "party", "sum_digest", "signature"))
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            sum_digest=fields.blob("sum_digest", HASH_BYTES),
            signature=fields.blob("signature", SIGNATURE_BYTES),
        )


def sum_digest(total: RingArray, context: bytes) -> bytes:
    """The digest of a round's sum on the ring, bound to its context."""
    return canonical_digest({"kind": "decrypted sum", "context": context, "total": total})


def _ciphertexts(message: Mapping[str, Any]) -> Ciphertexts:
    return Ciphertexts(message["residues"], message["seeds"])
