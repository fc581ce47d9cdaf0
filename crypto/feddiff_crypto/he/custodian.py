"""The custodian's side of a round: it makes a key, and decrypts one aggregate that owners signed.

    CustodianStart → CustodianReady → CustodianDone

It sees the sum under the masks that did not cancel, and never what takes them off: towards it the
sum stays hidden unless the coordinator tells it the opened secrets. Each owner gets the sum sealed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from feddiff_crypto.errors import LimitError
from feddiff_crypto.he.custodian_messages import (
    CustodianKey,
    CustodyRequest,
    SealedSums,
    sum_sealing_context,
)
from feddiff_crypto.he.decrypt import Decryption
from feddiff_crypto.he.endorse import ExpectedAggregate
from feddiff_crypto.he.keys import CkksSecretKey, generate_pair
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import AgreementKey, IdentityKey, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import Roster
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.roster import check_roster
from feddiff_crypto.masking.single_use import SingleUse
from feddiff_crypto.randomness import RandomBytes
from feddiff_crypto.sealing import seal


@dataclass(frozen=True, slots=True, repr=False)
class _Self:
    party: str
    identity: IdentityKey
    registry: Registry
    policy: Policy
    plan: EncryptedPlan
    context: RoundContext
    random: RandomBytes
    agreement: KeyAgreement


class CustodianStart(SingleUse[_Self]):
    """A custodian at the beginning of one attempt.

    Args:
        party: its name, which is no owner's.
        identity: its private identity key.
        registry: the pinned identities of the owners.
        policy: n, d and c of the plan.
        context: the round; no roster yet.
        dimension: elements of each vector.
        random: `SecureRandom` in production.
        agreement: how the owners of the plan agree on keys; the sum is sealed to them so.

    Raises:
        ValueError: the custodian is an owner, or the context already has a roster.
        PolicyError, LimitError: numbers for which sums are not exact.
    """

    def __init__(
        self,
        *,
        party: str,
        identity: IdentityKey,
        registry: Registry,
        policy: Policy,
        context: RoundContext,
        dimension: int,
        random: RandomBytes,
        agreement: KeyAgreement = KeyAgreement.X25519,
    ) -> None:
        if party in registry.identities:
            raise ValueError(f"{party!r} is an owner; a custodian holds no data")
        if context.roster_hash:
            raise ValueError("an attempt begins before its roster is known")
        plan = EncryptedPlan(policy.owners, dimension)
        me = _Self(party, identity, registry, policy, plan, context, random, agreement)
        super().__init__(me)

    def key(self, roster: Roster) -> tuple[CustodianReady, CustodianKey]:
        """Check the roster and make the keys of this attempt.

        Raises:
            CryptoError: as `check_roster`.
            EncryptionUnavailableError: this machine cannot.
        """
        me = self._take()
        check_roster(roster, me.registry, me.policy, me.context.digest(), me.agreement)
        context = me.context.with_roster(roster.digest()).digest()
        secret, public = generate_pair()
        agreement = AgreementKey.generate(me.random)
        message = CustodianKey.make(
            public,
            agreement.public.raw,
            party=me.party,
            identity=me.identity,
            context=context,
        )
        held = _Ready(me, roster, context, secret, agreement, message.key_id())
        return CustodianReady(held), message


@dataclass(frozen=True, slots=True, repr=False)
class _Ready:
    me: _Self
    roster: Roster
    context: bytes
    secret: CkksSecretKey
    agreement: AgreementKey
    key_id: bytes


class CustodianReady(SingleUse[_Ready]):
    """Waits for the aggregate and the signatures of it."""

    def decrypt(
        self, request: CustodyRequest, on_decrypt: Callable[[bytes], None]
    ) -> tuple[CustodianDone, SealedSums]:
        """Decrypt the one aggregate of this attempt and seal the sum to its survivors.

        Args:
            request: the aggregate, with τ signatures of survivors.
            on_decrypt: called with the digest of the aggregate before anything is decrypted.

        Raises:
            AlreadyDecryptedError, OutOfOrderError: called before.
            CryptoError: as `Decryption.decrypt`.
        """
        held = self._take()
        me, aggregate = held.me, request.aggregate
        members = held.roster.by_party()
        if not set(aggregate.survivors) <= members.keys():
            raise LimitError("the aggregate names survivors that are not on the roster")
        expected = ExpectedAggregate(
            me.plan, me.policy, held.context, aggregate.survivors, held.key_id
        )
        decryption = Decryption(
            key=held.secret, registry=me.registry, expected=expected, endorsed=None
        )
        total = decryption.decrypt(aggregate, request.signatures, on_decrypt)
        plain = total.astype("<u4").tobytes()
        context = sum_sealing_context(held.context, aggregate.digest())
        sealed = {
            party: seal(
                plain,
                key=held.agreement,
                peer=members[party].sealing_public,
                context=context,
                sender=me.party,
                recipient=party,
            )
            for party in aggregate.survivors
        }
        rows = {party: np.frombuffer(row, np.uint8) for party, row in sealed.items()}
        return CustodianDone(), SealedSums(held.context, me.party, rows)


@dataclass(frozen=True, slots=True)
class CustodianDone:
    """The custodian has decrypted once; it keeps no key."""
