"""The two ways to hold a round's key: by all owners, or by a custodian.

`OwnersWay`: every owner holds the secret key, encrypts with it and decrypts the aggregate itself.
`CustodianWay`: owners encrypt under a public key that the custodian signed for the round; it
decrypts and seals the sum, still masked, to each owner. It is not given what takes the masks off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from feddiff_crypto.errors import DecodeError, ShareError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.ciphertexts import Ciphertexts
from feddiff_crypto.he.custodian_messages import (
    CustodianKey,
    ReceiveRequest,
    sum_sealing_context,
)
from feddiff_crypto.he.decrypt import Decryption
from feddiff_crypto.he.encrypt import encrypt_public, encrypt_symmetric
from feddiff_crypto.he.endorse import ExpectedAggregate
from feddiff_crypto.he.keys import CkksPublicKey, CkksSecretKey, key_maker, open_secret_key
from feddiff_crypto.he.messages import EncryptedAggregate
from feddiff_crypto.he.round_messages import DecryptRequest
from feddiff_crypto.keys import AgreementPublic, Registry
from feddiff_crypto.masking.channel import Channel
from feddiff_crypto.sealing import unseal


@dataclass(frozen=True, slots=True, eq=False)
class Signed:
    """The aggregate that an owner signed, and what it expected of it."""

    aggregate: EncryptedAggregate
    expected: ExpectedAggregate
    digest: bytes


@dataclass(frozen=True, slots=True, repr=False)
class OwnersWay:
    """The secret key of the attempt, in an owner's memory."""

    key: CkksSecretKey
    key_id: bytes

    @classmethod
    def accept(cls, made: CkksSecretKey | None, sealed: bytes, channel: Channel) -> OwnersWay:
        """The key this owner made, or the one sealed to it.

        Raises:
            ShareError: no key, a key beside the own one, or one that does not open.
            DecodeError: what was sealed is no key.
        """
        maker = key_maker(channel.roster)
        if (made is None) != bool(sealed):
            raise ShareError("the CKKS key is made once and sealed to every other", party=maker)
        key = made or open_secret_key(
            sealed,
            key=channel.key,
            sender=maker,
            recipient=channel.party,
            roster=channel.roster,
            context=channel.context,
        )
        return cls(key, key.key_id(channel.context))

    def encrypt(self, vector: RingArray) -> Ciphertexts:
        """The masked vector under the owners' key."""
        return encrypt_symmetric(vector, self.key)

    def open(
        self,
        request: DecryptRequest | ReceiveRequest,
        signed: Signed,
        registry: Registry,
        on_decrypt: Callable[[bytes], None],
    ) -> RingArray:
        """The masked sum. Raises CryptoError: as `Decryption.decrypt`."""
        if not isinstance(request, DecryptRequest):
            raise DecodeError("a sealed sum in a round of the owners' own key")
        decryption = Decryption(
            key=self.key, registry=registry, expected=signed.expected, endorsed=signed.digest
        )
        return decryption.decrypt(signed.aggregate, request.signatures, on_decrypt)


@dataclass(frozen=True, slots=True, repr=False)
class CustodianWay:
    """The custodian's public key, and the owner's end of the sealed way from the custodian."""

    key: CkksPublicKey
    key_id: bytes
    custodian: str
    agreement: AgreementPublic
    channel: Channel

    @classmethod
    def accept(
        cls, message: CustodianKey, channel: Channel, custodian: str, registry: Registry
    ) -> CustodianWay:
        """Check the custodian's key for this round.

        Raises:
            ContextMismatchError: a key of another round, or of another custodian.
            RosterError, SignatureInvalidError: not signed by the pinned custodian.
            DecodeError: no public key.
        """
        message.verify(custodian, registry, channel.context)
        return cls(
            CkksPublicKey.from_bytes(message.public_key),
            message.key_id(),
            custodian,
            AgreementPublic(message.agreement),
            channel,
        )

    def encrypt(self, vector: RingArray) -> Ciphertexts:
        """The masked vector under the custodian's key."""
        return encrypt_public(vector, self.key)

    def open(
        self,
        request: DecryptRequest | ReceiveRequest,
        signed: Signed,
        registry: Registry,  # noqa: ARG002  # the custodian checked the owners' signatures
        on_decrypt: Callable[[bytes], None],
    ) -> RingArray:
        """The masked sum that the custodian sealed to this owner.

        Raises:
            ShareError: it does not open, or is of another length.
        """
        if not isinstance(request, ReceiveRequest):
            raise DecodeError("a request to decrypt in a round with a custodian")
        on_decrypt(signed.digest)
        plain = unseal(
            request.sealed_sum.tobytes(),
            key=self.channel.key,
            peer=self.agreement,
            context=sum_sealing_context(self.channel.context, signed.digest),
            sender=self.custodian,
            recipient=self.channel.party,
        )
        if len(plain) != 4 * signed.expected.plan.dimension:
            raise ShareError(f"a sum of {len(plain)} bytes", party=self.custodian)
        return np.frombuffer(plain, "<u4").astype(np.uint32)
