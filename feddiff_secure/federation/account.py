"""What an owner's ledger has set aside for the one plan that the owner accepted.

* A plan that the ledger does not know is reserved, at its most attempts.
* A plan with an open reservation goes on: the attempts that the ledger shows as spent stay spent,
  and nothing is reserved a second time.
* A plan whose reservation is closed is refused, whatever it left unspent: the rest was released.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from feddiff_privacy.errors import PrivacyError
from feddiff_privacy.events import Event
from feddiff_privacy.ledger.errors import BudgetRefusedError, PlanClosedError, TilesChangedError
from feddiff_privacy.ledger.ledger import AttemptLedger, HeldPlan
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.federation.plan import Plan


class Account:
    """One plan in one ledger.

    Args:
        ledger: the owner's.
    """

    def __init__(self, ledger: AttemptLedger) -> None:
        self._ledger = ledger
        self._reservation: int | None = None
        self.charged: Counter[str] = Counter()
        """Attempts charged so far, by phase."""

    def open(self, plan: Plan, events: Sequence[Event]) -> bool:
        """Reserve a plan, or go on with it; returns whether it goes on.

        Args:
            plan: the plan. events: its phases, each at its most attempts.

        Raises:
            RefusalError: `budget_refused`, `plan_closed`, `data_refused` or `ledger_refused`.
        """
        try:
            held = self._open_plan(plan)
            if held is None:
                digest, shares = plan.digest(), plan.calibrated_shares
                self._reservation = self._ledger.reserve(digest, events, shares)
                return False
        except PrivacyError as error:
            raise _refusal(error) from error
        self._reservation = held.reservation
        self.charged = Counter(held.spent)
        return True

    def follow(self, plan: Plan) -> None:
        """Take up a plan of which every release is made, to end it; it may be closed already.

        Raises:
            RefusalError: `plan_unknown`.
        """
        held = self._ledger.held(plan.digest())
        if held is None:
            raise RefusalError("plan_unknown")
        self._reservation = held.reservation if held.is_open else None
        self.charged = Counter(held.spent)

    def charge(self, phase: str) -> None:
        """Book an attempt durably.

        Raises:
            RefusalError: `budget_refused` or `ledger_refused`; the attempt must not leave.
        """
        try:
            if self._reservation is None:
                raise BudgetRefusedError("the run was ended")
            self._ledger.spend(self._reservation, phase)
        except PrivacyError as error:
            raise _refusal(error) from error
        self.charged[phase] += 1

    def end(self) -> None:
        """Release what the plan did not spend."""
        if self._reservation is not None:
            self._ledger.close(self._reservation)
            self._reservation = None

    def _open_plan(self, plan: Plan) -> HeldPlan | None:
        held = self._ledger.held(plan.digest())
        if held is None:
            return None
        if not held.is_open:
            raise PlanClosedError("the plan was closed")
        if not held.same_tiles:
            raise TilesChangedError("the tiles are not those of the plan", "restore them")
        return held


def _refusal(error: PrivacyError) -> RefusalError:
    if isinstance(error, PlanClosedError):
        return RefusalError("plan_closed")
    if isinstance(error, TilesChangedError):
        return RefusalError("data_refused")
    if isinstance(error, BudgetRefusedError):
        return RefusalError("budget_refused")
    return RefusalError("ledger_refused")
