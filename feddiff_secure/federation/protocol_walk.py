"""One party's walk through the states of one attempt of a secure sum, masked or encrypted.

The states check and refuse by themselves; here is only which of them a message is for. Whatever is
summed, gradients or class scores, the walk is the same.
"""

from __future__ import annotations

from typing import TypeVar

from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.custodian_messages import CustodianDelivery, ReceiveRequest
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.owner import (
    EncryptedAdvertised,
    EncryptedConsistent,
    EncryptedMasked,
    EncryptedRevealed,
    EncryptedShared,
    EncryptedStart,
)
from feddiff_crypto.he.round_messages import DecryptRequest, EncryptedConsistency, KeyedDelivery
from feddiff_crypto.masking.messages import (
    ConsistencySignature,
    DeliveredShares,
    MaskedInput,
    Roster,
    SurvivorSet,
    UnmaskRequest,
)
from feddiff_crypto.masking.owner import (
    OwnerAdvertised,
    OwnerConsistent,
    OwnerMasked,
    OwnerShared,
    OwnerStart,
)
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.transport.exchange import Message

T = TypeVar("T")
U = TypeVar("U")
_State = (
    OwnerStart
    | EncryptedStart
    | OwnerAdvertised
    | OwnerShared
    | OwnerMasked
    | OwnerConsistent
    | EncryptedAdvertised
    | EncryptedShared
    | EncryptedMasked
    | EncryptedConsistent
    | EncryptedRevealed
)


class ProtocolWalk:
    """The states of one attempt; in memory only, each used once.

    Args:
        start: the first state, of a masked or an encrypted attempt.
        vector: ring elements, shape (dimension,): what this party adds.
        custody: in an encrypted attempt, whether a custodian decrypts.
    """

    def __init__(
        self, start: OwnerStart | EncryptedStart, vector: RingArray, *, custody: bool = False
    ) -> None:
        self._state: _State | None = start
        self._vector = vector
        self._custody = custody

    def advertise(self) -> Message:
        """Make this attempt's keys."""
        state = self._at(OwnerStart, EncryptedStart)
        self._state, advert = state.advertise()
        return advert.to_message()

    def share(self, message: Message) -> Message:
        """Share the secrets of the masks among the roster."""
        state = self._at(OwnerAdvertised, EncryptedAdvertised)
        self._state, shares = state.share(Roster.from_message(message))
        return shares.to_message()

    def mask(self, message: Message) -> Message:
        """Mask the vector. The reply must not leave before the attempt is charged."""
        state = self._at(OwnerShared, EncryptedShared)
        reply: MaskedInput | EncryptedInput
        if isinstance(state, EncryptedShared):
            kind = CustodianDelivery if self._custody else KeyedDelivery
            self._state, reply = state.mask(kind.from_message(message), self._vector)
        else:
            self._state, reply = state.mask(DeliveredShares.from_message(message), self._vector)
        return reply.to_message()

    def sign(self, message: Message) -> Message:
        """Sign the survivor set, and the aggregate where there is one."""
        state = self._at(OwnerMasked, EncryptedMasked)
        reply: ConsistencySignature | EncryptedConsistency
        if isinstance(state, EncryptedMasked):
            self._state, reply = state.sign(EncryptedAggregate.from_message(message))
        else:
            self._state, reply = state.sign(SurvivorSet.from_message(message))
        return reply.to_message()

    def reveal(self, message: Message) -> Message:
        """Reveal one kind of share a peer, once."""
        state = self._at(OwnerConsistent, EncryptedConsistent)
        request = UnmaskRequest.from_message(message)
        # Round secrets live in memory only, so a party that restarts cannot answer again; the
        # fact of the answer needs no disk of its own.
        after, reply = state.reveal(request, lambda _digest: None)
        self._state = after if isinstance(after, EncryptedRevealed) else None
        return reply.to_message()

    def decrypt(self, message: Message) -> tuple[RingArray, Message]:
        """Open the sum of an encrypted attempt, for this party, and sign its digest."""
        state = self._at(EncryptedRevealed, EncryptedRevealed)
        self._state = None
        kind = ReceiveRequest if self._custody else DecryptRequest
        # As for reveal: the key lives in memory only and serves this one call.
        _, total, signature = state.decrypt(kind.from_message(message), lambda _digest: None)
        return total, signature.to_message()

    def _at(self, masked: type[T], encrypted: type[U]) -> T | U:
        """The state, if it is the one expected in either mode."""
        if not isinstance(self._state, masked | encrypted):
            raise RefusalError("out_of_order")
        return self._state
