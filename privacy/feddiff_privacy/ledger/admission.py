"""Whether a plan still fits a ledger's lifetime (ε, δ), and how much is left.

A plan is admitted by one of two rules:

* **renyi**: the RDP at the ledger's order of all that was spent, all that is reserved, and the
  plan at its most attempts converts to at most ε at δ.
* **pld**: nothing was ever spent and nothing is reserved, and the plan's own joint ε at δ by
  privacy loss distributions is at most the lifetime ε. From its first spent attempt on such a plan
  counts for all its attempts for good, closed or not.

Why a ledger that uses either is (ε, δ)-DP. Nothing depends on the data before the first attempt
is spent, so which plan that attempt belongs to, and by which rule it was let in, is the same for
neighbouring data sets (given any randomness of whoever chooses plans). Two cases:

1. It was let in by *renyi*. Then `pld` never applies again, because something was spent. So on
   every path the spent attempts' RDP is at most B(α): the whole is (α, B)-RDP by the filter, hence
   (ε, δ)-DP.
2. It was let in by *pld* alone, so its RDP exceeds B. It keeps counting in full, so `renyi` admits
   nothing beside it, ever, and `pld` neither. What is released is a prefix, chosen on the way, of
   one plan whose noise was fixed in advance. Each release is a post-processing of its own
   dominating pair (Blackwell), so a prefix in any order is a post-processing of the full plan,
   whose PLD gives (ε, δ).

Releasing the unspent part in case 2 would not be sound: an observer could let the result decide
between finishing the plan (covered by its PLD) and stopping to start another (covered by the
filter), and the two failure probabilities add up to 2δ. A `pld` plan of which nothing was spent
has released nothing and is forgotten.

Unspent attempts of case 1 are released when the reservation is closed. That is sound because
every attempt is on disk as spent before anything made from it leaves: what the ledger does not
show as spent has not left, also after a crash.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from feddiff_privacy.accountant import analytic_epsilon, epsilon
from feddiff_privacy.events import Event
from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.entries import Rule
from feddiff_privacy.ledger.errors import BudgetRefusedError
from feddiff_privacy.ledger.renyi_filter import gaussian_mu_within, rdp, rdp_budget


def admission_rule(balance: Balance, events: Sequence[Event], shares: int) -> Rule:
    """The rule by which a plan fits.

    Args:
        balance: the ledger so far.
        events: the plan's phases, each at its most attempts.
        shares: noise shares that the plan's calibrated observer faces.

    Raises:
        BudgetRefusedError: no rule admits it; says what is left.
        UnsupportedEventError: an event that no accountant here knows.
    """
    header = balance.header
    cost = rdp(events, shares, header.order)
    if header.lifetime_epsilon is None:
        return "unlimited"
    if balance.charged_rdp() + cost <= _budget(balance):
        return "renyi"
    asked = joint_epsilon(tuple(events), shares, header.delta)
    if balance.is_unspent and asked <= header.lifetime_epsilon:
        return "pld"
    room = left(balance)
    raise BudgetRefusedError(
        f"the plan takes epsilon {asked:.4g} at delta {header.delta:g}; {room:.4g} is left of the "
        f"lifetime epsilon {header.lifetime_epsilon:g}",
        room,
    )


def left(balance: Balance) -> float | None:
    """ε of the largest single full-batch Gaussian release that would still be admitted.

    0 where nothing is; None for a ledger without limit. The number is what a person can ask for
    next: a plan of full-batch rounds composes to exactly one such release.
    """
    header = balance.header
    if header.lifetime_epsilon is None:
        return None
    if balance.is_unspent:
        return header.lifetime_epsilon
    room = _budget(balance) - balance.charged_rdp()
    if room <= 0 or math.isinf(room):
        return 0.0
    return analytic_epsilon(gaussian_mu_within(room, header.order), header.delta)


@functools.lru_cache(maxsize=256)
def joint_epsilon(events: tuple[Event, ...], shares: int, delta: float) -> float:
    """ε at δ of one plan's events by privacy loss distributions (owners ask for the same one)."""
    return epsilon(events, shares=shares, delta=delta)


def _budget(balance: Balance) -> float:
    header = balance.header
    assert header.lifetime_epsilon is not None
    return rdp_budget(header.lifetime_epsilon, header.delta, header.order)
