"""The messages of a round, one frozen type each, and their flat fields.

    phase         owner → coordinator      coordinator → owner
    advertise     Advertise                Roster
    share         SealedShares             DeliveredShares
    masked input  MaskedInput              SurvivorSet
    consistency   ConsistencySignature     UnmaskRequest
    unmask        UnmaskReply

`to_message` gives the flat fields that the codec encodes; `from_message` is its strict inverse and
raises `DecodeError` for any other fields, types, lengths or order. Each message carries the digest
of its round's context, with the roster from the share phase on. What is valid *in a round* (who may
send what, which signatures must verify) is the business of the owner's and coordinator's states.
Those of the first two phases, which differ with the key agreement, are in `adverts` and
`share_messages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from feddiff_crypto.encoding import Value, canonical_digest
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import SIGNATURE_BYTES
from feddiff_crypto.masking.adverts import Advertise, Roster
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties, stack_by_party
from feddiff_crypto.masking.share_messages import (
    BUNDLE_BYTES,
    SEALED_BYTES,
    DeliveredShares,
    SealedShares,
)
from feddiff_crypto.shamir import SHARE_BYTES

__all__ = [
    "BUNDLE_BYTES",
    "SEALED_BYTES",
    "Advertise",
    "ConsistencySignature",
    "DeliveredShares",
    "MaskedInput",
    "Roster",
    "SealedShares",
    "SurvivorSet",
    "UnmaskReply",
    "UnmaskRequest",
]


@dataclass(frozen=True, slots=True, eq=False)
class MaskedInput:
    """An owner's vector under its masks."""

    KIND: ClassVar[str] = "masked input"
    context: bytes
    party: str
    vector: RingArray = field(repr=False)

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "vector": self.vector,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> MaskedInput:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "party", "vector"))
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            vector=fields.ring_vector("vector"),
        )


@dataclass(frozen=True, slots=True)
class SurvivorSet:
    """The owners whose masked vectors are in the sum."""

    KIND: ClassVar[str] = "survivor set"
    context: bytes
    survivors: tuple[str, ...]  # ascending

    def digest(self) -> bytes:
        """What each survivor signs, once."""
        return canonical_digest(self.to_message())

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "survivors": join_parties(self.survivors),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> SurvivorSet:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "survivors"))
        return cls(fields.blob("context", HASH_BYTES), fields.parties("survivors", least=1))


@dataclass(frozen=True, slots=True)
class ConsistencySignature:
    """An owner's signature of the survivor set it was shown."""

    KIND: ClassVar[str] = "consistency signature"
    context: bytes
    party: str
    signature: bytes

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "signature": self.signature,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> ConsistencySignature:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "party", "signature"))
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            signature=fields.blob("signature", SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class UnmaskRequest:
    """The survivor set with the signatures of those who agree on it."""

    KIND: ClassVar[str] = "unmask request"
    context: bytes
    survivors: tuple[str, ...]  # ascending
    signatures: Mapping[str, bytes]  # signer → signature of the survivor set

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "survivors": join_parties(self.survivors),
            "signers": join_parties(self.signatures),
            "signatures": stack_by_party(self.signatures, SIGNATURE_BYTES),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> UnmaskRequest:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "survivors", "signers", "signatures"))
        signers = fields.parties("signers", least=1)
        signatures = fields.rows("signatures", len(signers), SIGNATURE_BYTES)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            survivors=fields.parties("survivors", least=1),
            signatures=dict(zip(signers, signatures, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class UnmaskReply:
    """One kind of share for each owner: the self-mask's of survivors, the mask key's of dropped."""

    KIND: ClassVar[str] = "unmask reply"
    context: bytes
    party: str
    self_shares: Mapping[str, bytes] = field(repr=False)  # survivor → share value
    key_shares: Mapping[str, bytes] = field(repr=False)  # dropped owner → share value

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "survivors": join_parties(self.self_shares),
            "self_shares": stack_by_party(self.self_shares, SHARE_BYTES),
            "dropped": join_parties(self.key_shares),
            "key_shares": stack_by_party(self.key_shares, SHARE_BYTES),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> UnmaskReply:
        """Read the flat fields. Raises DecodeError for any others, or both kinds for one owner."""
        names = ("context", "party", "survivors", "self_shares", "dropped", "key_shares")
        fields = Fields(message, cls.KIND, names)
        survivors = fields.parties("survivors", least=1)
        dropped = fields.parties("dropped", least=0)
        both = set(survivors) & set(dropped)
        if both:
            raise DecodeError(f"{cls.KIND}: both kinds of share for {sorted(both)}")
        self_shares = fields.rows("self_shares", len(survivors), SHARE_BYTES)
        key_shares = fields.rows("key_shares", len(dropped), SHARE_BYTES)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            self_shares=dict(zip(survivors, self_shares, strict=True)),
            key_shares=dict(zip(dropped, key_shares, strict=True)),
        )
