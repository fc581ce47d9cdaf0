"""The owner's side of an encrypted round, one class a state around those of a masked round.

    EncryptedStart → EncryptedAdvertised → EncryptedShared → EncryptedMasked → EncryptedConsistent
        → EncryptedRevealed → OwnerDone

The masked protocol runs inside, unchanged, with all its checks; what changes is that the masked
vector leaves encrypted, that the owner signs the aggregate of the ciphertexts together with the
survivor set, and that the owners, not the coordinator, decrypt the sum and take off its masks.
Each state serves one transition and lives in memory only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feddiff_crypto.errors import ContextMismatchError, ShareError
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.he.custodian_messages import CustodianDelivery, ReceiveRequest
from feddiff_crypto.he.decrypt import sign_sum
from feddiff_crypto.he.endorse import AggregateReview, ExpectedAggregate
from feddiff_crypto.he.keys import CkksSecretKey, key_maker, seal_secret_key
from feddiff_crypto.he.messages import EncryptedAggregate, EncryptedInput, SumSignature
from feddiff_crypto.he.parameters import EncryptedPlan
from feddiff_crypto.he.round_messages import (
    DecryptRequest,
    EncryptedConsistency,
    KeyedDelivery,
    KeyedShares,
    OpenedSecrets,
)
from feddiff_crypto.he.ways import CustodianWay, OwnersWay, Signed
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.contributions import (
    Contributions,
    check_contributions,
    require_contributions,
)
from feddiff_crypto.masking.mask_keys import open_mask_key
from feddiff_crypto.masking.messages import (
    Advertise,
    Roster,
    SurvivorSet,
    UnmaskReply,
    UnmaskRequest,
)
from feddiff_crypto.masking.owner import (
    Member,
    OwnerAdvertised,
    OwnerConsistent,
    OwnerDone,
    OwnerMasked,
    OwnerShared,
    OwnerStart,
)
from feddiff_crypto.masking.single_use import SingleUse
from feddiff_crypto.masking.unmasking import Revealed, remove_masks


@dataclass(frozen=True, slots=True)
class Custodian:
    """Who decrypts in custodian mode, as owners know it.

    Attributes:
        party: its name.
        registry: pinned identities of custodians, apart from the owners'.
    """

    party: str
    registry: Registry


@dataclass(frozen=True, slots=True, repr=False)
class _Self:
    member: Member
    plan: EncryptedPlan
    custodian: Custodian | None


class EncryptedStart(SingleUse[tuple[_Self, OwnerStart]]):
    """An owner that is ready for one attempt of an encrypted round.

    Args:
        start: the same owner as a masked round would begin with it; not to be used elsewhere.
        dimension: elements of each vector.
        custodian: who decrypts; None where the owners do.

    Raises:
        PolicyError, LimitError: numbers for which sums are not exact.
    """

    def __init__(
        self, start: OwnerStart, *, dimension: int, custodian: Custodian | None = None
    ) -> None:
        member = start.member
        plan = EncryptedPlan(member.policy.owners, dimension)
        super().__init__((_Self(member, plan, custodian), start))

    def advertise(self) -> tuple[EncryptedAdvertised, Advertise]:
        """Make this attempt's keys and announce their public halves."""
        me, start = self._take()
        state, advert = start.advertise()
        return EncryptedAdvertised((me, state)), advert


class EncryptedAdvertised(SingleUse[tuple[_Self, OwnerAdvertised]]):
    """Waits for the roster."""

    def share(self, roster: Roster) -> tuple[EncryptedShared, KeyedShares]:
        """Share the secrets of the masks; the roster's first member makes the CKKS key too.

        Raises:
            CryptoError: as `OwnerAdvertised.share`.
            EncryptionUnavailableError: this machine cannot make the key.
        """
        me, advertised = self._take()
        shared, sealed = advertised.share(roster)
        key, sealed_keys = None, dict[str, bytes]()
        if me.custodian is None and key_maker(roster) == me.member.party:
            channel = shared.channel()
            key = CkksSecretKey.generate()
            sealed_keys = seal_secret_key(
                key,
                key=channel.key,
                sender=me.member.party,
                roster=roster,
                context=channel.context,
            )
        return EncryptedShared((me, shared, key)), KeyedShares(sealed, sealed_keys)


class EncryptedShared(SingleUse[tuple[_Self, OwnerShared, CkksSecretKey | None]]):
    """Waits for the shares of the other owners and the key of the round."""

    def mask(
        self, delivery: KeyedDelivery | CustodianDelivery, vector: RingArray
    ) -> tuple[EncryptedMasked, EncryptedInput]:
        """Mask `vector`, which is left as it is, and encrypt the masked vector.

        Args:
            delivery: keyed where owners hold the key, from a custodian otherwise.
            vector: uint32 (dimension,), the noised vector on the ring.

        Raises:
            TypeError, ValueError: `vector` is not such an array.
            ShareError: no key, one that does not open, or one from the wrong party.
            SignatureInvalidError: a public key that the custodian did not sign for this round.
            CryptoError: others of `OwnerShared.mask`.
        """
        me, shared, made = self._take()
        if vector.shape != (me.plan.dimension,):
            raise ValueError(f"vector: shape {vector.shape}, expected ({me.plan.dimension},)")
        channel = shared.channel()
        way: OwnersWay | CustodianWay
        if isinstance(delivery, CustodianDelivery):
            if me.custodian is None:
                raise ShareError("a custodian's key in a round of the owners' own key")
            way = CustodianWay.accept(
                delivery.key, channel, me.custodian.party, me.custodian.registry
            )
        else:
            if me.custodian is not None:
                raise ShareError("a key of the owners in a round with a custodian")
            way = OwnersWay.accept(made, delivery.sealed_key, channel)
        masked, message = shared.mask(delivery.shares, vector)
        encrypted = EncryptedInput(
            message.context, me.member.party, way.key_id, way.encrypt(message.vector)
        )
        sharers = frozenset({me.member.party, *delivery.shares.sealed})
        held = _Held(me, channel.roster, channel.context, sharers, way)
        return EncryptedMasked((held, masked)), encrypted


@dataclass(frozen=True, slots=True, repr=False)
class _Held:
    me: _Self
    roster: Roster
    context: bytes
    sharers: frozenset[str]
    way: OwnersWay | CustodianWay


class EncryptedMasked(SingleUse[tuple[_Held, OwnerMasked]]):
    """Waits for the aggregate, which names the survivor set."""

    def sign(
        self, aggregate: EncryptedAggregate
    ) -> tuple[EncryptedConsistent, EncryptedConsistency]:
        """Sign the survivor set and the aggregate, the only ones of this attempt.

        Raises:
            CryptoError: as `OwnerMasked.sign` and `AggregateReview.endorse`.
        """
        held, masked = self._take()
        me = held.me
        consistent, survivors = masked.sign(SurvivorSet(aggregate.context, aggregate.survivors))
        expected = ExpectedAggregate(
            me.plan, me.member.policy, held.context, aggregate.survivors, held.way.key_id
        )
        review = AggregateReview(
            party=me.member.party, identity=me.member.identity, expected=expected
        )
        digest, endorsement = review.endorse(aggregate)
        reply = EncryptedConsistency(
            held.context, me.member.party, survivors.signature, endorsement
        )
        signed = Signed(aggregate, expected, digest)
        return EncryptedConsistent((held, consistent, signed)), reply


class EncryptedConsistent(SingleUse[tuple[_Held, OwnerConsistent, Signed]]):
    """Waits for the unmask request."""

    def reveal(
        self, request: UnmaskRequest, on_reveal: Callable[[bytes], None]
    ) -> tuple[EncryptedRevealed, UnmaskReply]:
        """Reveal one kind of share for each owner that shared; as `OwnerConsistent.reveal`."""
        held, consistent, signed = self._take()
        _, reply = consistent.reveal(request, on_reveal)
        return EncryptedRevealed((held, signed)), reply


class EncryptedRevealed(SingleUse[tuple[_Held, Signed]]):
    """Waits for what opens the aggregate."""

    def decrypt(
        self, request: DecryptRequest | ReceiveRequest, on_decrypt: Callable[[bytes], None]
    ) -> tuple[OwnerDone, RingArray, SumSignature]:
        """Open the aggregate that this owner signed, take off the masks and sign the sum.

        Args:
            request: signatures of the aggregate (from a custodian: the sealed sum), and the opened
                secrets.
            on_decrypt: called with the digest of the aggregate before anything is decrypted.

        Returns:
            The last state; the sum of the survivors' vectors, uint32 (dimension,), which is this
            owner's to use and not to send; and the signature of its digest, to send.

        Raises:
            ContextMismatchError: a request of another round.
            ShareError: secrets of other owners than those agreed on, or not the committed ones;
                contributions to masks that are missing or not called for.
            SignatureInvalidError: a contribution that its sender did not sign.
            CryptoError: as `Decryption.decrypt`.
        """
        held, signed = self._take()
        if request.context != held.context:
            raise ContextMismatchError("a decrypt request of another context")
        revealed = _revealed(request.opened, held, signed.expected.survivors)
        revealed.check(held.roster)
        contributions = _checked_contributions(request.opened, held)
        total = held.way.open(request, signed, held.me.member.registry, on_decrypt)
        remove_masks(total, held.roster, held.context, revealed, contributions)
        return (
            OwnerDone(),
            total,
            sign_sum(total, held.me.member.party, held.me.member.identity, held.context),
        )


def _revealed(opened: OpenedSecrets, held: _Held, survivors: tuple[str, ...]) -> Revealed:
    if opened.self_secrets.keys() != set(survivors):
        raise ShareError("self-mask secrets are not of exactly the survivors")
    if opened.mask_keys.keys() != held.sharers - set(survivors):
        raise ShareError("mask keys are not of exactly the owners that dropped out")
    adverts = held.roster.by_party()
    keys = {party: open_mask_key(raw, adverts[party]) for party, raw in opened.mask_keys.items()}
    return Revealed(opened.self_secrets, keys)


def _checked_contributions(opened: OpenedSecrets, held: _Held) -> Contributions:
    """What survivors sealed to the owners that dropped out, each row signed by its sender.

    This owner got those to itself alone; with the mask secrets open, anyone could make others.
    """
    member = held.me.member
    is_hybrid = member.agreement is KeyAgreement.HYBRID
    if (opened.contributions is not None) != is_hybrid:
        raise ShareError("opened secrets of another key agreement than the plan's")
    if opened.contributions is None:
        return {}
    for dropped in opened.mask_keys:
        rows = opened.contributions.get(dropped, {})
        below = [survivor for survivor in opened.self_secrets if survivor < dropped]
        require_contributions(rows, below, is_hybrid=True, party=dropped)
        check_contributions(rows, dropped, member.registry, held.context)
    return opened.contributions
