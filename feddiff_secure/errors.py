"""The one error root of the package, and the exit code each kind of error means.

Every error a user can cause carries what was wrong and, as `hint`, what to do about it. The
command line prints the two lines `error: …` and `hint: …` and exits with `exit_code`.
"""

from __future__ import annotations


class FeddiffError(Exception):
    """Root of every error this package raises on purpose.

    Args:
        message: what was wrong, with the offending value and the bound it broke.
        hint: what the user can do.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(FeddiffError):
    """A wrong option value or configuration key (exit 2)."""

    exit_code = 2


class OutputError(UsageError):
    """What a run has to leave behind cannot be written: a full disk, a path without permission."""


class DataError(FeddiffError):
    """A wrong, missing or unreadable data file (exit 3)."""

    exit_code = 3


class ProtocolAbortedError(FeddiffError):
    """The secure aggregation protocol was aborted (exit 4)."""

    exit_code = 4


class BudgetError(FeddiffError):
    """The privacy budget does not allow what was asked (exit 5)."""

    exit_code = 5


class ResumeRefusedError(BudgetError):
    """An interrupted run that cannot go on within what was reserved for it (exit 5)."""


class InterruptedRunError(FeddiffError):
    """The user stopped a run that can go on (exit 130, as a shell has it)."""

    exit_code = 130


class VerificationError(FeddiffError):
    """Something that should have verified did not (exit 6)."""

    exit_code = 6
