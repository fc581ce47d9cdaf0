"""A coordinator that breaks the rules: each attack is refused by name and reveals nothing.

The owners are honest and run their real states; the coordinator here is free to send anything. It
knows all messages, and where a test says so the identity key of a colluding owner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.encoding import encode
from feddiff_crypto.errors import (
    AlreadyAnsweredError,
    ContextMismatchError,
    CryptoError,
    KeyInvalidError,
    OutOfOrderError,
    RosterError,
    ShareError,
    SignatureInvalidError,
    SurvivorSetError,
    ThresholdError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.keys import ADVERTISE_LABEL, CONSISTENCY_LABEL, IdentityKey, Registry
from feddiff_crypto.masking.bundles import Bundle, seal_bundles
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.messages import (
    SEALED_BYTES,
    Advertise,
    DeliveredShares,
    Roster,
    SealedShares,
    SurvivorSet,
    UnmaskReply,
    UnmaskRequest,
)
from feddiff_crypto.masking.owner import OwnerStart
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.shamir import PRIME, SHARE_BYTES, Share, combine

RANDOM = SecureRandom()
NAMES = ("ann", "bob", "cy", "dee")
POLICY = Policy(4, dropouts=1, colluders=1)  # τ = 3
IDENTITIES = {name: IdentityKey.generate(RANDOM) for name in (*NAMES, "eve")}
REGISTRY = Registry({name: IDENTITIES[name].public for name in NAMES})
CONTEXT = RoundContext("session", 3, 0, b"m" * 32, b"c" * 32)
LOW_ORDER = bytes(32)
VECTORS = {name: np.arange(6, dtype=np.uint32) + i for i, name in enumerate(NAMES)}


def sign_advert(advert: Advertise, identity: IdentityKey) -> Advertise:
    signature = identity.sign(ADVERTISE_LABEL, advert.signed_digest())
    return dataclasses.replace(advert, signature=signature)


@dataclass
class Owners:
    """Four honest owners, taken through the phases by whatever the coordinator sends."""

    contexts: Mapping[str, RoundContext] = field(
        default_factory=lambda: dict.fromkeys(NAMES, CONTEXT)
    )
    states: dict[str, Any] = field(default_factory=dict)
    persisted: list[bytes] = field(default_factory=list)
    replies: list[UnmaskReply] = field(default_factory=list)

    def advertise(self) -> dict[str, Advertise]:
        adverts = {}
        for name in NAMES:
            start = OwnerStart(
                party=name,
                identity=IDENTITIES[name],
                registry=REGISTRY,
                policy=POLICY,
                context=self.contexts[name],
                random=RANDOM,
            )
            self.states[name], adverts[name] = start.advertise()
        return adverts

    def _step(self, name: str, step: Callable[[Any], tuple[Any, Any]]) -> Any:
        self.states[name], message = step(self.states[name])
        return message

    def share(self, name: str, roster: Roster) -> SealedShares:
        shares: SealedShares = self._step(name, lambda state: state.share(roster))
        return shares

    def mask(self, name: str, delivered: DeliveredShares) -> RingArray:
        message = self._step(name, lambda state: state.mask(delivered, VECTORS[name]))
        vector: RingArray = message.vector
        return vector

    def sign(self, name: str, survivors: SurvivorSet) -> bytes:
        signature: bytes = self._step(name, lambda state: state.sign(survivors)).signature
        return signature

    def reveal(self, name: str, request: UnmaskRequest) -> UnmaskReply:
        reply: UnmaskReply = self._step(
            name, lambda state: state.reveal(request, self.persisted.append)
        )
        self.replies.append(reply)
        return reply

    def refuse(
        self, error: type[CryptoError], call: Callable[[], object], match: str | None = None
    ) -> None:
        """`call` raises `error`, and no owner has revealed a share."""
        revealed = len(self.replies), len(self.persisted)
        with pytest.raises(error, match=match):
            call()
        assert (len(self.replies), len(self.persisted)) == revealed


def rostered() -> tuple[Owners, Roster]:
    owners = Owners()
    adverts = owners.advertise()
    return owners, Roster(CONTEXT.digest(), tuple(adverts[name] for name in NAMES))


def shared() -> tuple[Owners, Roster, bytes, dict[str, DeliveredShares]]:
    owners, roster = rostered()
    sealed = {name: owners.share(name, roster) for name in NAMES}
    context = CONTEXT.with_roster(roster.digest()).digest()
    delivered = {
        name: DeliveredShares(
            context, name, {other: sealed[other].sealed[name] for other in NAMES if other != name}
        )
        for name in NAMES
    }
    return owners, roster, context, delivered


def masked() -> tuple[Owners, bytes]:
    owners, _, context, delivered = shared()
    for name in NAMES:
        owners.mask(name, delivered[name])
    return owners, context


def signed(survivors: tuple[str, ...] = NAMES) -> tuple[Owners, UnmaskRequest]:
    owners, context = masked()
    survivor_set = SurvivorSet(context, survivors)
    signatures = {name: owners.sign(name, survivor_set) for name in survivors}
    return owners, UnmaskRequest(context, survivors, signatures)


def replace_advert(roster: Roster, advert: Advertise) -> Roster:
    adverts = {a.party: a for a in roster.adverts} | {advert.party: advert}
    return Roster(roster.context, tuple(adverts[name] for name in sorted(adverts)))


# --- the roster -----------------------------------------------------------------------------------


def test_a_peers_key_replaced_by_the_coordinators_own_is_refused() -> None:
    owners, roster = rostered()
    forged = dataclasses.replace(roster.by_party()["bob"], mask_key=b"k" * 32)
    for advert in (forged, sign_advert(forged, IDENTITIES["eve"])):
        owners, roster = rostered()
        attack = replace_advert(roster, advert)
        owners.refuse(SignatureInvalidError, partial(owners.share, "ann", attack), "bob")


def test_a_member_that_is_not_pinned_is_refused() -> None:
    owners, roster = rostered()
    stranger = dataclasses.replace(roster.by_party()["dee"], party="eve")
    adverts = (*roster.adverts[:3], sign_advert(stranger, IDENTITIES["eve"]))
    owners.refuse(RosterError, lambda: owners.share("ann", Roster(roster.context, adverts)), "eve")


def test_a_roster_larger_than_the_plan_is_refused() -> None:
    owners, roster = rostered()
    stranger = dataclasses.replace(roster.by_party()["dee"], party="eve")
    owners.refuse(
        RosterError, lambda: owners.share("ann", replace_advert(roster, stranger)), "5 > 4"
    )


def test_a_roster_without_the_owner_itself_is_refused() -> None:
    owners, roster = rostered()
    attack = Roster(roster.context, roster.adverts[1:])
    owners.refuse(RosterError, lambda: owners.share("ann", attack), "own advert")


def test_an_owners_own_advert_from_another_attempt_at_the_same_round_is_refused() -> None:
    _, earlier = rostered()
    owners, roster = rostered()
    attack = replace_advert(roster, earlier.by_party()["ann"])
    owners.refuse(RosterError, lambda: owners.share("ann", attack), "own advert")


def test_a_roster_below_the_threshold_is_refused() -> None:
    owners, roster = rostered()
    attack = Roster(roster.context, roster.adverts[:2])
    owners.refuse(ThresholdError, lambda: owners.share("ann", attack), "2 < threshold 3")


def test_one_member_listed_twice_is_refused() -> None:
    owners, roster = rostered()
    attack = Roster(roster.context, (*roster.adverts[:3], roster.adverts[2]))
    owners.refuse(RosterError, lambda: owners.share("ann", attack), "ascending")


def test_a_colluder_that_mirrors_a_peers_key_is_refused() -> None:
    for mirrored in ("mask_key", "sealing_key"):
        owners, roster = rostered()
        adverts = roster.by_party()
        copied = dataclasses.replace(
            adverts["dee"], **{mirrored: getattr(adverts["bob"], mirrored)}
        )
        attack = replace_advert(roster, sign_advert(copied, IDENTITIES["dee"]))
        owners.refuse(RosterError, partial(owners.share, "ann", attack), "twice")


def test_a_colluders_sealing_key_of_low_order_is_refused() -> None:
    owners, roster = rostered()
    weak = dataclasses.replace(roster.by_party()["dee"], sealing_key=LOW_ORDER)
    attack = replace_advert(roster, sign_advert(weak, IDENTITIES["dee"]))
    owners.refuse(KeyInvalidError, lambda: owners.share("ann", attack), "low order")


def test_a_refused_roster_ends_the_round_for_its_owner() -> None:
    owners, roster = rostered()
    attack = Roster(roster.context, roster.adverts[:2])
    owners.refuse(ThresholdError, lambda: owners.share("ann", attack))
    owners.refuse(OutOfOrderError, lambda: owners.share("ann", roster))


def test_a_different_model_for_one_owner_is_an_error() -> None:
    other = dataclasses.replace(CONTEXT, model_hash=b"n" * 32)
    owners = Owners(contexts=dict.fromkeys(NAMES, CONTEXT) | {"dee": other})
    adverts = owners.advertise()
    honest = Roster(CONTEXT.digest(), tuple(adverts[name] for name in NAMES))
    owners.refuse(ContextMismatchError, lambda: owners.share("ann", honest), "dee")
    relabelled = replace_advert(
        honest, dataclasses.replace(adverts["dee"], context=CONTEXT.digest())
    )
    owners.refuse(SignatureInvalidError, lambda: owners.share("bob", relabelled), "dee")
    owners.refuse(ContextMismatchError, lambda: owners.share("dee", relabelled))


def test_different_rosters_for_different_owners_are_an_error() -> None:
    owners, roster = rostered()
    smaller = Roster(roster.context, roster.adverts[:3])
    sealed = {name: owners.share(name, roster) for name in ("ann", "dee")}
    sealed |= {name: owners.share(name, smaller) for name in ("bob", "cy")}
    context = CONTEXT.with_roster(roster.digest()).digest()
    mixed = {name: sealed[name].sealed["ann"] for name in ("bob", "cy", "dee")}
    owners.refuse(
        ShareError, lambda: owners.mask("ann", DeliveredShares(context, "ann", mixed)), "bob"
    )


# --- the shares -----------------------------------------------------------------------------------


def test_shares_that_were_changed_swapped_or_replayed_do_not_open() -> None:
    _, _, _, replayed = shared()
    for attack in ("changed", "swapped", "empty", "replayed"):
        owners, _, context, delivered = shared()
        own = delivered["ann"].sealed
        sealed = {
            "changed": own["bob"][:-1] + bytes([own["bob"][-1] ^ 1]),
            "swapped": own["cy"],
            "empty": b"",
            "replayed": replayed["ann"].sealed["bob"],
        }[attack]
        bad = DeliveredShares(context, "ann", {**own, "bob": sealed})
        owners.refuse(ShareError, partial(owners.mask, "ann", bad), "bob")


def test_a_colluders_share_outside_the_field_is_refused() -> None:
    for value in (b"\xff" * SHARE_BYTES, PRIME.to_bytes(SHARE_BYTES, "big")):
        owners, roster = rostered()
        dee = owners.states["dee"]._held
        sealed = {name: owners.share(name, roster).sealed for name in ("ann", "bob", "cy")}
        context = CONTEXT.with_roster(roster.digest()).digest()
        bundles = dict.fromkeys(NAMES, Bundle(bytes(SHARE_BYTES), value))
        lies = seal_bundles(bundles, dee.secrets.sealing_key, "dee", roster, context)
        to_ann = {name: sealed[name]["ann"] for name in ("bob", "cy")} | {"dee": lies["ann"]}
        bad = DeliveredShares(context, "ann", to_ann)
        owners.refuse(ShareError, partial(owners.mask, "ann", bad), "dee")


def test_shares_for_another_owner_are_refused() -> None:
    for recipient in ("bob", "ann"):
        owners, _, _, delivered = shared()
        bad = dataclasses.replace(delivered["bob"], recipient=recipient)
        owners.refuse(ShareError, partial(owners.mask, "ann", bad))


def test_a_share_from_a_non_member_or_from_oneself_is_refused() -> None:
    for sender in ("eve", "ann"):
        owners, _, context, delivered = shared()
        sealed = dict(delivered["ann"].sealed) | {sender: bytes(SEALED_BYTES)}
        bad = DeliveredShares(context, "ann", sealed)
        owners.refuse(ShareError, partial(owners.mask, "ann", bad), sender)


def test_nothing_is_masked_for_fewer_sharers_than_the_threshold() -> None:
    owners, _, context, delivered = shared()
    few = {"bob": delivered["ann"].sealed["bob"]}
    owners.refuse(
        ThresholdError,
        lambda: owners.mask("ann", DeliveredShares(context, "ann", few)),
        "2 < threshold 3",
    )


def test_a_colluders_mask_key_of_low_order_is_refused() -> None:
    owners, roster = rostered()
    weak = dataclasses.replace(roster.by_party()["dee"], mask_key=LOW_ORDER)
    attack = replace_advert(roster, sign_advert(weak, IDENTITIES["dee"]))
    sent = {name: owners.share(name, attack).sealed for name in ("ann", "bob", "cy")}
    sealed = {name: sent[name]["ann"] for name in ("bob", "cy")}
    # The colluder takes part: its share for ann is sealed with its own valid sealing key.
    dee = owners.states["dee"]._held
    context = CONTEXT.with_roster(attack.digest()).digest()
    bundles = {name: Bundle(bytes(33), bytes(33)) for name in NAMES}
    sealed["dee"] = seal_bundles(bundles, dee.secrets.sealing_key, "dee", attack, context)["ann"]
    bad = DeliveredShares(context, "ann", sealed)
    owners.refuse(KeyInvalidError, lambda: owners.mask("ann", bad), "low order")


def test_different_sharers_for_different_owners_give_noise() -> None:
    owners, roster, context, delivered = shared()
    without_dee = {name: s for name, s in delivered["ann"].sealed.items() if name != "dee"}
    total = owners.mask("ann", DeliveredShares(context, "ann", without_dee)).copy()
    for name in NAMES[1:]:
        total += owners.mask(name, delivered[name])
    # ann would refuse a survivor set with dee in it, so let even the self masks be known.
    secrets = open_self_secrets(roster, owners)
    remove_masks(total, roster, context, Revealed(secrets, {}))
    expected = np.sum([VECTORS[name] for name in NAMES], axis=0, dtype=np.uint32)
    assert (total != expected).sum() >= 5
    owners.refuse(SurvivorSetError, lambda: owners.sign("ann", SurvivorSet(context, NAMES)), "dee")


def open_self_secrets(roster: Roster, owners: Owners) -> dict[str, bytes]:
    """What τ owners together hold: read from their states, as if all of them colluded."""
    secrets = {}
    for name in NAMES:
        points = [
            Share.from_bytes(
                NAMES.index(holder) + 1, owners.states[holder]._held.bundles[name].self_share
            )
            for holder in ("bob", "cy", "dee")
        ]
        secrets[name] = combine(points, POLICY.threshold)
    return secrets


# --- the survivor set -----------------------------------------------------------------------------


def test_a_survivor_set_below_the_threshold_is_refused() -> None:
    owners, context = masked()
    owners.refuse(
        ThresholdError,
        lambda: owners.sign("ann", SurvivorSet(context, ("ann", "bob"))),
        "2 < threshold 3",
    )


def test_names_repeated_to_reach_the_threshold_are_refused() -> None:
    owners, context = masked()
    padded = SurvivorSet(context, ("ann", "bob", "bob"))
    owners.refuse(SurvivorSetError, lambda: owners.sign("ann", padded), "repeated")


def test_a_survivor_set_without_the_owner_is_refused() -> None:
    owners, context = masked()
    without = SurvivorSet(context, ("bob", "cy", "dee"))
    owners.refuse(SurvivorSetError, lambda: owners.sign("ann", without), "ann")


def test_a_survivor_that_never_shared_is_refused() -> None:
    owners, context = masked()
    padded = SurvivorSet(context, ("ann", "bob", "eve"))
    owners.refuse(SurvivorSetError, lambda: owners.sign("ann", padded), "eve")


def test_a_second_survivor_set_is_not_signed() -> None:
    owners, context = masked()
    state = owners.states["ann"]
    state.sign(SurvivorSet(context, NAMES))
    owners.refuse(OutOfOrderError, lambda: state.sign(SurvivorSet(context, NAMES[:3])))


def test_equivocation_about_the_survivors_opens_one_sum_at_most() -> None:
    """Two sets, each with the signatures of all who were shown it and of the colluder dee."""
    for first, second in ((2, 1), (1, 2)):
        owners, context = masked()
        honest = NAMES[:3]
        sets = dict.fromkeys(honest[:first], ("ann", "bob", "cy"))
        sets |= dict.fromkeys(honest[first:], NAMES)
        assert len(honest) == first + second
        signatures = {name: owners.sign(name, SurvivorSet(context, s)) for name, s in sets.items()}
        for name, survivors in sets.items():
            digest = SurvivorSet(context, survivors).digest()
            gathered = {n: signatures[n] for n in sets if sets[n] == survivors}
            if "dee" in survivors:
                gathered["dee"] = IDENTITIES["dee"].sign(CONSISTENCY_LABEL, digest)
            request = UnmaskRequest(context, survivors, gathered)
            if len(gathered) == POLICY.threshold:
                owners.reveal(name, request)  # the one sum that τ owners agree on
            else:
                owners.refuse(ThresholdError, partial(owners.reveal, name, request))
        kinds = {frozenset(reply.self_shares) for reply in owners.replies}
        assert len(kinds) <= 1


def test_a_signature_of_another_set_does_not_complete_a_request() -> None:
    owners, context = masked()
    for name, survivors in (("ann", NAMES), ("bob", NAMES), ("cy", NAMES[:3])):
        owners.sign(name, SurvivorSet(context, survivors))
    digest = SurvivorSet(context, NAMES).digest()
    signatures = {n: IDENTITIES[n].sign(CONSISTENCY_LABEL, digest) for n in ("ann", "bob")}
    other = SurvivorSet(context, NAMES[:3]).digest()
    signatures["cy"] = IDENTITIES["cy"].sign(CONSISTENCY_LABEL, other)
    request = UnmaskRequest(context, NAMES, signatures)
    owners.refuse(SignatureInvalidError, lambda: owners.reveal("ann", request), "cy")


# --- the request to unmask ------------------------------------------------------------------------


def test_a_request_for_another_set_than_the_signed_one_is_refused() -> None:
    """dee's self-mask share is due; naming dee dropped asks for its mask-key share instead."""
    owners, request = signed()
    fewer = NAMES[:3]
    digest = SurvivorSet(request.context, fewer).digest()
    forged = {name: IDENTITIES[name].sign(CONSISTENCY_LABEL, digest) for name in fewer}
    attack = UnmaskRequest(request.context, fewer, forged)  # even with everyone's signature
    owners.refuse(SurvivorSetError, lambda: owners.reveal("ann", attack))
    owners.refuse(AlreadyAnsweredError, lambda: owners.reveal("ann", request))


def test_only_one_kind_of_share_leaves_for_each_peer() -> None:
    owners, request = signed(NAMES[:3])
    reply = owners.reveal("ann", request)
    assert set(reply.self_shares) == set(NAMES[:3])
    assert set(reply.key_shares) == {"dee"}


def test_a_second_request_is_not_answered() -> None:
    owners, request = signed()
    state = owners.states["ann"]
    owners.reveal("ann", request)
    owners.refuse(AlreadyAnsweredError, lambda: state.reveal(request, owners.persisted.append))
    assert len(owners.replies) == len(owners.persisted) == 1


def test_signatures_that_are_missing_forged_or_borrowed_are_refused() -> None:
    _, foreign = signed()
    for change, error, match in (
        (lambda s: dict(list(s.items())[:2]), ThresholdError, "2 < threshold 3"),
        (lambda s: s | {"bob": bytes(64)}, SignatureInvalidError, "bob"),
        (lambda s: s | {"bob": s["cy"]}, SignatureInvalidError, "bob"),
        (lambda s: s | {"bob": foreign.signatures["bob"]}, SignatureInvalidError, "bob"),
        (lambda s: s | {"eve": bytes(64)}, SurvivorSetError, "eve"),
    ):
        owners, request = signed()
        attack = dataclasses.replace(request, signatures=change(dict(request.signatures)))
        owners.refuse(error, partial(owners.reveal, "ann", attack), match)


def test_a_dropped_owners_signature_does_not_count() -> None:
    owners, request = signed(NAMES[:3])
    digest = SurvivorSet(request.context, NAMES[:3]).digest()
    late = {"dee": IDENTITIES["dee"].sign(CONSISTENCY_LABEL, digest)}
    some = dict(list(request.signatures.items())[:2])
    attack = dataclasses.replace(request, signatures=some | late)
    owners.refuse(SurvivorSetError, lambda: owners.reveal("ann", attack), "dee")


def test_nothing_is_revealed_when_the_fact_cannot_be_persisted() -> None:
    owners, request = signed()

    def full_disk(_: bytes) -> None:
        raise OSError("no space left")

    state = owners.states["ann"]
    with pytest.raises(OSError, match="no space"):
        state.reveal(request, full_disk)
    owners.refuse(AlreadyAnsweredError, lambda: state.reveal(request, owners.persisted.append))


# --- replay ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"session": "another"},
        {"round_index": 2},
        {"attempt": 1},
        {"model_hash": b"x" * 32},
        {"config_hash": b"x" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_messages_of_another_round_are_refused_in_each_phase(change: dict[str, Any]) -> None:
    other = dataclasses.replace(CONTEXT, **change)
    owners, roster = rostered()
    replayed = dataclasses.replace(roster, context=other.digest())
    owners.refuse(ContextMismatchError, lambda: owners.share("ann", replayed))

    owners, roster, _, delivered = shared()
    foreign = other.with_roster(roster.digest()).digest()
    attack = dataclasses.replace(delivered["ann"], context=foreign)
    owners.refuse(ContextMismatchError, lambda: owners.mask("ann", attack))

    owners, _ = masked()
    owners.refuse(ContextMismatchError, lambda: owners.sign("ann", SurvivorSet(foreign, NAMES)))

    owners, request = signed()
    late = dataclasses.replace(request, context=foreign)
    owners.refuse(ContextMismatchError, lambda: owners.reveal("ann", late))


def test_a_whole_recorded_round_does_not_unmask_its_repetition() -> None:
    """Same facts, same owners, run twice: the first run's messages are worthless in the second."""
    _, recorded = signed()
    owners, _ = signed()
    owners.refuse(ContextMismatchError, lambda: owners.reveal("ann", recorded))


def test_replies_of_fewer_owners_than_the_threshold_open_nothing() -> None:
    owners, request = signed()
    shares = [owners.reveal(name, request).self_shares["cy"] for name in NAMES[:2]]
    points = [Share.from_bytes(i, share) for i, share in enumerate(shares, start=1)]
    with pytest.raises(ShareError, match="expected exactly 3"):
        combine(points, POLICY.threshold)


def test_no_message_to_the_coordinator_holds_a_secret_of_a_survivor() -> None:
    owners, roster = rostered()
    secrets = owners.states["ann"]._held.secrets
    sent = [encode(roster.to_message()), encode(owners.share("ann", roster).to_message())]
    for secret in (secrets.mask_key.raw, secrets.sealing_key.raw, secrets.self_secret):
        assert not any(secret in message for message in sent)
