"""The owner's side of a round, one class a state.

    OwnerStart → OwnerAdvertised → OwnerShared → OwnerMasked → OwnerConsistent → OwnerDone

(Bonawitz et al., CCS 2017, figure 4, the variant against a malicious server.) The owner trusts the
pinned registry and its own memory, nothing else. The rules of the machine:

- A state serves one transition, whether it succeeds or is refused; a refused message ends the
  round for this owner. Both key pairs and the self-mask secret are made in `advertise` and die with
  the states, so they cannot serve a second round or attempt.
- Roster: every advert is signed by the pinned identity of its party for this very context; the
  owner's own advert is in it, unchanged; at least τ and at most n members; no key appears twice.
- Every advert is of the plan's key agreement; keys of another are refused, whoever signed them.
- Only the mask key and the self-mask secret are shared, with threshold τ. The sealing key is not:
  opening a dropped owner's key must not open the shares that were sealed to it.
- With hybrid key agreement, contributions to masks come from exactly the members below this owner
  that shared, each signed by its sender.
- The masked vector leaves only after the shares of at least τ owners, the own one counted, have
  been opened: x + PRG(b_u) + Σ_{v>u} PRG(s_uv) − Σ_{v<u} PRG(s_uv) over those owners v.
- Survivors: a subset of those owners, at least τ, the own party in it. One such set is signed.
- Shares are revealed for the very set that was signed, once it carries valid signatures of at least
  τ of its members; for each peer one kind: the self-mask secret's if it survived, else the mask
  key's. `on_reveal` runs before the reply exists for anyone else: it persists that this attempt was
  answered, and if it raises nothing is revealed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from feddiff_crypto.errors import (
    AlreadyAnsweredError,
    ContextMismatchError,
    RosterError,
    ShareError,
    SurvivorSetError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import CONSISTENCY_LABEL, IdentityKey, Registry
from feddiff_crypto.masking.attempt_secrets import AttemptSecrets
from feddiff_crypto.masking.bundles import Bundle, open_bundle, seal_bundles, split_bundles
from feddiff_crypto.masking.channel import Channel
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.contributions import (
    check_contributions,
    require_contributions,
    seal_contributions,
)
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.messages import (
    Advertise,
    ConsistencySignature,
    DeliveredShares,
    MaskedInput,
    Roster,
    SealedShares,
    SurvivorSet,
    UnmaskReply,
    UnmaskRequest,
)
from feddiff_crypto.masking.pairs import pairwise_seeds
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.roster import check_roster
from feddiff_crypto.masking.seeds import self_seed
from feddiff_crypto.masking.single_use import SingleUse
from feddiff_crypto.prg import add_masks
from feddiff_crypto.randomness import RandomBytes


@dataclass(frozen=True, slots=True, repr=False)
class Member:
    """What an owner is throughout a round."""

    party: str
    identity: IdentityKey
    registry: Registry
    policy: Policy
    context: RoundContext
    random: RandomBytes
    agreement: KeyAgreement


class OwnerStart(SingleUse[Member]):
    """An owner that has trained and is ready for one attempt of a round.

    Args:
        party: the owner's name in the registry.
        identity: its private identity key.
        registry: the pinned identities of exactly the plan's n owners.
        policy: n, d and c of the plan.
        context: the round as this owner knows it; no roster yet.
        random: `SecureRandom` in production.
        agreement: how the owners of the plan agree on keys.

    Raises:
        ValueError: the registry does not hold `policy.owners` parties or not this identity under
            this name, or the context already has a roster.
    """

    def __init__(
        self,
        *,
        party: str,
        identity: IdentityKey,
        registry: Registry,
        policy: Policy,
        context: RoundContext,
        random: RandomBytes,
        agreement: KeyAgreement = KeyAgreement.X25519,
    ) -> None:
        if len(registry.parties) != policy.owners:
            raise ValueError(f"registry of {len(registry.parties)} for {policy.owners} owners")
        if registry.identities.get(party) != identity.public:
            raise ValueError(f"the registry does not pin this identity under {party!r}")
        if context.roster_hash:
            raise ValueError("an attempt begins before its roster is known")
        super().__init__(Member(party, identity, registry, policy, context, random, agreement))

    @property
    def member(self) -> Member:
        """What this owner is throughout the round."""
        return self._peek()

    def advertise(self) -> tuple[OwnerAdvertised, Advertise]:
        """Make this attempt's keys and announce their public halves.

        Raises:
            HybridUnavailableError: hybrid key agreement on a machine without ML-KEM-768.
        """
        me = self._take()
        secrets = AttemptSecrets.generate(me.agreement, me.party, me.context.digest(), me.random)
        advert = secrets.advert(me.identity)
        return OwnerAdvertised(_Advertised(me, secrets, advert)), advert


@dataclass(frozen=True, slots=True, repr=False)
class _Advertised:
    me: Member
    secrets: AttemptSecrets
    advert: Advertise


class OwnerAdvertised(SingleUse[_Advertised]):
    """Waits for the roster."""

    def share(self, roster: Roster) -> tuple[OwnerShared, SealedShares]:
        """Check the roster and share the two secrets among its members.

        Raises:
            OutOfOrderError: called before.
            ContextMismatchError: a roster of another context.
            ThresholdError: fewer than τ members.
            RosterError: a member that is not pinned, a key twice, keys of another key agreement,
                the own advert not unchanged.
            SignatureInvalidError: an advert that its party did not sign.
            KeyInvalidError: a sealing key of low order, or no ML-KEM-768 key.
        """
        held = self._take()
        me, secrets = held.me, held.secrets
        check_roster(roster, me.registry, me.policy, me.context.digest(), me.agreement)
        if roster.by_party().get(me.party) != held.advert:
            raise RosterError("the roster does not hold this owner's own advert unchanged")
        context = me.context.with_roster(roster.digest()).digest()
        bundles = split_bundles(
            secrets.self_secret, secrets.mask_key, roster, me.policy.threshold, me.random
        )
        sealed = seal_bundles(bundles, secrets.sealing_key, me.party, roster, context)
        contributions = None
        if isinstance(secrets.mask_key, HybridMaskKey):
            contributions = seal_contributions(
                secrets.mask_key, me.identity, me.party, roster, context
            )
        state = OwnerShared(_Shared(me, secrets, roster, context, bundles[me.party]))
        return state, SealedShares(context, me.party, sealed, contributions)


@dataclass(frozen=True, slots=True, repr=False)
class _Shared:
    me: Member
    secrets: AttemptSecrets
    roster: Roster
    context: bytes
    own: Bundle


class OwnerShared(SingleUse[_Shared]):
    """Waits for the shares of the other owners."""

    def channel(self) -> Channel:
        """The sealing key of this attempt, for one more message to or from each peer.

        Raises:
            OutOfOrderError: the state was used.
        """
        held = self._peek()
        return Channel(held.secrets.sealing_key, held.me.party, held.roster, held.context)

    def mask(
        self, delivered: DeliveredShares, vector: RingArray
    ) -> tuple[OwnerMasked, MaskedInput]:
        """Open the delivered shares and mask `vector`, which is left as it is.

        Args:
            delivered: shares from the other owners that still take part.
            vector: one-dimensional uint32 or uint64, the noised vector on the ring.

        Raises:
            OutOfOrderError: called before.
            TypeError, ValueError: `vector` is not such an array.
            ContextMismatchError: shares of another context, for instance of another roster.
            ShareError: a share from a non-member or for another owner, or one that does not open;
                a contribution to a mask that is missing, broken, or not called for.
            SignatureInvalidError: a contribution that its sender did not sign.
            ThresholdError: fewer than τ owners take part.
            KeyInvalidError: a mask key of low order.
        """
        held = self._take()
        me, secrets = held.me, held.secrets
        _check_context(delivered.context, held.context)
        if delivered.recipient != me.party:
            raise ShareError(f"shares for {delivered.recipient}, not for {me.party}")
        bundles = {me.party: held.own} | {
            sender: open_bundle(
                sealed,
                key=secrets.sealing_key,
                sender=sender,
                recipient=me.party,
                roster=held.roster,
                context=held.context,
            )
            for sender, sealed in delivered.sealed.items()
        }
        me.policy.require("owners that shared", len(bundles))
        seeds = pairwise_seeds(
            secrets.mask_key,
            me.party,
            peers=bundles.keys() - {me.party},
            roster=held.roster,
            context=held.context,
            received=_received_contributions(held, delivered),
        )
        masked = vector.copy()
        add_masks(
            masked,
            plus=[
                self_seed(secrets.self_secret, me.party, held.context),
                *(seed for peer, seed in seeds.items() if peer > me.party),
            ],
            minus=[seed for peer, seed in seeds.items() if peer < me.party],
        )
        state = OwnerMasked(_Masked(me, held.context, bundles))
        return state, MaskedInput(held.context, me.party, masked)


@dataclass(frozen=True, slots=True, repr=False)
class _Masked:
    me: Member
    context: bytes
    bundles: dict[str, Bundle]  # of every owner that shared, the own one included


class OwnerMasked(SingleUse[_Masked]):
    """Waits for the survivor set."""

    def sign(self, survivor_set: SurvivorSet) -> tuple[OwnerConsistent, ConsistencySignature]:
        """Check the survivor set and sign it, the only one this owner signs in this attempt.

        Raises:
            OutOfOrderError: called before.
            ContextMismatchError: a set of another context.
            SurvivorSetError: a member that did not share, or this owner is missing.
            ThresholdError: fewer than τ survivors.
        """
        held = self._take()
        me = held.me
        _check_context(survivor_set.context, held.context)
        strangers = set(survivor_set.survivors) - held.bundles.keys()
        if strangers or len(set(survivor_set.survivors)) != len(survivor_set.survivors):
            raise SurvivorSetError(f"repeated names, or some that did not share: {strangers}")
        if me.party not in survivor_set.survivors:
            raise SurvivorSetError(f"{me.party} sent its vector but is not in the survivor set")
        me.policy.require("survivors", len(survivor_set.survivors))
        signature = me.identity.sign(CONSISTENCY_LABEL, survivor_set.digest())
        state = OwnerConsistent(_Consistent(me, held.context, held.bundles, survivor_set))
        return state, ConsistencySignature(held.context, me.party, signature)


@dataclass(frozen=True, slots=True, repr=False)
class _Consistent:
    me: Member
    context: bytes
    bundles: dict[str, Bundle]
    survivor_set: SurvivorSet


class OwnerConsistent(SingleUse[_Consistent]):
    """Waits for the unmask request."""

    used_error = AlreadyAnsweredError

    def reveal(
        self, request: UnmaskRequest, on_reveal: Callable[[bytes], None]
    ) -> tuple[OwnerDone, UnmaskReply]:
        """Reveal one kind of share for each owner that shared.

        Args:
            request: the survivor set and its signatures.
            on_reveal: called with the 32-byte digest of the signed survivor set, which names
                session, round and attempt, before the reply is returned.

        Raises:
            AlreadyAnsweredError: called before.
            ContextMismatchError: a request of another context.
            SurvivorSetError: not the set this owner signed, or a signer outside it.
            ThresholdError: fewer than τ signatures.
            SignatureInvalidError: a signature that is not valid for the set.
        """
        held = self._take()
        _check_context(request.context, held.context)
        survivors = held.survivor_set.survivors
        if request.survivors != survivors:
            raise SurvivorSetError("the unmask request names another set than the one signed")
        digest = held.survivor_set.digest()
        for signer, signature in request.signatures.items():
            if signer not in survivors:
                raise SurvivorSetError("a signer that is no survivor", party=signer)
            held.me.registry.verify(signer, signature, CONSISTENCY_LABEL, digest)
        held.me.policy.require("consistency signatures", len(request.signatures))
        alive = set(survivors)
        reply = UnmaskReply(
            context=held.context,
            party=held.me.party,
            self_shares={p: b.self_share for p, b in held.bundles.items() if p in alive},
            key_shares={p: b.key_share for p, b in held.bundles.items() if p not in alive},
        )
        on_reveal(digest)
        return OwnerDone(), reply


@dataclass(frozen=True, slots=True)
class OwnerDone:
    """The owner has revealed what it may; it keeps no secret of the round."""


def _check_context(got: bytes, expected: bytes) -> None:
    if got != expected:
        raise ContextMismatchError(f"context {got.hex()[:16]}… is not {expected.hex()[:16]}…")


def _received_contributions(held: _Shared, delivered: DeliveredShares) -> Mapping[str, bytes]:
    """What the members below this owner contributed to its masks, checked."""
    me = held.me
    received = require_contributions(
        delivered.contributions,
        [sender for sender in delivered.sealed if sender < me.party],
        is_hybrid=me.agreement is KeyAgreement.HYBRID,
        party=None,
    )
    check_contributions(received, me.party, me.registry, held.context)
    return received
