"""What an encrypted round adds to the messages of a masked one.

    phase         owner → coordinator    coordinator → owner
    share         KeyedShares            KeyedDelivery
    masked input  EncryptedInput         EncryptedAggregate
    consistency   EncryptedConsistency   UnmaskRequest
    unmask        UnmaskReply            DecryptRequest
    decrypt       SumSignature           –

Adverts, roster and the unmask phase are those of masked mode. A keyed message is the masked one
with the CKKS key beside it: 65,552 sealed bytes a recipient, from the member that makes the key
(66,640 with hybrid key agreement).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import DecodeError
from feddiff_crypto.he.keys import SECRET_KEY_BYTES
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.contributions import Contributions
from feddiff_crypto.masking.fields import Fields, join_parties, stack_by_party, stack_rows
from feddiff_crypto.masking.share_messages import (
    CONTRIBUTION_BYTES,
    DeliveredShares,
    SealedShares,
)
from feddiff_crypto.sealing import HYBRID_SEALING_BYTES, TAG_BYTES
from feddiff_crypto.shamir import SECRET_BYTES

SEALED_KEY_BYTES: Final = SECRET_KEY_BYTES + TAG_BYTES
HYBRID_SEALED_KEY_BYTES: Final = SECRET_KEY_BYTES + HYBRID_SEALING_BYTES
HYBRID_FIELDS: Final = ("contributions",)  # of a message with the hybrid key agreement


@dataclass(frozen=True, slots=True)
class KeyedShares:
    """An owner's sealed shares and, from the member that makes it, the sealed CKKS key."""

    KIND: ClassVar[str] = "keyed shares"
    shares: SealedShares
    sealed_keys: Mapping[str, bytes] = field(repr=False)  # recipient → ciphertext; or empty

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            **self.shares.to_message(),
            "kind": self.KIND,
            "sealed_keys": stack_by_party(
                self.sealed_keys, _key_width(self.shares.contributions is not None)
            ),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> KeyedShares:
        """Read the flat fields. Raises DecodeError for any others, or keys for only some."""
        names = ("context", "party", "recipients", "sealed", "sealed_keys")
        fields = Fields(message, cls.KIND, names, hybrid=HYBRID_FIELDS)
        shares = SealedShares.from_message(
            without_fields(message, ("sealed_keys",), SealedShares.KIND)
        )
        recipients = tuple(shares.sealed) if fields.length("sealed_keys") else ()
        keys = fields.rows("sealed_keys", len(recipients), _key_width(fields.is_hybrid))
        return cls(shares, dict(zip(recipients, keys, strict=True)))


@dataclass(frozen=True, slots=True)
class KeyedDelivery:
    """The shares sealed to an owner, and the CKKS key sealed to it (none to its maker)."""

    KIND: ClassVar[str] = "keyed delivery"
    shares: DeliveredShares
    sealed_key: bytes = field(repr=False)

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            **self.shares.to_message(),
            "kind": self.KIND,
            "sealed_key": stack_rows(
                [self.sealed_key] if self.sealed_key else [],
                _key_width(self.shares.contributions is not None),
            ),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> KeyedDelivery:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "recipient", "senders", "sealed", "sealed_key")
        fields = Fields(message, cls.KIND, names, hybrid=HYBRID_FIELDS)
        shares = DeliveredShares.from_message(
            without_fields(message, ("sealed_key",), DeliveredShares.KIND)
        )
        count = min(fields.length("sealed_key"), 1)
        keys = fields.rows("sealed_key", count, _key_width(fields.is_hybrid))
        return cls(shares, b"".join(keys))


@dataclass(frozen=True, slots=True)
class EncryptedConsistency:
    """An owner's signatures of the survivor set and of the one aggregate that may be decrypted."""

    KIND: ClassVar[str] = "encrypted consistency"
    context: bytes
    party: str
    signature: bytes  # of the survivor set
    aggregate_signature: bytes

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "signature": self.signature,
            "aggregate_signature": self.aggregate_signature,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> EncryptedConsistency:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "signature", "aggregate_signature")
        fields = Fields(message, cls.KIND, names)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            signature=fields.blob("signature", SIGNATURE_BYTES),
            aggregate_signature=fields.blob("aggregate_signature", SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class OpenedSecrets:
    """The secrets that the unmask phase opened: 32 bytes each, public from then on.

    Attributes:
        self_secrets: survivor → its self-mask secret.
        mask_keys: owner that dropped out after sharing → its private mask key, or the mask secret
            that it follows from.
        contributions: with hybrid key agreement, what survivors below each of the latter sealed to
            it; None without.
    """

    self_secrets: Mapping[str, bytes] = field(repr=False)
    mask_keys: Mapping[str, bytes] = field(repr=False)
    contributions: Contributions | None = field(default=None, repr=False)

    NAMES: ClassVar[tuple[str, ...]] = ("survivors", "self_secrets", "dropped", "mask_keys")

    def to_fields(self) -> dict[str, Value]:
        """Four fields of a message, or five."""
        fields: dict[str, Value] = {
            "survivors": join_parties(self.self_secrets),
            "self_secrets": stack_by_party(self.self_secrets, SECRET_BYTES),
            "dropped": join_parties(self.mask_keys),
            "mask_keys": stack_by_party(self.mask_keys, KEY_BYTES),
        }
        if self.contributions is not None:
            pairs = _pairs(self.self_secrets, self.mask_keys)
            rows = [self.contributions[dropped][survivor] for dropped, survivor in pairs]
            fields["contributions"] = stack_rows(rows, CONTRIBUTION_BYTES)
        return fields

    @classmethod
    def from_fields(cls, fields: Fields) -> OpenedSecrets:
        """Read them. Raises DecodeError for others, or both kinds for one owner."""
        survivors = fields.parties("survivors", least=1)
        dropped = fields.parties("dropped", least=0)
        if set(survivors) & set(dropped):
            raise DecodeError(f"both kinds of secret of {sorted(set(survivors) & set(dropped))}")
        self_secrets = fields.rows("self_secrets", len(survivors), SECRET_BYTES)
        mask_keys = fields.rows("mask_keys", len(dropped), KEY_BYTES)
        return cls(
            dict(zip(survivors, self_secrets, strict=True)),
            dict(zip(dropped, mask_keys, strict=True)),
            _contributions(fields, survivors, dropped) if fields.is_hybrid else None,
        )


@dataclass(frozen=True, slots=True)
class DecryptRequest:
    """What an owner needs to decrypt the aggregate it signed and to take off the masks."""

    KIND: ClassVar[str] = "decrypt request"
    context: bytes
    signatures: Mapping[str, bytes]  # survivor → its signature of the aggregate
    opened: OpenedSecrets

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "signers": join_parties(self.signatures),
            "signatures": stack_by_party(self.signatures, SIGNATURE_BYTES),
            **self.opened.to_fields(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> DecryptRequest:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "signers", "signatures", *OpenedSecrets.NAMES)
        fields = Fields(message, cls.KIND, names, hybrid=HYBRID_FIELDS)
        signers = fields.parties("signers", least=1)
        signatures = fields.rows("signatures", len(signers), SIGNATURE_BYTES)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            signatures=dict(zip(signers, signatures, strict=True)),
            opened=OpenedSecrets.from_fields(fields),
        )


def without_fields(
    message: Mapping[str, Value], names: Collection[str], kind: str
) -> dict[str, Value]:
    """The message of another kind that is inside one with more fields."""
    return {**{key: value for key, value in message.items() if key not in names}, "kind": kind}


def _key_width(is_hybrid: bool) -> int:
    return HYBRID_SEALED_KEY_BYTES if is_hybrid else SEALED_KEY_BYTES


def _pairs(survivors: Collection[str], dropped: Collection[str]) -> list[tuple[str, str]]:
    """(dropped, survivor below it) in ascending order: whose contributions travel, row by row."""
    return [(d, s) for d in sorted(dropped) for s in sorted(survivors) if s < d]


def _contributions(
    fields: Fields, survivors: Collection[str], dropped: Collection[str]
) -> Contributions:
    pairs = _pairs(survivors, dropped)
    table: dict[str, dict[str, bytes]] = {party: {} for party in dropped}
    rows = fields.rows("contributions", len(pairs), CONTRIBUTION_BYTES)
    for (party, survivor), row in zip(pairs, rows, strict=True):
        table[party][survivor] = row
    return table
