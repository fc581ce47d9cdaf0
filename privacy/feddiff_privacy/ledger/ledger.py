"""One owner's ledger of one holding: reserve, then spend, and refuse before an overspend.

A ledger belongs to a *name*: this owner's holding, say `forest-2024`. Which tiles the holding
consists of is recorded with every plan as salted evidence, but it does not decide whose budget is
used: a data set with one tile changed draws on the same budget.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from feddiff_privacy.events import Event
from feddiff_privacy.ledger.admission import admission_rule
from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.chain import MOST_FILE_BYTES
from feddiff_privacy.ledger.chain_file import ChainFile, create_file
from feddiff_privacy.ledger.entries import (
    MOST_ATTEMPTS,
    MOST_ENTRIES,
    MOST_LINE_BYTES,
    Close,
    Header,
    LineError,
    Reserve,
    Spend,
)
from feddiff_privacy.ledger.errors import (
    BudgetRefusedError,
    LedgerError,
    LedgerFullError,
    LifetimeFixedError,
)
from feddiff_privacy.ledger.renyi_filter import filter_order

_SPEND_BYTES = 256  # a spend or close line, at most


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """A plan that a ledger reserved before.

    Attributes:
        reservation: its number.
        spent: attempts spent, by phase.
        is_open: whether more may be spent.
        same_tiles: whether the holding consists of the tiles that it was reserved for.
    """

    reservation: int
    spent: Mapping[str, int]
    is_open: bool
    same_tiles: bool


class AttemptLedger(Protocol):
    """What a node needs of a ledger."""

    def reserve(self, plan: bytes, events: Sequence[Event], shares: int) -> int:
        """Set a plan's budget aside; returns the reservation, or raises before an overspend."""

    def held(self, plan: bytes) -> HeldPlan | None:
        """What the ledger holds of a plan; None for one that it never reserved."""

    def spend(self, reservation: int, phase: str) -> None:
        """Book one attempt; returns once that survives a crash."""

    def close(self, reservation: int) -> None:
        """End a reservation and release what it did not spend."""

    @property
    def size(self) -> int:
        """Number of entries."""

    @property
    def head(self) -> str:
        """SHA-256 of the last entry, hex."""


class Ledger:
    """An open ledger. Use `Ledger.open`, in a `with` statement.

    Args:
        file: the locked file.
        tiles: SHA-256 of the tiles that the holding consists of now.
    """

    def __init__(self, file: ChainFile, tiles: bytes) -> None:
        self._file = file
        self._tiles = tiles

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        owner: str,
        holding: str,
        lifetime_epsilon: float | None,
        delta: float,
        tiles: bytes,
        keep: bytes | None = None,
    ) -> Self:
        """Open a ledger, or make it where there is none, and close what a crash left open.

        Args:
            path: its file.
            owner: whose. holding: name of the data.
            lifetime_epsilon: of a new ledger; None for no limit. An existing ledger keeps its
                own, and None asks for nothing else.
            delta: of a new ledger; an existing one keeps its own.
            tiles: SHA-256 of the holding's tiles, 32 bytes.
            keep: SHA-256 of the plan of an interrupted run that is about to go on: its
                reservation stays open. Any other is closed, and its run cannot go on.

        Raises:
            LifetimeFixedError: the existing ledger has another lifetime ε.
            LedgerBusyError: another process has it open.
            LedgerError: damaged, of another owner or holding, or the disk failed.
        """
        if not path.exists() and not path.is_symlink():
            create_file(path, _header(owner, holding, lifetime_epsilon, delta))
        ledger = cls(ChainFile(path), tiles)
        try:
            ledger._check_header(owner, holding, lifetime_epsilon)
            ledger.release(keep)
        except BaseException:
            ledger._file.close()
            raise
        return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.release()
        finally:
            self._file.close()

    def reserve(self, plan: bytes, events: Sequence[Event], shares: int) -> int:
        """Set the budget of a plan aside, at its most attempts.

        Args:
            plan: SHA-256 of the plan, 32 bytes.
            events: its phases, each at its most attempts.
            shares: noise shares that the plan's calibrated observer faces.

        Returns:
            The number of the reservation.

        Raises:
            BudgetRefusedError: it does not fit the lifetime ε; nothing was written.
            UnsupportedEventError: an event that no accountant here knows.
            LedgerError: the entry is not one, or the disk failed.
        """
        rule = admission_rule(self.balance, events, shares)
        self._check_room(sum(event.attempts for event in events))
        return self._append(Reserve(plan.hex(), tuple(events), shares, self._evidence(), rule))

    def held(self, plan: bytes) -> HeldPlan | None:
        """What the ledger holds of a plan, its last reservation; None if it never reserved it.

        Args:
            plan: SHA-256 of the plan, 32 bytes.
        """
        found = None
        for seq, one in self.balance.reservations.items():
            if one.reserve.plan == plan.hex():
                same = one.reserve.evidence == self._evidence()
                found = HeldPlan(seq, dict(one.spent), one.is_open, same)
        return found

    def spend(self, reservation: int, phase: str) -> None:
        """Book one attempt of a phase. Nothing made from the data may leave before this returns.

        Raises:
            BudgetRefusedError: the reservation is over, or holds no further attempt of the phase.
            LedgerError: the disk failed; the attempt must not leave.
        """
        held = self.balance.reservations.get(reservation)
        if held is None or not held.is_open:
            raise BudgetRefusedError(f"reservation {reservation} is not open")
        number, most = held.spent[phase] + 1, held.most(phase)
        if number > most:
            raise BudgetRefusedError(f"phase {phase}: all {most} attempts reserved are spent")
        self._append(Spend(reservation, phase, number))

    def close(self, reservation: int) -> None:
        """End a reservation; what it did not spend is released (`admission` says what counts on).

        Raises:
            LedgerError: it is not open, or the disk failed.
        """
        self._append(Close(reservation))

    def suspend(self) -> None:
        """Leave the file with its reservations open: the run may go on in another process.

        Whoever opens the ledger next closes them, unless it goes on with that very plan.
        """
        self._file.close()

    def release(self, keep: bytes | None = None) -> None:
        """Close every open reservation; nothing where the disk failed, so the next open does it.

        Args:
            keep: SHA-256 of a plan whose reservation stays open.

        Sound also after a crash: an attempt is on disk as spent before anything of it leaves, so
        what is not on disk has not left and, its secrets being gone with the process, never will.
        """
        kept = None if keep is None else keep.hex()
        for reservation in self.balance.open_reservations if self._file.is_open else ():
            if self.balance.reservations[reservation].reserve.plan != kept:
                self.close(reservation)

    @property
    def is_open(self) -> bool:
        """Whether entries can be added; if not, more may be on disk than is known here."""
        return self._file.is_open

    @property
    def balance(self) -> Balance:
        """What the entries add up to."""
        return self._file.chain.balance

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._file.chain.heads)

    @property
    def head(self) -> str:
        """SHA-256 of the last line, hex: it commits to the whole ledger."""
        return self._file.chain.heads[-1]

    def head_at(self, size: int) -> str | None:
        """The head when the ledger had `size` entries; None if it never had."""
        return self._file.chain.heads[size - 1] if 1 <= size <= self.size else None

    def _evidence(self) -> str:
        salt = bytes.fromhex(self.balance.header.salt)
        return hashlib.sha256(salt + self._tiles).hexdigest()

    def _append(self, entry: Reserve | Spend | Close) -> int:
        try:
            return self._file.append(entry)
        except LineError as error:
            raise LedgerError(f"{self._file.path}: {entry.kind} refused: {error}", _BUG) from None

    def _check_header(self, owner: str, holding: str, lifetime_epsilon: float | None) -> None:
        header, path = self.balance.header, self._file.path
        if (header.owner, header.holding) != (owner, holding):
            raise LedgerError(
                f"{path}: is the ledger of {header.owner}.{header.holding}, not {owner}.{holding}",
                "give every holding its own file",
            )
        if lifetime_epsilon is not None and lifetime_epsilon != header.lifetime_epsilon:
            fixed = header.lifetime_epsilon
            raise LifetimeFixedError(
                f"{path}: its lifetime epsilon is {'unlimited' if fixed is None else fixed}, not "
                f"{lifetime_epsilon:g}",
                "a lifetime is fixed when a ledger is made; leave it out to use the ledger's own",
            )

    def _check_room(self, attempts: int) -> None:
        """Refuse a plan whose entries would make the ledger unreadable."""
        open_ones = [held for held in self.balance.reservations.values() if held.is_open]
        entries = attempts + 2 + sum(held.remaining + 1 for held in open_ones)
        size = self._file.chain.size + MOST_LINE_BYTES + entries * _SPEND_BYTES
        if attempts > MOST_ATTEMPTS or size > MOST_FILE_BYTES or self.size + entries > MOST_ENTRIES:
            raise LedgerFullError(
                f"{self._file.path}: {entries} further entries do not fit ({MOST_ENTRIES} entries, "
                f"{MOST_FILE_BYTES} bytes)",
                "use a plan of fewer attempts",
            )


_BUG = "this is a bug; the ledger is unchanged"


def _header(owner: str, holding: str, lifetime_epsilon: float | None, delta: float) -> Header:
    return Header(
        owner=owner,
        holding=holding,
        salt=secrets.token_bytes(16).hex(),
        lifetime_epsilon=lifetime_epsilon,
        delta=delta,
        order=filter_order(lifetime_epsilon, delta),
    )
