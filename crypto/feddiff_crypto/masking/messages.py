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
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from feddiff_crypto.encoding import Value, canonical_digest
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties, stack_by_party, stack_rows
from feddiff_crypto.sealing import TAG_BYTES
from feddiff_crypto.shamir import SHARE_BYTES

BUNDLE_BYTES: Final = 2 * SHARE_BYTES  # a share of the self-mask secret, then one of the mask key
SEALED_BYTES: Final = BUNDLE_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Advertise:
    """An owner's two public keys for this attempt, and a commitment to its self-mask secret."""

    KIND: ClassVar[str] = "advertise"
    context: bytes
    party: str
    mask_key: bytes
    sealing_key: bytes
    secret_commitment: bytes
    signature: bytes

    def signed_digest(self) -> bytes:
        """What the owner's identity signs: every field but the signature."""
        return canonical_digest({k: v for k, v in self.to_message().items() if k != "signature"})

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "mask_key": self.mask_key,
            "sealing_key": self.sealing_key,
            "secret_commitment": self.secret_commitment,
            "signature": self.signature,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> Advertise:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "mask_key", "sealing_key", "secret_commitment", "signature")
        fields = Fields(message, cls.KIND, names)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            mask_key=fields.blob("mask_key", KEY_BYTES),
            sealing_key=fields.blob("sealing_key", KEY_BYTES),
            secret_commitment=fields.blob("secret_commitment", HASH_BYTES),
            signature=fields.blob("signature", SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Roster:
    """All adverts of an attempt, in ascending order of their parties."""

    KIND: ClassVar[str] = "roster"
    context: bytes
    adverts: tuple[Advertise, ...]

    @property
    def parties(self) -> tuple[str, ...]:
        """The members, ascending; a member's position counted from 1 is its share's x."""
        return tuple(advert.party for advert in self.adverts)

    def by_party(self) -> dict[str, Advertise]:
        """The adverts by name."""
        return {advert.party: advert for advert in self.adverts}

    def digest(self) -> bytes:
        """The roster hash that later contexts bind."""
        return canonical_digest(self.to_message())

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
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

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> Roster:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("parties", "mask_keys", "sealing_keys", "secret_commitments", "signatures")
        fields = Fields(message, cls.KIND, ("context", *names))
        context = fields.blob("context", HASH_BYTES)
        parties = fields.parties("parties", least=1)
        columns = (
            fields.rows("mask_keys", len(parties), KEY_BYTES),
            fields.rows("sealing_keys", len(parties), KEY_BYTES),
            fields.rows("secret_commitments", len(parties), HASH_BYTES),
            fields.rows("signatures", len(parties), SIGNATURE_BYTES),
        )
        rows = zip(parties, *columns, strict=True)
        return cls(context, tuple(Advertise(context, *row) for row in rows))


@dataclass(frozen=True, slots=True)
class SealedShares:
    """An owner's shares, each sealed to its recipient: every other member of the roster."""

    KIND: ClassVar[str] = "sealed shares"
    context: bytes
    party: str
    sealed: Mapping[str, bytes] = field(repr=False)  # recipient → ciphertext

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "recipients": join_parties(self.sealed),
            "sealed": stack_by_party(self.sealed, SEALED_BYTES),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> SealedShares:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "party", "recipients", "sealed"))
        recipients = fields.parties("recipients", least=1)
        sealed = fields.rows("sealed", len(recipients), SEALED_BYTES)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            sealed=dict(zip(recipients, sealed, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class DeliveredShares:
    """The shares that the other owners sealed to `recipient`; the senders took part so far."""

    KIND: ClassVar[str] = "delivered shares"
    context: bytes
    recipient: str
    sealed: Mapping[str, bytes] = field(repr=False)  # sender → ciphertext

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "recipient": self.recipient,
            "senders": join_parties(self.sealed),
            "sealed": stack_by_party(self.sealed, SEALED_BYTES),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> DeliveredShares:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "recipient", "senders", "sealed"))
        senders = fields.parties("senders", least=1)
        sealed = fields.rows("sealed", len(senders), SEALED_BYTES)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            recipient=fields.party("recipient"),
            sealed=dict(zip(senders, sealed, strict=True)),
        )


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
