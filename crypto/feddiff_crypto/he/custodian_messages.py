"""What a round with a custodian adds: its key for the round, and the sum it seals to each owner.

phase            coordinator → custodian   custodian → coordinator
custodian key    Roster                    CustodianKey
custodian sum    CustodyRequest            SealedSums

phase            coordinator → owner       owner → coordinator
masked input     CustodianDelivery         EncryptedInput
decrypt          ReceiveRequest            SumSignature
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.encoding import Value, canonical_digest
from feddiff_crypto.errors import ContextMismatchError, DecodeError
from feddiff_crypto.he.keys import PUBLIC_KEY_BYTES, CkksPublicKey
from feddiff_crypto.he.messages import EncryptedAggregate
from feddiff_crypto.he.parameters import MAX_DIMENSION
from feddiff_crypto.he.round_messages import HYBRID_FIELDS, OpenedSecrets, without_fields
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKey, Registry
from feddiff_crypto.masking.context import HASH_BYTES
from feddiff_crypto.masking.fields import Fields, join_parties, stack_by_party
from feddiff_crypto.masking.messages import DeliveredShares
from feddiff_crypto.mlkem import KEM_CIPHERTEXT_BYTES
from feddiff_crypto.sealing import TAG_BYTES

CUSTODIAN_LABEL: Final = b"feddiff-secure v1 ckks custodian key"


@dataclass(frozen=True, slots=True)
class CustodianKey:
    """A custodian's public keys for one round: CKKS, and X25519 for sealing the sum."""

    KIND: ClassVar[str] = "custodian key"
    context: bytes
    party: str
    public_key: bytes = field(repr=False)
    agreement: bytes
    signature: bytes

    @classmethod
    def make(
        cls,
        public_key: CkksPublicKey,
        agreement: bytes,
        *,
        party: str,
        identity: IdentityKey,
        context: bytes,
    ) -> CustodianKey:
        """The keys, signed for the round `context` by the custodian."""
        unsigned = cls(context, party, public_key.to_bytes(), agreement, bytes(SIGNATURE_BYTES))
        signature = identity.sign(CUSTODIAN_LABEL, unsigned.key_id())
        return cls(context, party, unsigned.public_key, agreement, signature)

    def key_id(self) -> bytes:
        """32 bytes that name both keys and the round; what the custodian signs."""
        return canonical_digest({k: v for k, v in self.to_message().items() if k != "signature"})

    def verify(self, custodian: str, registry: Registry, context: bytes) -> None:
        """Return if `custodian` signed these keys for the round `context`.

        Args:
            custodian: its name in `registry`.
            registry: the pinned identities that custodians have, not the owners'.
            context: digest of the round's context, with the roster.

        Raises:
            ContextMismatchError: of another round or in another's name.
            RosterError: the custodian is not pinned.
            SignatureInvalidError: it did not sign.
        """
        if self.context != context or self.party != custodian:
            raise ContextMismatchError("a key of another round or custodian", party=self.party)
        registry.verify(custodian, self.signature, CUSTODIAN_LABEL, self.key_id())

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "public_key": self.public_key,
            "agreement": self.agreement,
            "signature": self.signature,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> CustodianKey:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "party", "public_key", "agreement", "signature")
        fields = Fields(message, cls.KIND, names)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            public_key=fields.blob("public_key", PUBLIC_KEY_BYTES),
            agreement=fields.blob("agreement", KEY_BYTES),
            signature=fields.blob("signature", SIGNATURE_BYTES),
        )


@dataclass(frozen=True, slots=True)
class CustodianDelivery:
    """The shares sealed to an owner, and the custodian's key."""

    KIND: ClassVar[str] = "custodian delivery"
    shares: DeliveredShares
    key: CustodianKey

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            **self.shares.to_message(),
            **self.key.to_message(),
            "custodian_context": self.key.context,
            "context": self.shares.context,
            "kind": self.KIND,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> CustodianDelivery:
        """Read the flat fields. Raises DecodeError for any others."""
        of_key = ("party", "public_key", "agreement", "signature", "custodian_context")
        of_shares = ("context", "recipient", "senders", "sealed")
        Fields(message, cls.KIND, (*of_key, *of_shares), hybrid=HYBRID_FIELDS)
        key = without_fields(message, (*of_shares, *HYBRID_FIELDS), CustodianKey.KIND)
        key["context"] = key.pop("custodian_context")
        return cls(
            DeliveredShares.from_message(without_fields(message, of_key, DeliveredShares.KIND)),
            CustodianKey.from_message(key),
        )


@dataclass(frozen=True, slots=True, eq=False)
class CustodyRequest:
    """What a custodian needs: the aggregate and the owners' signatures of it."""

    KIND: ClassVar[str] = "custody request"
    aggregate: EncryptedAggregate
    signatures: Mapping[str, bytes]

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            **self.aggregate.to_message(),
            "kind": self.KIND,
            "signers": join_parties(self.signatures),
            "signatures": stack_by_party(self.signatures, SIGNATURE_BYTES),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> CustodyRequest:
        """Read the flat fields. Raises DecodeError for any others."""
        of_aggregate = ("context", "survivors", "key_id", "residues", "seeds")
        fields = Fields(message, cls.KIND, (*of_aggregate, "signers", "signatures"))
        signers = fields.parties("signers", least=1)
        signatures = fields.rows("signatures", len(signers), SIGNATURE_BYTES)
        inner = without_fields(message, ("signers", "signatures"), EncryptedAggregate.KIND)
        return cls(
            EncryptedAggregate.from_message(inner), dict(zip(signers, signatures, strict=True))
        )


@dataclass(frozen=True, slots=True)
class SealedSums:
    """The masked sum, sealed to each survivor."""

    KIND: ClassVar[str] = "sealed sums"
    context: bytes
    party: str
    sealed: Mapping[str, NDArray[np.uint8]] = field(repr=False)  # recipient → ciphertext

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        rows = [self.sealed[party] for party in sorted(self.sealed)]
        return {
            "kind": self.KIND,
            "context": self.context,
            "party": self.party,
            "recipients": join_parties(self.sealed),
            "sealed": np.stack(rows),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> SealedSums:
        """Read the flat fields. Raises DecodeError for any others."""
        fields = Fields(message, cls.KIND, ("context", "party", "recipients", "sealed"))
        recipients = fields.parties("recipients", least=1)
        rows = _sealed_bytes(message["sealed"], (len(recipients), None))
        return cls(
            context=fields.blob("context", HASH_BYTES),
            party=fields.party("party"),
            sealed=dict(zip(recipients, rows, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class ReceiveRequest:
    """What an owner needs to take the masks off the sum that a custodian sealed to it."""

    KIND: ClassVar[str] = "receive request"
    context: bytes
    sealed_sum: NDArray[np.uint8] = field(repr=False)
    opened: OpenedSecrets

    def to_message(self) -> dict[str, Value]:
        """The flat fields."""
        return {
            "kind": self.KIND,
            "context": self.context,
            "sealed_sum": self.sealed_sum,
            **self.opened.to_fields(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> ReceiveRequest:
        """Read the flat fields. Raises DecodeError for any others."""
        names = ("context", "sealed_sum", *OpenedSecrets.NAMES)
        fields = Fields(message, cls.KIND, names, hybrid=HYBRID_FIELDS)
        return cls(
            context=fields.blob("context", HASH_BYTES),
            sealed_sum=_sealed_bytes(message["sealed_sum"], (None,)),
            opened=OpenedSecrets.from_fields(fields),
        )


def sum_sealing_context(context: bytes, aggregate: bytes) -> bytes:
    """The context under which a custodian seals the sum of the aggregate with this digest."""
    return canonical_digest(
        {"kind": "custodian sum sealing", "context": context, "aggregate": aggregate}
    )


def _sealed_bytes(value: Any, shape: tuple[int | None, ...]) -> NDArray[np.uint8]:
    """A uint8 array whose last axis is a sealed ring vector of 1 to 2²⁴ elements.

    Sealed hybrid it is longer by a ciphertext, whose length is one of whole elements too; which it
    is shows when it is opened.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8 or value.ndim != len(shape):
        raise DecodeError(f"sealed sum: {type(value).__name__} is not uint8 of {len(shape)} axes")
    if shape[0] is not None and value.shape[0] != shape[0]:
        raise DecodeError(f"sealed sums: {value.shape[0]} rows, expected {shape[0]}")
    elements, rest = divmod(value.shape[-1] - TAG_BYTES, 4)
    if rest or not 1 <= elements <= MAX_DIMENSION + KEM_CIPHERTEXT_BYTES // 4:
        raise DecodeError(f"sealed sum: {value.shape[-1]} bytes are no ring vector and a tag")
    return value
