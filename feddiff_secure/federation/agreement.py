"""The coordinator offers a plan to all parties, a new one or that of a run that goes on.

An owner whose ledger holds the plan open answers with what the coordinator may have lost: how many
attempts it was charged for, and how much of the log it cosigned. From that follows whether the
attempt that was under way when the run stopped was charged to anybody: if so it is lost, and if not
it never took place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from feddiff_crypto.encoding import Value
from feddiff_secure.errors import (
    BudgetError,
    DataError,
    ProtocolAbortedError,
    ResumeRefusedError,
    VerificationError,
)
from feddiff_secure.federation.phases import PHASE_TIMEOUT
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.run_state import RunState
from feddiff_secure.transport.exchange import REFUSED, Exchange, Message


@dataclass(frozen=True, slots=True)
class Rejoined:
    """What an owner knows of a run that goes on.

    Attributes:
        cosigned: leaves of the log at its last cosignature.
        spent: attempts it was charged for, by phase.
    """

    cosigned: int
    spent: Mapping[str, int]


def agree(exchange: Exchange, plan: Plan) -> dict[str, Rejoined]:
    """Send the plan to every owner and the custodian; all must accept the same one.

    Returns:
        Owner → what it knows of the run; an owner to whom the plan is new knows nothing.

    Raises:
        BudgetError: an owner's ledger has no room for the plan.
        ResumeRefusedError: an owner's ledger has closed the plan.
        DataError: an owner's tiles are not those it accepted the plan for.
        ProtocolAbortedError: a party did not accept it.
    """
    parties = plan.owners if plan.custodian is None else (*plan.owners, plan.custodian)
    replies = _offer(exchange, plan, parties, "plan")
    return {owner: _rejoined(owner, plan, replies[owner]) for owner in plan.owners}


def follow(exchange: Exchange, plan: Plan) -> dict[str, Rejoined]:
    """Have the owners take up a plan whose releases are all made, to end the run.

    Raises:
        ProtocolAbortedError: an owner does not know the plan.
    """
    replies = _offer(exchange, plan, plan.owners, "follow")
    return {owner: _rejoined(owner, plan, replies[owner]) for owner in plan.owners}


def was_charged(state: RunState, known: Mapping[str, Rejoined]) -> bool:
    """Whether the next attempt was charged to an owner before the run stopped.

    Args:
        state: what the log has. known: what the owners say.

    Raises:
        VerificationError: an owner was charged for fewer attempts than the log has its vectors of.
        ProtocolAbortedError: one was charged for more than can have been made.
    """
    due = state.course.next
    charged = False
    for owner, rejoined in known.items():
        for phase in state.plan.phases:
            spent, arrived = rejoined.spent.get(phase, 0), state.arrived[owner][phase]
            if spent < arrived:
                raise VerificationError(
                    f"{owner} was charged for {spent} attempts of {phase}, its vector is in "
                    f"{arrived} sums: its ledger is an older copy",
                    "the run cannot go on; restore that owner's ledger",
                )
            under_way = due is not None and due.phase == phase
            made = state.course.attempts(phase)
            if spent > made + under_way:
                raise ProtocolAbortedError(
                    f"{owner} was charged for {spent} attempts of {phase}; the log has {made}",
                    "the log is an older copy than that owner's ledger; start anew",
                )
            charged |= spent > made
    return charged


def _offer(
    exchange: Exchange, plan: Plan, parties: tuple[str, ...], phase: str
) -> Mapping[str, Message]:
    message = {"plan": plan.to_json()}
    replies = exchange.exchange(phase, dict.fromkeys(parties, message), PHASE_TIMEOUT)
    for party in parties:
        reply = replies.get(party, {REFUSED: "no_answer"})
        _raise_refusal(party, reply.get(REFUSED))
        if reply.get("accepted") != plan.digest():
            raise ProtocolAbortedError(
                f"{party} did not accept the plan: {reply.get(REFUSED)!s}",
                "nothing was released; docs/protocol.md lists the codes",
            )
    return replies


def _raise_refusal(party: str, code: Value | None) -> None:
    """Raise what a refusal means that a user can do something about."""
    if code == "budget_refused":
        raise BudgetError(
            f"{party} did not accept the plan: its ledger has no room for it",
            "nothing was released; ask that owner what is left",
        )
    if code == "plan_closed":
        raise ResumeRefusedError(
            f"{party} did not accept the plan: its ledger has closed it, as another run or a "
            "refusal came between; what was spent stays charged",
            "start a new run; feddiff-secure budget says what is left",
        )
    if code == "data_refused":
        raise DataError(
            f"{party} did not accept the plan: its tiles are not those it was accepted for",
            "restore the data as it was, or start a new run",
        )


def _rejoined(owner: str, plan: Plan, reply: Message) -> Rejoined:
    said = {name: value for name, value in reply.items() if name != "accepted"}
    if not said.keys() <= {"cosigned", *plan.phases} or any(
        type(value) is not int or value < 0 for value in said.values()
    ):
        raise ProtocolAbortedError(f"{owner} answered the plan with other fields", "ask that owner")
    counts = {name: value for name, value in said.items() if isinstance(value, int)}
    return Rejoined(counts.pop("cosigned", 0), counts)
