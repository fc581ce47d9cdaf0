"""A coordinator that lies about roster or shares: refused by name, and nothing is revealed.

The owners are honest and run their real states; the coordinator here is free to send anything. It
knows all messages, and where a test says so the identity key of a colluding owner.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from feddiff_crypto.errors import (
    ContextMismatchError,
    KeyInvalidError,
    OutOfOrderError,
    RosterError,
    ShareError,
    SignatureInvalidError,
    SurvivorSetError,
    ThresholdError,
)
from feddiff_crypto.masking.bundles import Bundle, seal_bundles
from feddiff_crypto.masking.messages import (
    SEALED_BYTES,
    DeliveredShares,
    Roster,
    SurvivorSet,
)
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.shamir import PRIME, SHARE_BYTES, Share, combine
from tests.adversaries.masking_owners import (
    CONTEXT,
    IDENTITIES,
    LOW_ORDER,
    NAMES,
    POLICY,
    VECTORS,
    Owners,
    replace_advert,
    rostered,
    shared,
    sign_advert,
)


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
