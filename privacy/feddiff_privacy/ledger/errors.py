"""What can be wrong with a ledger, and what an owner can do about it."""

from __future__ import annotations

from feddiff_privacy.errors import PrivacyError


class LedgerError(PrivacyError):
    """A ledger file that cannot be read or written as one.

    Args:
        message: the file, the line and what is wrong with it.
        hint: what to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class LedgerBusyError(LedgerError):
    """Another process has the ledger open."""


class LedgerFullError(LedgerError):
    """A plan whose entries would not fit the largest file that is read back."""


class LifetimeFixedError(LedgerError):
    """A lifetime ε other than the one that the ledger was made with."""


class LedgerRolledBackError(LedgerError):
    """A ledger that lacks entries which a peer has seen."""


class BudgetRefusedError(PrivacyError):
    """A plan, or one more attempt, that the ledger has no room for. Nothing was written.

    Args:
        message: what was asked for and what is left.
        left: ε that is left, as `admission.left` words it; None where it does not apply.
    """

    def __init__(self, message: str, left: float | None = None) -> None:
        super().__init__(message)
        self.left = left


class PlanClosedError(BudgetRefusedError):
    """A plan that the ledger held before and has closed: it is never opened again."""


class TilesChangedError(LedgerError):
    """A plan that goes on with other tiles than it was accepted for."""
