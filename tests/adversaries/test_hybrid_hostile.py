"""Hostile coordinators and owners against the hybrid key agreement: refused by name.

What an attacker wants here is to be alone with X25519 one day: to talk somebody down to X25519, to
put a key or a contribution of its own where ML-KEM-768 protects, or to change a sum after secrets
are open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.errors import (
    CryptoError,
    KeyInvalidError,
    RosterError,
    ShareError,
    SignatureInvalidError,
)
from feddiff_crypto.fixedpoint import RingArray
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import AgreementKey, IdentityKey
from feddiff_crypto.masking.adverts import Advertise, Roster
from feddiff_crypto.masking.contributions import Contributions, seal_contribution
from feddiff_crypto.masking.coordinator import CoordinatorStart
from feddiff_crypto.masking.mask_keys import HybridMaskKey
from feddiff_crypto.masking.messages import DeliveredShares, SealedShares
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.mlkem import KEM_CIPHERTEXT_BYTES, KemKey, KemPublic
from tests.adversaries.masking_owners import (
    CONTEXT,
    IDENTITIES,
    NAMES,
    POLICY,
    RANDOM,
    REGISTRY,
    VECTORS,
    replace_advert,
    rostered,
    shared,
    sign_advert,
)
from tests.crypto import test_he_round as he

HYBRID, X25519 = KeyAgreement.HYBRID, KeyAgreement.X25519
Rows = dict[str, bytes]


def without_kem(advert: Advertise) -> Advertise:
    return dataclasses.replace(advert, kem_mask_key=b"", kem_sealing_key=b"")


# --- the roster -----------------------------------------------------------------------------------


def test_an_owner_is_not_talked_down_to_x25519_even_by_a_signed_advert() -> None:
    owners, roster = rostered(HYBRID)
    weaker = sign_advert(without_kem(roster.by_party()["bob"]), IDENTITIES["bob"])
    attack = replace_advert(roster, weaker)
    owners.refuse(
        RosterError, lambda: owners.share("ann", attack), "bob: keys for x25519, the plan says hybr"
    )
    owners, roster = rostered(HYBRID)
    everyone = Roster(roster.context, tuple(without_kem(advert) for advert in roster.adverts))
    owners.refuse(RosterError, lambda: owners.share("ann", everyone), "keys for x25519")


def test_a_round_of_x25519_takes_no_hybrid_adverts() -> None:
    owners, roster = rostered(X25519)
    _, hybrid = rostered(HYBRID)
    attack = replace_advert(roster, hybrid.by_party()["bob"])
    owners.refuse(RosterError, lambda: owners.share("ann", attack), "keys for hybrid, the plan")


@pytest.mark.parametrize("role", ["kem_mask_key", "kem_sealing_key"])
def test_an_mlkem_key_replaced_by_the_coordinators_own_is_refused(role: str) -> None:
    owners, roster = rostered(HYBRID)
    own = KemKey.generate(RANDOM).public.raw
    forged = dataclasses.replace(roster.by_party()["bob"], **{role: own})  # type: ignore[arg-type]  # either role holds bytes
    owners.refuse(
        SignatureInvalidError, lambda: owners.share("ann", replace_advert(roster, forged)), "bob"
    )


@pytest.mark.parametrize("of", ["ann", "bob"])
@pytest.mark.parametrize("role", ["kem_mask_key", "kem_sealing_key"])
def test_an_mlkem_key_in_two_places_is_refused(of: str, role: str) -> None:
    """Another's key, or the own mask key for sealing: opening S would open sealed shares."""
    owners, roster = rostered(HYBRID)
    bob = roster.by_party()["bob"]
    other = "kem_sealing_key" if role == "kem_mask_key" else "kem_mask_key"
    copied = getattr(roster.by_party()[of], role)
    twice = dataclasses.replace(bob, **{other: copied})
    attack = replace_advert(roster, sign_advert(twice, IDENTITIES["bob"]))
    owners.refuse(RosterError, lambda: owners.share("ann", attack), "twice")


@pytest.mark.parametrize("role", ["kem_mask_key", "kem_sealing_key"])
def test_an_mlkem_key_that_is_none_is_refused(role: str) -> None:
    owners, roster = rostered(HYBRID)
    bad = dataclasses.replace(roster.by_party()["bob"], **{role: b"\xff" * 1184})  # type: ignore[arg-type]  # either role holds bytes
    attack = replace_advert(roster, sign_advert(bad, IDENTITIES["bob"]))
    owners.refuse(KeyInvalidError, lambda: owners.share("ann", attack), "out of range")


# --- contributions on their way -------------------------------------------------------------------


def splice(body: bytes, row: bytes) -> bytes:
    """`row` with the ML-KEM ciphertext of `body`."""
    return body[:KEM_CIPHERTEXT_BYTES] + row[KEM_CIPHERTEXT_BYTES:]


def own_contribution(roster: Roster, context: bytes, sender: str, recipient: str) -> bytes:
    """What anyone can make: a contribution of its own choice under the recipient's key."""
    return seal_contribution(
        bytes(32),
        peer=KemPublic(roster.by_party()[recipient].kem_mask_key),
        identity=IDENTITIES["eve"],
        sender=sender,
        recipient=recipient,
        context=context,
    )


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda r, _: r | {"ann": r["bob"], "bob": r["ann"]}, SignatureInvalidError, "signature"),
        (lambda r, _: r | {"ann": splice(r["bob"], r["ann"])}, SignatureInvalidError, "ann"),
        (lambda r, own: r | {"ann": own}, SignatureInvalidError, "ann"),
        (lambda r, _: r | {"ann": r["ann"][:-1]}, ShareError, "ann: contribution of 1199"),
        (lambda r, _: {"bob": r["bob"]}, ShareError, "exactly the pairs"),
        (lambda r, _: r | {"dee": r["ann"]}, ShareError, "exactly the pairs"),
        (lambda _r, _: None, ShareError, "another key agreement"),
    ],
    ids=["swapped", "spliced", "the coordinator's", "truncated", "missing", "extra", "none"],
)
def test_contributions_that_their_senders_did_not_make_so_are_refused(
    change: Callable[[Rows, bytes], Any], error: type[CryptoError], words: str
) -> None:
    owners, roster, context, delivered = shared(HYBRID)
    rows = delivered["cy"].contributions
    assert rows is not None
    attack = change(dict(rows), own_contribution(roster, context, "ann", "cy"))
    message = dataclasses.replace(delivered["cy"], contributions=attack)
    owners.refuse(error, lambda: owners.mask("cy", message), words)


def test_a_contribution_replayed_from_another_attempt_or_meant_for_another_is_refused() -> None:
    _, _, _, earlier = shared(HYBRID)
    for replayed in ("earlier", "for another"):
        owners, _, _, delivered = shared(HYBRID)
        source = earlier["cy"] if replayed == "earlier" else delivered["dee"]
        assert source.contributions is not None
        assert delivered["cy"].contributions is not None
        rows = {**delivered["cy"].contributions, "ann": source.contributions["ann"]}
        message = dataclasses.replace(delivered["cy"], contributions=rows)
        owners.refuse(SignatureInvalidError, partial(owners.mask, "cy", message), "ann")


def test_contributions_in_a_round_of_x25519_are_refused() -> None:
    owners, _, _, delivered = shared(X25519)
    message = dataclasses.replace(delivered["ann"], contributions={})
    owners.refuse(ShareError, lambda: owners.mask("ann", message), "another key agreement")


def test_a_signed_contribution_that_does_not_open_names_its_sender() -> None:
    owners, roster, context, delivered = shared(HYBRID)
    wrong_key = KemPublic(roster.by_party()["cy"].kem_sealing_key)
    names: dict[str, Any] = {"sender": "ann", "recipient": "cy", "context": context}
    row = seal_contribution(bytes(32), peer=wrong_key, identity=IDENTITIES["ann"], **names)
    rows = {**(delivered["cy"].contributions or {}), "ann": row}
    message = dataclasses.replace(delivered["cy"], contributions=rows)
    owners.refuse(
        ShareError, lambda: owners.mask("cy", message), "ann: contribution for cy does not open"
    )


# --- sealed shares --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s, _: s | {"ann": splice(s["bob"], s["ann"])}, "ann: .* does not open"),
        (lambda s, _: s | {"ann": s["bob"], "bob": s["ann"]}, "does not open"),
        (lambda s, old: s | {"ann": old["ann"]}, "ann: .* does not open"),
        (lambda s, _: s | {"ann": s["ann"][KEM_CIPHERTEXT_BYTES:]}, "ann: .* 82 bytes has no tag"),
        (lambda s, _: s | {"ann": b""}, "ann: .* 0 bytes has no tag"),
    ],
    ids=["spliced", "swapped", "replayed", "downgraded", "empty"],
)
def test_sealed_shares_with_another_ciphertext_do_not_open(
    change: Callable[[Rows, Rows], Rows], words: str
) -> None:
    _, _, _, earlier = shared(HYBRID)
    owners, _, _, delivered = shared(HYBRID)
    attack = change(dict(delivered["cy"].sealed), dict(earlier["cy"].sealed))
    message = dataclasses.replace(delivered["cy"], sealed=attack)
    owners.refuse(ShareError, lambda: owners.mask("cy", message), words)


# --- a hostile owner ------------------------------------------------------------------------------


def deliver(change: Callable[[SealedShares], SealedShares]) -> dict[str, DeliveredShares]:
    """The coordinator's share phase, with `bob`'s message changed."""
    owners, roster = rostered(HYBRID)
    start = CoordinatorStart(
        registry=REGISTRY, policy=POLICY, context=CONTEXT, dimension=6, agreement=HYBRID
    )
    sharing, _ = start.roster(roster.by_party())
    shares = {name: owners.share(name, roster) for name in NAMES}
    return sharing.deliver(shares | {"bob": change(shares["bob"])})[1]


def edited(change: Callable[[Rows], Rows | None]) -> Callable[[SealedShares], SealedShares]:
    return lambda m: dataclasses.replace(m, contributions=change(dict(m.contributions or {})))


def flip(row: bytes, at: int) -> bytes:
    return row[:at] + bytes([row[at] ^ 1]) + row[at + 1 :]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda r: r | {"cy": flip(r["cy"], 0)}, SignatureInvalidError),
        (lambda r: r | {"cy": flip(r["cy"], 1100)}, SignatureInvalidError),
        (lambda r: r | {"cy": flip(r["cy"], 1199)}, SignatureInvalidError),
        (lambda r: r | {"cy": r["dee"]}, SignatureInvalidError),
        (lambda r: r | {"ann": r["cy"]}, ShareError),
        (lambda r: {"cy": r["cy"]}, ShareError),
        (lambda _: None, ShareError),
    ],
    ids=["ciphertext", "wrapped", "signature", "another's", "below itself", "missing", "none"],
)
def test_the_coordinator_refuses_wrong_contributions_and_names_their_sender(
    change: Callable[[Rows], Rows | None], error: type[CryptoError]
) -> None:
    assert deliver(lambda message: message).keys() == set(NAMES)
    with pytest.raises(error) as caught:
        deliver(edited(change))
    assert getattr(caught.value, "party", None) == "bob"


def test_a_mask_secret_that_leads_to_another_mlkem_key_is_not_accepted() -> None:
    """bob advertises an ML-KEM key that does not follow from what it shares: X25519 alone fits."""
    owners, roster = rostered(HYBRID)
    key = owners.states["bob"]._held.secrets.mask_key
    advert = roster.by_party()["bob"]
    Revealed({}, {"bob": key}).check(roster)
    own = dataclasses.replace(advert, kem_mask_key=KemKey.generate(RANDOM).public.raw)
    for wrong_key, wrong_roster in (
        (key, replace_advert(roster, own)),
        (HybridMaskKey.derive(bytes(32), "bob", roster.context), roster),
        (HybridMaskKey.derive(key.raw, "cy", roster.context), roster),
        (AgreementKey(key.agreement.raw), roster),
    ):
        with pytest.raises(ShareError, match="bob: the opened mask key is not the advertised"):
            Revealed({}, {"bob": wrong_key}).check(wrong_roster)


def sum_of(vectors: Mapping[str, RingArray]) -> RingArray:
    total: RingArray = np.zeros(6, np.uint32)
    for vector in vectors.values():
        total += vector
    return total


def test_masks_do_not_come_off_without_the_contributions_to_who_dropped_out() -> None:
    owners, roster, context, delivered = shared(HYBRID)
    keys = {name: owners.states[name]._held.secrets for name in NAMES}
    total = sum_of({n: owners.mask(n, delivered[n]) for n in NAMES[:3]})
    survivors = {name: keys[name].self_secret for name in NAMES[:3]}
    revealed = Revealed(survivors, {"dee": keys["dee"].mask_key})
    rows = dict(delivered["dee"].contributions or {})
    cases: list[Contributions | None] = [None, {}, {"dee": {}}, {"dee": {"ann": rows["ann"]}}]
    for wrong in cases:
        with pytest.raises(ShareError, match="no contribution to the mask with dee"):
            remove_masks(total.copy(), roster, context, revealed, wrong)
    remove_masks(total, roster, context, revealed, {"dee": rows})
    np.testing.assert_array_equal(total, sum_of({n: VECTORS[n] for n in NAMES[:3]}))


# --- encrypted mode: the coordinator hands out what opens the masks -------------------------------


def forged(opened: Any, roster: Roster, context: bytes, identity: IdentityKey) -> Any:
    """With dee's mask secret open, the coordinator makes a contribution that leads elsewhere."""
    last = he.NAMES[3]
    row = seal_contribution(
        bytes(32),
        peer=KemPublic(roster.by_party()[last].kem_mask_key),
        identity=identity,
        sender=he.NAMES[0],
        recipient=last,
        context=context,
    )
    return {last: {**opened.contributions[last], he.NAMES[0]: row}}


@pytest.mark.parametrize(
    ("attack", "error", "words"),
    [
        ("forged", SignatureInvalidError, he.NAMES[0]),
        ("missing", ShareError, "exactly the pairs"),
        ("nothing", ShareError, "exactly the pairs"),
        ("none", ShareError, "another key agreement"),
    ],
)
def test_owners_decrypt_nothing_on_contributions_that_senders_did_not_sign(
    attack: str, error: type[CryptoError], words: str
) -> None:
    play = he.EncryptedPlay(4, 1, drops={he.NAMES[3]: 2}, agreement=HYBRID)
    coordinator = play.opened()
    request = coordinator.requests()[he.NAMES[1]]
    held = play.states[he.NAMES[1]]._held[0]
    changed = {
        "forged": forged(request.opened, held.roster, held.context, he.IDENTITIES["carl"]),
        "missing": {he.NAMES[3]: {}},
        "nothing": {},
        "none": None,
    }[attack]
    opened = dataclasses.replace(request.opened, contributions=changed)
    persisted: list[bytes] = []
    with pytest.raises(error, match=words):
        play.states[he.NAMES[1]].decrypt(
            dataclasses.replace(request, opened=opened), persisted.append
        )
    assert not persisted
    play.states[he.NAMES[2]].decrypt(request, persisted.append)
    assert len(persisted) == 1
