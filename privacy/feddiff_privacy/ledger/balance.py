"""What the entries of a ledger add up to.

The rules of the machine, the same for an entry that is read and one that is about to be written:

* A header comes first and once.
* A reservation is open from its `reserve` to its `close`; there may be several open ones.
* A spend names an open reservation, a phase of it, and the next number; never more attempts than
  the reservation holds.
* What a reservation counts for, in the filter: all its attempts while it is open; what it spent
  once it is closed. A reservation that the rule `pld` let in counts for all its attempts for good
  as soon as one is spent (`admission` says why).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from feddiff_privacy.events import Event
from feddiff_privacy.ledger.entries import Close, Entry, Header, LineError, Reserve, Spend
from feddiff_privacy.ledger.renyi_filter import fsum_or_inf, rdp


@dataclass(slots=True)
class Reservation:
    """One accepted plan.

    Attributes:
        reserve: what was reserved.
        spent: attempts spent, by phase.
        is_open: whether more may be spent.
    """

    reserve: Reserve
    spent: Counter[str] = field(default_factory=Counter)
    is_open: bool = True

    @property
    def remaining(self) -> int:
        """Attempts that may still be spent."""
        if not self.is_open:
            return 0
        return sum(event.attempts for event in self.reserve.events) - self.spent.total()

    def most(self, phase: str) -> int:
        """Attempts reserved for a phase; 0 for one that the plan does not have."""
        return next((e.attempts for e in self.reserve.events if e.phase == phase), 0)

    @property
    def spent_events(self) -> tuple[Event, ...]:
        """The events with the attempts that were spent."""
        return tuple(
            replace(event, attempts=self.spent[event.phase])
            for event in self.reserve.events
            if self.spent[event.phase]
        )

    @property
    def charged_events(self) -> tuple[Event, ...]:
        """The events with the attempts that the filter counts."""
        whole = self.is_open or (self.reserve.rule == "pld" and self.spent.total() > 0)
        return self.reserve.events if whole else self.spent_events


class Balance:
    """The state of a ledger after its entries so far.

    Args:
        header: the first entry.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.reservations: dict[int, Reservation] = {}

    def apply(self, entry: Entry, seq: int) -> None:
        """Add the entry with number `seq`, or refuse it and stay as before.

        Raises:
            LineError: an entry that the rules above do not allow.
        """
        self.check(entry)
        if isinstance(entry, Reserve):
            self.reservations[seq] = Reservation(entry)
        elif isinstance(entry, Spend):
            self.reservations[entry.reservation].spent[entry.phase] += 1
        elif isinstance(entry, Close):
            self.reservations[entry.reservation].is_open = False

    def check(self, entry: Entry) -> None:
        """Refuse an entry that the rules do not allow next.

        Raises:
            LineError: saying which rule.
        """
        if isinstance(entry, Header):
            raise LineError("a second header")
        if isinstance(entry, Reserve):
            if (entry.rule == "unlimited") != (self.header.lifetime_epsilon is None):
                raise LineError(f"rule {entry.rule} does not fit the header's lifetime_epsilon")
            if entry.rule == "pld" and not self.is_unspent:
                raise LineError("rule pld in a ledger that is not empty")
            return
        held = self.reservations.get(entry.reservation)
        if held is None or not held.is_open:
            raise LineError(f"reservation {entry.reservation} is not open")
        if isinstance(entry, Spend):
            most, next_one = held.most(entry.phase), held.spent[entry.phase] + 1
            if entry.attempt != next_one or next_one > most:
                raise LineError(
                    f"attempt {entry.attempt} of phase {entry.phase}: the next is {next_one} of "
                    f"{most}"
                )

    @property
    def open_reservations(self) -> list[int]:
        """Numbers of the reservations that were not closed."""
        return [seq for seq, held in self.reservations.items() if held.is_open]

    @property
    def is_unspent(self) -> bool:
        """Whether nothing was ever spent and nothing is reserved."""
        return not any(held.is_open or held.spent for held in self.reservations.values())

    @property
    def spent(self) -> list[Reservation]:
        """The reservations of which at least one attempt was spent."""
        return [held for held in self.reservations.values() if held.spent]

    def charged_rdp(self) -> float:
        """RDP at the header's order of all that the filter counts."""
        return fsum_or_inf(
            rdp(held.charged_events, held.reserve.shares, self.header.order)
            for held in self.reservations.values()
        )

    def changed_evidence(self) -> Iterator[int]:
        """Numbers of the reservations whose tiles differ from those of the one before."""
        before: str | None = None
        for seq, held in self.reservations.items():
            if before is not None and held.reserve.evidence != before:
                yield seq
            before = held.reserve.evidence
