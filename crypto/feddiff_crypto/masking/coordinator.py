"""The coordinator's side of a round, one class a state.

    CoordinatorStart → CoordinatorSharing → CoordinatorMasking → CoordinatorConsistency
        → CoordinatorUnmasking → RoundSum

Each transition takes what the parties sent, `{party: message}`, and returns the next state with
what to send, `{party: message}`. The rules of the machine:

- A missing party is a dropout; it takes no further part. Fewer than τ parties abort the round.
- A message that is of another context, wrongly signed, in another's name or from a party that
  should not speak aborts the round and names the party: robustness is not claimed, and a party that
  breaks the rules is for people to deal with.
- Masked vectors go into one accumulator as they come; none is kept.
- Contributions to masks (hybrid key agreement) are checked as their recipients check them; those
  for an owner that drops out are kept for the end.
- Opened secrets are checked against the signed adverts before a mask is removed. A wrong vector
  cannot be told from a right one, here or in any scheme that hides it.

None of this protects an owner: an owner's protection is in its own states. It protects the sum.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from feddiff_crypto.errors import (
    ContextMismatchError,
    OutOfOrderError,
    ProtocolError,
    ShareError,
)
from feddiff_crypto.fixedpoint import RING_BITS, RingArray
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import CONSISTENCY_LABEL, Registry
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.contributions import Contributions
from feddiff_crypto.masking.delivery import sort_shares
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
from feddiff_crypto.masking.opening import open_secrets
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.roster import check_roster
from feddiff_crypto.masking.single_use import SingleUse
from feddiff_crypto.masking.unmasking import Revealed, remove_masks


@dataclass(frozen=True, slots=True)
class _Plan:
    registry: Registry
    policy: Policy
    context: RoundContext
    dimension: int
    ring_bits: int
    agreement: KeyAgreement


@dataclass(frozen=True, slots=True)
class _Rostered:
    plan: _Plan
    roster: Roster
    context: bytes  # with the roster


@dataclass(frozen=True, slots=True, eq=False)
class RoundSum:
    """What a round ends with: everything a verifier needs beside the masked vectors."""

    total: RingArray  # sum of the survivors' vectors modulo 2ᵏ
    context: bytes  # digest of the context, with the roster
    roster: Roster
    survivors: tuple[str, ...]  # ascending
    signatures: Mapping[str, bytes]  # of the survivor set, at least τ
    revealed: Revealed = field(repr=False)
    contributions: Contributions = field(default_factory=dict, repr=False)
    """From survivors to each that dropped out after sharing; empty without hybrid key agreement."""


class CoordinatorStart(SingleUse[_Plan]):
    """A coordinator at the beginning of one attempt.

    Args:
        registry: the pinned identities of the plan's n owners.
        policy: n, d and c of the plan.
        context: the round; no roster yet.
        dimension: elements of each vector, ≥ 1.
        ring_bits: 32 or 64.
        agreement: how the owners of the plan agree on keys.

    Raises:
        ValueError: a number out of range, a registry of another size, or a context with a roster.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        policy: Policy,
        context: RoundContext,
        dimension: int,
        ring_bits: int = 32,
        agreement: KeyAgreement = KeyAgreement.X25519,
    ) -> None:
        if len(registry.parties) != policy.owners:
            raise ValueError(f"registry of {len(registry.parties)} for {policy.owners} owners")
        if dimension < 1 or ring_bits not in RING_BITS:
            raise ValueError(f"dimension {dimension} < 1 or ring_bits {ring_bits} not 32 or 64")
        if context.roster_hash:
            raise ValueError("an attempt begins before its roster is known")
        super().__init__(_Plan(registry, policy, context, dimension, ring_bits, agreement))

    def roster(
        self, adverts: Mapping[str, Advertise]
    ) -> tuple[CoordinatorSharing, dict[str, Roster]]:
        """Make the roster of those who advertised.

        Raises:
            OutOfOrderError: called before.
            ThresholdError, ContextMismatchError, RosterError, SignatureInvalidError: the roster
                would be refused by honest owners.
        """
        plan = self._take()
        for party, advert in adverts.items():
            _check_sender(party, advert.party)
        context = plan.context.digest()
        roster = Roster(context, tuple(adverts[party] for party in sorted(adverts)))
        check_roster(roster, plan.registry, plan.policy, context, plan.agreement)
        rostered = _Rostered(plan, roster, plan.context.with_roster(roster.digest()).digest())
        return CoordinatorSharing(rostered), dict.fromkeys(roster.parties, roster)


class CoordinatorSharing(SingleUse[_Rostered]):
    """Waits for the sealed shares."""

    def deliver(
        self, shares: Mapping[str, SealedShares]
    ) -> tuple[CoordinatorMasking, dict[str, DeliveredShares]]:
        """Sort the sealed shares by recipient.

        Raises:
            OutOfOrderError: called before.
            ThresholdError: fewer than τ owners shared.
            ContextMismatchError, ShareError, ProtocolError: a message that is not for this round,
                not for exactly the other members, or in another's name.
            SignatureInvalidError: a contribution to a mask that its sender did not sign.
        """
        held = self._take()
        members = set(held.roster.parties)
        for party, message in shares.items():
            _check_reply(party, message.party, message.context, members, held.context)
        sharers = tuple(sorted(shares))
        held.plan.policy.require("owners that shared", len(sharers))
        delivered, contributions = sort_shares(
            shares, held.roster, held.plan.registry, held.context
        )
        return CoordinatorMasking(held, sharers, contributions), delivered


class CoordinatorMasking(SingleUse[_Rostered]):
    """Adds up the masked vectors, one at a time."""

    def __init__(
        self, held: _Rostered, sharers: tuple[str, ...], contributions: Contributions
    ) -> None:
        super().__init__(held)
        self._rostered = held
        self._sharers = sharers
        self._contributions = contributions
        self._survivors: set[str] = set()
        dimension = held.plan.dimension
        self._total: RingArray = (
            np.zeros(dimension, np.uint32)
            if held.plan.ring_bits == 32
            else np.zeros(dimension, np.uint64)
        )

    def add(self, party: str, message: MaskedInput) -> None:
        """Add one masked vector to the sum; the message can be dropped afterwards.

        Raises:
            OutOfOrderError: a second vector of this party, or the sum is closed.
            ContextMismatchError, ProtocolError: not for this round, in another's name, or a vector
                of another length or ring.
        """
        self._expect(party, message.party, message.context)
        vector, total = message.vector, self._total
        if vector.dtype != total.dtype or vector.shape != total.shape:
            raise ProtocolError(
                f"masked vector {vector.dtype}{vector.shape}, expected {total.dtype}{total.shape}",
                party=party,
            )
        np.add(total, vector, out=total)  # unsigned: modulo 2ᵏ
        self._survivors.add(party)

    def admit(self, party: str, claimed: str, context: bytes) -> None:
        """Count a party among the survivors whose vector is added elsewhere, encrypted.

        Args:
            party: who sent a message; claimed, context: the message's own fields.

        Raises:
            OutOfOrderError, ContextMismatchError, ProtocolError: as `add`.
        """
        self._expect(party, claimed, context)
        self._survivors.add(party)

    @property
    def roster(self) -> Roster:
        """The roster of the attempt."""
        return self._rostered.roster

    @property
    def context(self) -> bytes:
        """Digest of the attempt's context, with the roster."""
        return self._rostered.context

    def _expect(self, party: str, claimed: str, context: bytes) -> None:
        if self._held is None:
            raise OutOfOrderError("a masked vector after the sum was closed", party=party)
        _check_reply(party, claimed, context, set(self._sharers), self._rostered.context)
        if party in self._survivors:
            raise OutOfOrderError("a second masked vector", party=party)

    def close(self) -> tuple[CoordinatorConsistency, dict[str, SurvivorSet]]:
        """End the phase; those whose vector was added are the survivors.

        Raises:
            OutOfOrderError: called before.
            ThresholdError: fewer than τ survivors.
        """
        held = self._take()
        held.plan.policy.require("masked vectors", len(self._survivors))
        survivor_set = SurvivorSet(held.context, tuple(sorted(self._survivors)))
        late = set(self._sharers) - self._survivors
        kept = {
            party: {p: row for p, row in self._contributions[party].items() if p in self._survivors}
            for party in sorted(late)
        }
        self._contributions = {}
        summed = _Summed(held, self._sharers, survivor_set, self._total, kept)
        return CoordinatorConsistency(summed), dict.fromkeys(survivor_set.survivors, survivor_set)

    def collect(
        self, inputs: Mapping[str, MaskedInput]
    ) -> tuple[CoordinatorConsistency, dict[str, SurvivorSet]]:
        """`add` each, then `close`."""
        for party, message in inputs.items():
            self.add(party, message)
        return self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Summed:
    rostered: _Rostered
    sharers: tuple[str, ...]
    survivor_set: SurvivorSet
    total: RingArray
    contributions: Contributions  # to those that dropped out after sharing


class CoordinatorConsistency(SingleUse[_Summed]):
    """Waits for the signatures of the survivor set."""

    def request(
        self, signatures: Mapping[str, ConsistencySignature]
    ) -> tuple[CoordinatorUnmasking, dict[str, UnmaskRequest]]:
        """Gather the signatures into the request to unmask, for those who signed.

        Raises:
            OutOfOrderError: called before.
            ThresholdError: fewer than τ signatures.
            ContextMismatchError, ProtocolError, SignatureInvalidError: one that is not for this
                round, not a survivor's, or not valid.
        """
        held = self._take()
        rostered, survivor_set = held.rostered, held.survivor_set
        digest, survivors = survivor_set.digest(), set(survivor_set.survivors)
        for party, message in signatures.items():
            _check_reply(party, message.party, message.context, survivors, rostered.context)
            rostered.plan.registry.verify(party, message.signature, CONSISTENCY_LABEL, digest)
        rostered.plan.policy.require("consistency signatures", len(signatures))
        signed = {party: signatures[party].signature for party in sorted(signatures)}
        request = UnmaskRequest(rostered.context, survivor_set.survivors, signed)
        return CoordinatorUnmasking(_Agreed(held, signed)), dict.fromkeys(signed, request)


@dataclass(frozen=True, slots=True, eq=False)
class _Agreed:
    summed: _Summed
    signatures: dict[str, bytes]


class CoordinatorUnmasking(SingleUse[_Agreed]):
    """Waits for the revealed shares."""

    def finish(self, replies: Mapping[str, UnmaskReply]) -> RoundSum:
        """Open the secrets and remove the masks.

        Raises:
            CryptoError: as `open`.
        """
        opened = self.open(replies)
        remove_masks(
            opened.total, opened.roster, opened.context, opened.revealed, opened.contributions
        )
        return opened

    def open(self, replies: Mapping[str, UnmaskReply]) -> RoundSum:
        """Open the secrets and check them; the masks stay on the sum.

        Raises:
            OutOfOrderError: called before.
            ThresholdError: fewer than τ replies.
            ContextMismatchError, ProtocolError, ShareError: a reply that is not for this round, not
                of a signer, not about exactly the agreed owners, or with wrong shares.
        """
        agreed = self._take()
        summed = agreed.summed
        rostered = summed.rostered
        survivors = set(summed.survivor_set.survivors)
        dropped = set(summed.sharers) - survivors
        for party, reply in replies.items():
            _check_reply(party, reply.party, reply.context, agreed.signatures, rostered.context)
            if reply.self_shares.keys() != survivors or reply.key_shares.keys() != dropped:
                raise ShareError("shares are not of exactly the agreed owners", party=party)
        threshold = rostered.plan.policy.threshold
        rostered.plan.policy.require("unmask replies", len(replies))
        revealed = open_secrets(replies, rostered.roster, survivors, dropped, threshold)
        return RoundSum(
            total=summed.total,
            context=rostered.context,
            roster=rostered.roster,
            survivors=summed.survivor_set.survivors,
            signatures=agreed.signatures,
            revealed=revealed,
            contributions=summed.contributions,
        )


def _check_sender(party: str, claimed: str) -> None:
    if claimed != party:
        raise ProtocolError(f"sent a message in the name of {claimed}", party=party)


def _check_reply(
    party: str, claimed: str, got: bytes, expected_parties: Collection[str], context: bytes
) -> None:
    if party not in expected_parties:
        raise ProtocolError("is not expected to speak in this phase", party=party)
    _check_sender(party, claimed)
    if got != context:
        raise ContextMismatchError("a message of another context", party=party)
