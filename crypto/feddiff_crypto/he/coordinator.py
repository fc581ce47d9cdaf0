"""The coordinator's side of an encrypted round, one class a state around the masked round's.

    CoordinatorStart → CoordinatorSharing → EncryptedGathering → EncryptedAgreement
        → EncryptedUnmasking → EncryptedOpened → the owners' agreement on a digest

It holds no key of CKKS. It adds ciphertexts, carries the aggregate to the owners, opens the secrets
of the masks as in masked mode, and ends with a digest: the sum is with the owners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from feddiff_crypto.errors import ContextMismatchError, ProtocolError, ShareError
from feddiff_crypto.he.aggregate import CiphertextSum
from feddiff_crypto.he.custodian_messages import (
    CustodianDelivery,
    CustodianKey,
    CustodyRequest,
    ReceiveRequest,
    SealedSums,
)
from feddiff_crypto.he.decrypt import check_sum_signatures
from feddiff_crypto.he.keys import key_maker
from feddiff_crypto.he.messages import (
    AGGREGATE_LABEL,
    EncryptedAggregate,
    EncryptedInput,
    SumSignature,
)
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.he.round_messages import (
    DecryptRequest,
    EncryptedConsistency,
    KeyedDelivery,
    KeyedShares,
    OpenedSecrets,
)
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.coordinator import (
    CoordinatorConsistency,
    CoordinatorMasking,
    CoordinatorSharing,
    CoordinatorUnmasking,
    RoundSum,
)
from feddiff_crypto.masking.messages import (
    ConsistencySignature,
    UnmaskReply,
    UnmaskRequest,
)
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.single_use import SingleUse


@dataclass(frozen=True, slots=True)
class EncryptedRound:
    """What the coordinator knows of an attempt: public numbers.

    Attributes:
        registry: pinned identities of the owners.
        policy: n, d and c.
        plan: owners and dimension.
    """

    registry: Registry
    policy: Policy
    plan: EncryptedPlan


def deliver_keyed(
    sharing: CoordinatorSharing, round_: EncryptedRound, shares: Mapping[str, KeyedShares]
) -> tuple[EncryptedGathering, dict[str, KeyedDelivery]]:
    """Sort sealed shares and the sealed CKKS key by recipient.

    Raises:
        ShareError: the member that makes the key sent none or not for all, or another sent one.
        CryptoError: as `CoordinatorSharing.deliver`.
    """
    masking, delivered = sharing.deliver({p: message.shares for p, message in shares.items()})
    maker = key_maker(masking.roster)
    if maker not in shares:
        raise ShareError("dropped out before the round had a key", party=maker)
    for party, message in shares.items():
        wanted = set(masking.roster.parties) - {maker} if party == maker else set()
        if message.sealed_keys.keys() != wanted:
            raise ShareError("CKKS keys are not for exactly the other members", party=party)
    keys = shares[maker].sealed_keys
    out = {p: KeyedDelivery(item, keys.get(p, b"")) for p, item in delivered.items()}
    return EncryptedGathering(round_, masking, None), out


def deliver_custodian(
    sharing: CoordinatorSharing,
    round_: EncryptedRound,
    shares: Mapping[str, KeyedShares],
    key: CustodianKey,
) -> tuple[EncryptedGathering, dict[str, CustodianDelivery]]:
    """Sort sealed shares by recipient, each with the custodian's key.

    Raises:
        ShareError: an owner sent a CKKS key.
        ContextMismatchError: the custodian's key is of another round.
        CryptoError: as `CoordinatorSharing.deliver`.
    """
    for party, message in shares.items():
        if message.sealed_keys:
            raise ShareError("a CKKS key in a round with a custodian", party=party)
    masking, delivered = sharing.deliver({p: message.shares for p, message in shares.items()})
    if key.context != masking.context:
        raise ContextMismatchError("a key of another round", party=key.party)
    out = {party: CustodianDelivery(item, key) for party, item in delivered.items()}
    return EncryptedGathering(round_, masking, key.key_id()), out


class EncryptedGathering(SingleUse[tuple[EncryptedRound, CoordinatorMasking]]):
    """Adds up the ciphertexts, one owner's at a time.

    Args:
        round_: the public numbers.
        masking: the masked round's state.
        key_id: of the custodian's key; None where the first ciphertexts name it.
    """

    def __init__(
        self, round_: EncryptedRound, masking: CoordinatorMasking, key_id: bytes | None
    ) -> None:
        super().__init__((round_, masking))
        self._key_id = key_id
        self._sum: CiphertextSum | None = None

    def add(self, party: str, message: EncryptedInput) -> None:
        """Add one owner's ciphertexts; the message can be dropped afterwards.

        Raises:
            CryptoError: as `CoordinatorMasking.add` and `CiphertextSum.add`.
        """
        round_, masking = self._peek()
        masking.admit(party, message.party, message.context)
        if self._sum is None:
            self._sum = CiphertextSum(
                plan=round_.plan, context=masking.context, key_id=self._key_id or message.key_id
            )
        self._sum.add(message)

    def close(self) -> tuple[EncryptedAgreement, dict[str, EncryptedAggregate]]:
        """End the phase; those whose ciphertexts were added are the survivors.

        Raises:
            ThresholdError: fewer than τ survivors.
        """
        round_, masking = self._take()
        consistency, sets = masking.close()  # at least τ ≥ 1, so there is a sum
        assert self._sum is not None
        aggregate = self._sum.finish(tuple(sets))
        return EncryptedAgreement((round_, consistency, aggregate)), dict.fromkeys(sets, aggregate)

    def collect(
        self, inputs: Mapping[str, EncryptedInput]
    ) -> tuple[EncryptedAgreement, dict[str, EncryptedAggregate]]:
        """`add` each, then `close`."""
        for party, message in inputs.items():
            self.add(party, message)
        return self.close()


class EncryptedAgreement(
    SingleUse[tuple[EncryptedRound, CoordinatorConsistency, EncryptedAggregate]]
):
    """Waits for the signatures of the survivor set and of the aggregate."""

    def request(
        self, signatures: Mapping[str, EncryptedConsistency]
    ) -> tuple[EncryptedUnmasking, dict[str, UnmaskRequest]]:
        """Gather the signatures into the request to unmask.

        Raises:
            SignatureInvalidError: a signature that is not valid for the set or the aggregate.
            CryptoError: others of `CoordinatorConsistency.request`.
        """
        round_, consistency, aggregate = self._take()
        unmasking, requests = consistency.request(
            {
                party: ConsistencySignature(message.context, message.party, message.signature)
                for party, message in signatures.items()
            }
        )
        digest = aggregate.digest()
        endorsed = {party: signatures[party].aggregate_signature for party in sorted(signatures)}
        for party, signature in endorsed.items():
            round_.registry.verify(party, signature, AGGREGATE_LABEL, digest)
        return EncryptedUnmasking((round_, unmasking, aggregate, endorsed)), requests


class EncryptedUnmasking(
    SingleUse[tuple[EncryptedRound, CoordinatorUnmasking, EncryptedAggregate, dict[str, bytes]]]
):
    """Waits for the revealed shares."""

    def open(self, replies: Mapping[str, UnmaskReply]) -> EncryptedOpened:
        """Open the secrets that take the masks off.

        Raises:
            CryptoError: as `CoordinatorUnmasking.open`.
        """
        round_, unmasking, aggregate, endorsed = self._take()
        return EncryptedOpened((round_, unmasking.open(replies), aggregate, endorsed))


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedSum:
    """What an encrypted round ends with at the coordinator.

    Attributes:
        digest: of the sum, on which at least τ owners agree.
        aggregate: what they decrypted.
        opened: survivors, signatures and opened secrets; its total is empty of meaning.
        signatures: owner → its signature of the digest.
    """

    digest: bytes
    aggregate: EncryptedAggregate
    opened: RoundSum
    signatures: Mapping[str, bytes]


class EncryptedOpened(
    SingleUse[tuple[EncryptedRound, RoundSum, EncryptedAggregate, dict[str, bytes]]]
):
    """Has what the owners need to decrypt; waits for their signatures of the sum."""

    def requests(self) -> dict[str, DecryptRequest]:
        """For each survivor that signed: what it needs to decrypt."""
        _, opened, _, endorsed = self._peek()
        request = DecryptRequest(opened.context, endorsed, _opened_secrets(opened))
        return dict.fromkeys(endorsed, request)

    def custody(self) -> CustodyRequest:
        """For a custodian: the aggregate and its signatures, without what opens the masks."""
        _, _, aggregate, endorsed = self._peek()
        return CustodyRequest(aggregate, endorsed)

    def receive(self, custodian: str, sums: SealedSums) -> dict[str, ReceiveRequest]:
        """For each survivor that signed: the sum a custodian sealed to it.

        Raises:
            ContextMismatchError, ProtocolError: of another round, in another's name, or not for
                exactly the survivors.
        """
        _, opened, _, endorsed = self._peek()
        if sums.context != opened.context:
            raise ContextMismatchError("a sum of another context", party=custodian)
        if sums.party != custodian or tuple(sorted(sums.sealed)) != opened.survivors:
            raise ProtocolError("sums are not for exactly the survivors", party=custodian)
        secrets = _opened_secrets(opened)
        return {
            party: ReceiveRequest(opened.context, sums.sealed[party], secrets) for party in endorsed
        }

    def finish(self, messages: Mapping[str, SumSignature]) -> EncryptedSum:
        """The digest of the sum on which the owners agree.

        Raises:
            CryptoError: as `check_sum_signatures`.
        """
        round_, opened, aggregate, _ = self._take()
        digest = check_sum_signatures(messages, round_.registry, round_.policy, opened.context)
        signatures = {party: messages[party].signature for party in sorted(messages)}
        return EncryptedSum(digest, aggregate, opened, signatures)


def _opened_secrets(opened: RoundSum) -> OpenedSecrets:
    keys = {party: key.raw for party, key in opened.revealed.mask_keys.items()}
    contributions = opened.contributions if opened.roster.is_hybrid else None
    return OpenedSecrets(opened.revealed.self_secrets, keys, contributions)
