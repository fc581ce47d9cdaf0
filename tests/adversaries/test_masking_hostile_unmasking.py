"""A coordinator that lies about survivors, or replays: refused by name, and nothing is revealed.

At most one sum is ever opened, and for each owner at most one kind of share.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest

from feddiff_crypto.encoding import encode
from feddiff_crypto.errors import (
    AlreadyAnsweredError,
    ContextMismatchError,
    OutOfOrderError,
    ShareError,
    SignatureInvalidError,
    SurvivorSetError,
    ThresholdError,
)
from feddiff_crypto.keys import CONSISTENCY_LABEL
from feddiff_crypto.masking.messages import (
    SurvivorSet,
    UnmaskRequest,
)
from feddiff_crypto.shamir import Share, combine
from tests.adversaries.masking_owners import (
    CONTEXT,
    IDENTITIES,
    NAMES,
    POLICY,
    masked,
    rostered,
    shared,
    signed,
)


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
        honest: tuple[str, ...] = NAMES[:3]
        everyone: tuple[str, ...] = NAMES
        sets = dict.fromkeys(honest[:first], honest)
        sets |= dict.fromkeys(honest[first:], everyone)
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
