"""A ledger in numbers that people read: lifetime, spent, left, and whether the data changed.

`spent` is a reading, `lifetime_epsilon` the promise. With one plan spent, `spent` is that plan's
joint ε by privacy loss distributions. With several it is what the filter's order converts to;
that order is chosen for the lifetime, so small plans read high. `epsilon_if_planned` is the joint
ε of the same releases had all plans been fixed before the first result was seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from feddiff_privacy.events import Event
from feddiff_privacy.ledger.admission import joint_epsilon, left
from feddiff_privacy.ledger.balance import Balance, Reservation
from feddiff_privacy.ledger.chain import Chain
from feddiff_privacy.ledger.chain_file import read_file
from feddiff_privacy.ledger.renyi_filter import converted_epsilon, fsum_or_inf, rdp

SpentRule = Literal["none", "pld", "renyi"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a ledger says.

    Attributes:
        owner, holding: whose ledger, of what.
        lifetime_epsilon: the promise; None for no limit.
        delta: its δ. order: α of the filter.
        spent: ε of what was spent. rule: how it was computed.
        epsilon_if_planned: joint ε had all plans been fixed beforehand.
        left: ε of the largest full-batch release still admitted; None for no limit.
        plans: plans of which something was spent.
        attempts: attempts spent.
        open_plans: reservations not closed: of a run under way, or of one that crashed.
        changed_evidence: numbers of the entries whose tiles are not those of the plan before.
        entries: number of entries. head: SHA-256 of the last one, hex.
    """

    owner: str
    holding: str
    lifetime_epsilon: float | None
    delta: float
    order: float
    spent: float
    rule: SpentRule
    epsilon_if_planned: float
    left: float | None
    plans: int
    attempts: int
    open_plans: int
    changed_evidence: tuple[int, ...]
    entries: int
    head: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object; an infinite ε is null."""
        return {
            "owner": self.owner,
            "holding": self.holding,
            "lifetime_epsilon": self.lifetime_epsilon,
            "delta": self.delta,
            "order": self.order,
            "spent": {
                "epsilon": self.spent if math.isfinite(self.spent) else None,
                "rule": self.rule,
            },
            "epsilon_if_planned": (
                self.epsilon_if_planned if math.isfinite(self.epsilon_if_planned) else None
            ),
            "left": self.left,
            "plans": self.plans,
            "attempts": self.attempts,
            "open_plans": self.open_plans,
            "changed_evidence": list(self.changed_evidence),
            "entries": self.entries,
            "head": self.head,
        }


def read_ledger(path: Path) -> Reading:
    """Read a ledger file without locking or changing it.

    Raises:
        LedgerError: missing or damaged.
    """
    return reading(read_file(path))


def reading(chain: Chain) -> Reading:
    """What a chain of entries says."""
    balance = chain.balance
    header, spent = balance.header, balance.spent
    epsilon, rule = spent_epsilon(balance)
    return Reading(
        owner=header.owner,
        holding=header.holding,
        lifetime_epsilon=header.lifetime_epsilon,
        delta=header.delta,
        order=header.order,
        spent=epsilon,
        rule=rule,
        epsilon_if_planned=_planned(spent, header.delta),
        left=left(balance),
        plans=len(spent),
        attempts=sum(held.spent.total() for held in spent),
        open_plans=len(balance.open_reservations),
        changed_evidence=tuple(balance.changed_evidence()),
        entries=len(chain.heads),
        head=chain.heads[-1],
    )


def spent_epsilon(balance: Balance) -> tuple[float, SpentRule]:
    """ε at the ledger's δ of what was spent, and the rule that gives it."""
    header, spent = balance.header, balance.spent
    if not spent:
        return 0.0, "none"
    if len(spent) == 1:
        return joint_epsilon(spent[0].spent_events, spent[0].reserve.shares, header.delta), "pld"
    total = fsum_or_inf(rdp(s.spent_events, s.reserve.shares, header.order) for s in spent)
    return converted_epsilon(total, header.delta, header.order), "renyi"


def _planned(spent: list[Reservation], delta: float) -> float:
    """Joint ε of all plans; where observers differ, each event as its own observer faces it.

    Infinite where the plans drew different noises: no accountant composes the two in one.
    """
    if len({type(event) for held in spent for event in held.spent_events}) > 1:
        return math.inf
    observers = {held.reserve.shares for held in spent}
    if len(observers) <= 1:
        events = tuple(event for held in spent for event in held.spent_events)
        return joint_epsilon(events, observers.pop(), delta) if events else 0.0
    faced: list[Event] = []
    for held in spent:
        scale = math.sqrt(held.reserve.shares)
        faced += [replace(e, share_std=e.share_std * scale) for e in held.spent_events]
    return joint_epsilon(tuple(faced), 1, delta)
