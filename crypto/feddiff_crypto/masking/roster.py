"""What makes a roster acceptable, the same for owners, coordinator and verifiers."""

from __future__ import annotations

from itertools import pairwise

from feddiff_crypto.errors import ContextMismatchError, RosterError
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import ADVERTISE_LABEL, Registry
from feddiff_crypto.masking.adverts import Advertise, Roster
from feddiff_crypto.masking.policy import Policy


def check_roster(
    roster: Roster,
    registry: Registry,
    policy: Policy,
    context: bytes,
    agreement: KeyAgreement = KeyAgreement.X25519,
) -> None:
    """Return if every step holds, raise at the first that does not.

    1. The roster is of this context.
    2. It has τ to n members, in strictly ascending order.
    3. Each advertises keys of the plan's key agreement: nobody is talked down to the weaker one.
    4. Each is pinned and signed its advert for this context.
    5. No public key appears twice, in any role.

    Args:
        roster: from anywhere.
        registry: the pinned identities.
        policy: n and τ.
        context: digest of the round's context, without roster.
        agreement: the plan's key agreement.

    Raises:
        ContextMismatchError: step 1.
        ThresholdError: too few members.
        RosterError: steps 2, 3, 5, or a member that is not pinned.
        SignatureInvalidError: step 4.
    """
    parties = roster.parties
    if roster.context != context:  # 1
        raise ContextMismatchError("the roster is of another context than this round's")
    policy.require("roster", len(parties))  # 2
    if len(parties) > policy.owners:
        raise RosterError(f"roster: {len(parties)} > {policy.owners} owners")
    if any(a >= b for a, b in pairwise(parties)):
        raise RosterError("roster: members are not in strictly ascending order")
    for advert in roster.adverts:  # 3
        if advert.agreement is not agreement:
            raise RosterError(
                f"keys for {advert.agreement}, the plan says {agreement}", party=advert.party
            )
    for advert in roster.adverts:  # 4
        check_advert(advert, registry, context)
    keys = [key for advert in roster.adverts for key in advert.public_keys()]
    if len(set(keys)) != len(keys):  # 5
        raise RosterError("roster: one public key appears twice")


def check_advert(advert: Advertise, registry: Registry, context: bytes) -> None:
    """Return if `advert` is signed by its pinned party for this context, raise otherwise.

    Raises:
        ContextMismatchError: it is of another context.
        RosterError: its party is not pinned.
        SignatureInvalidError: its signature does not verify.
    """
    if advert.context != context:
        raise ContextMismatchError("an advert of another context", party=advert.party)
    registry.verify(advert.party, advert.signature, ADVERTISE_LABEL, advert.signed_digest())
