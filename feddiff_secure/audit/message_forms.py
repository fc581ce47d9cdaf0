"""The size of a message of the protocol, where its content was not kept.

A message's fields, their order and their lengths follow from public numbers: who takes part, the
plan's dimensions, the key agreement. So a message of the same form, filled with zeros, has as many
bytes as the one that was sent. Each function here makes one; only its length means anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from feddiff_crypto.encoding import Value
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.custodian_messages import CustodianDelivery, CustodianKey, ReceiveRequest
from feddiff_crypto.he.keys import PUBLIC_KEY_BYTES, key_maker
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput
from feddiff_crypto.he.parameters import DEGREE, EncryptedPlan
from feddiff_crypto.he.round_messages import (
    HYBRID_SEALED_KEY_BYTES,
    SEALED_KEY_BYTES,
    DecryptRequest,
    EncryptedConsistency,
    KeyedDelivery,
    KeyedShares,
    OpenedSecrets,
)
from feddiff_crypto.he.seal_format import SEED_BYTES
from feddiff_crypto.keys import KEY_BYTES, SIGNATURE_BYTES
from feddiff_crypto.masking.adverts import Roster
from feddiff_crypto.masking.fields import join_parties
from feddiff_crypto.masking.messages import MaskedInput, UnmaskReply
from feddiff_crypto.masking.share_messages import (
    CONTRIBUTION_BYTES,
    HYBRID_SEALED_BYTES,
    SEALED_BYTES,
    DeliveredShares,
    SealedShares,
)
from feddiff_crypto.sealing import HYBRID_SEALING_BYTES, TAG_BYTES
from feddiff_crypto.shamir import SECRET_BYTES, SHARE_BYTES
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.leaves import HASH_BYTES

_HASH = bytes(HASH_BYTES)
Message = dict[str, Value]


def empty_vector(plan: Plan, phase: str) -> RingArray:
    """Zeros in the ring of a phase, as many as its vectors have."""
    grid = plan.grid(phase)
    return grid.ring.to_ring(np.zeros(grid.dimension, np.int64))


@dataclass(frozen=True, slots=True)
class MessageForms:
    """The forms of one release, as one owner sends and receives them.

    Attributes:
        plan: of the run. phase: of the release. owner: whose messages.
        roster: of the release. survivors: whose vectors are in its sum, ascending.
        dropped: who dropped out after sharing.
    """

    plan: Plan
    phase: str
    owner: str
    roster: Roster
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]

    @property
    def _encrypted(self) -> bool:
        return self.plan.aggregation == "encrypted"

    @property
    def _hybrid(self) -> bool:
        return self.roster.is_hybrid

    @property
    def _dimension(self) -> int:
        return self.plan.grid(self.phase).dimension

    def shares(self) -> Message:
        """The share phase, sent: a sealed pair of shares for every other member."""
        others = [party for party in self.roster.parties if party != self.owner]
        above = [party for party in others if party > self.owner]
        sent = SealedShares(_HASH, self.owner, self._sealed(others), self._contributions(above))
        if not self._encrypted:
            return sent.to_message()
        makes_key = self.plan.custodian is None and self.owner == key_maker(self.roster)
        keys = dict.fromkeys(others, bytes(self._key_width)) if makes_key else {}
        return KeyedShares(sent, keys).to_message()

    def delivered(self) -> Message:
        """What the other members sealed to this owner."""
        senders = [party for party in self._sharers if party != self.owner]
        below = [party for party in senders if party < self.owner]
        shares = DeliveredShares(
            _HASH, self.owner, self._sealed(senders), self._contributions(below)
        )
        if not self._encrypted:
            return shares.to_message()
        if self.plan.custodian is not None:
            key = CustodianKey(
                _HASH,
                self.plan.custodian,
                bytes(PUBLIC_KEY_BYTES),
                bytes(KEY_BYTES),
                bytes(SIGNATURE_BYTES),
            )
            return CustodianDelivery(shares, key).to_message()
        made = self.owner == key_maker(self.roster)
        return KeyedDelivery(shares, b"" if made else bytes(self._key_width)).to_message()

    def vector(self) -> Message:
        """The masked vector, in encrypted mode its ciphertexts."""
        if not self._encrypted:
            return MaskedInput(_HASH, self.owner, empty_vector(self.plan, self.phase)).to_message()
        return {
            "kind": EncryptedInput.KIND,
            "context": _HASH,
            "party": self.owner,
            "key_id": _HASH,
            **self._ciphertexts(whole=self.plan.custodian is not None),
        }

    def aggregate(self) -> Message:
        """The sum of ciphertexts that owners of an encrypted run sign."""
        return {
            "kind": EncryptedAggregate.KIND,
            "context": _HASH,
            "survivors": join_parties(self.survivors),
            "key_id": _HASH,
            **self._ciphertexts(whole=True),
        }

    def encrypted_consistency(self) -> Message:
        """Two signatures: of the survivor set, and of the sum of ciphertexts."""
        empty = bytes(SIGNATURE_BYTES)
        return EncryptedConsistency(_HASH, self.owner, empty, empty).to_message()

    def unmask_reply(self) -> Message:
        """One kind of share for each owner that took part."""
        share = bytes(SHARE_BYTES)
        own, keys = dict.fromkeys(self.survivors, share), dict.fromkeys(self.dropped, share)
        return UnmaskReply(_HASH, self.owner, own, keys).to_message()

    def decrypt_request(self, signers: Collection[str]) -> Message:
        """What takes the masks off a sum, from which nobody dropped out after sharing."""
        opened = OpenedSecrets(
            dict.fromkeys(self.survivors, bytes(SECRET_BYTES)), {}, {} if self._hybrid else None
        )
        if self.plan.custodian is None:
            signatures = dict.fromkeys(sorted(signers), bytes(SIGNATURE_BYTES))
            return DecryptRequest(_HASH, signatures, opened).to_message()
        overhead = HYBRID_SEALING_BYTES if self._hybrid else TAG_BYTES
        sealed = np.zeros(4 * self._dimension + overhead, np.uint8)
        return ReceiveRequest(_HASH, sealed, opened).to_message()

    @property
    def _sharers(self) -> list[str]:
        return sorted({*self.survivors, *self.dropped})

    @property
    def _key_width(self) -> int:
        return HYBRID_SEALED_KEY_BYTES if self._hybrid else SEALED_KEY_BYTES

    def _sealed(self, parties: Collection[str]) -> dict[str, bytes]:
        return dict.fromkeys(parties, bytes(HYBRID_SEALED_BYTES if self._hybrid else SEALED_BYTES))

    def _contributions(self, parties: Collection[str]) -> dict[str, bytes] | None:
        return dict.fromkeys(parties, bytes(CONTRIBUTION_BYTES)) if self._hybrid else None

    def _ciphertexts(self, *, whole: bool) -> Message:
        chunks = EncryptedPlan(len(self.plan.owners), self._dimension).chunks
        polynomials, seeded = (2, 0) if whole else (1, chunks)
        return {
            "residues": np.zeros((chunks, polynomials, DEGREE), np.uint64),
            "seeds": np.zeros((seeded, SEED_BYTES), np.uint8),
        }
