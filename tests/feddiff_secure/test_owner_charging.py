"""An owner and its ledger: reserved before a plan is accepted, spent before a vector leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.ledger.chain_file import read_file
from feddiff_privacy.ledger.errors import LedgerError
from feddiff_privacy.ledger.ledger import AttemptLedger, HeldPlan, Ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import BudgetError, ProtocolAbortedError
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.training import train
from feddiff_secure.transport.exchange import REFUSED, Message
from feddiff_secure.transport.inprocess import InProcessExchange
from tests.support.federations import CLASSES, FEATURES, examples, plan_for

ORIGIN = np.zeros((CLASSES, FEATURES))


class DiskWatchingExchange(InProcessExchange):
    """Looks at every owner's ledger on disk at the moment a vector reaches the transport."""

    def __init__(self, owners: Mapping[str, Owner], folder: Path) -> None:
        super().__init__(owners)
        self.folder = folder
        self.seen: list[tuple[str, int]] = []

    def exchange(
        self, phase: str, messages: Mapping[str, Message], timeout: float
    ) -> dict[str, Message]:
        replies = super().exchange(phase, messages, timeout)
        for name, reply in replies.items():
            if "vector" in reply:
                balance = read_file(self.folder / f"{name}.jsonl").balance
                self.seen.append((name, sum(held.spent.total() for held in balance.spent)))
        return replies


class Owners:
    """A federation whose owners keep their ledgers in a folder."""

    def __init__(
        self, plan: Plan, folder: Path, *, lifetime: float | None = None, fail: bool = False
    ) -> None:
        self.plan = plan
        keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
        self.registry = Registry({name: key.public for name, key in keys.items()})
        self.ledgers = {
            name: Ledger.open(
                folder / f"{name}.jsonl",
                owner=name,
                holding="plots",
                lifetime_epsilon=lifetime,
                delta=plan.delta,
                tiles=bytes(32),
            )
            for name in plan.owners
        }
        self.owners = {
            name: Owner(
                name,
                examples(i),
                keys[name],
                self.registry,
                SecureRandom(),
                ledger=FailingLedger(ledger) if fail else ledger,
            )
            for i, (name, ledger) in enumerate(self.ledgers.items())
        }
        self.exchange = DiskWatchingExchange(self.owners, folder)

    def agree(self) -> dict[str, Message]:
        message = {"plan": self.plan.to_json()}
        return self.exchange.exchange("plan", dict.fromkeys(self.plan.owners, message), 1.0)

    def release(self, phase: str, round_index: int, attempt: int = 0) -> None:
        asked = Attempt(phase, round_index, attempt, ORIGIN)
        secure_sum(self.exchange, self.registry, self.plan, asked)

    def close(self) -> None:
        for ledger in self.ledgers.values():
            ledger.__exit__(None, None, None)


class FailingLedger:
    """A ledger whose disk fails when an attempt is to be booked."""

    def __init__(self, ledger: AttemptLedger) -> None:
        self._ledger = ledger

    def reserve(self, plan: bytes, events: Sequence[NoisedSum], shares: int) -> int:
        return self._ledger.reserve(plan, events, shares)

    def held(self, plan: bytes) -> HeldPlan | None:
        return self._ledger.held(plan)

    def spend(self, reservation: int, phase: str) -> None:
        raise LedgerError("no space left", "free some")

    def close(self, reservation: int) -> None:
        self._ledger.close(reservation)


PLANS = {
    "masked": plan_for(RunConfig(epsilon=8.0, rounds=3), 2),
    "plain": plan_for(RunConfig(epsilon=8.0, rounds=3, noise="local", aggregation="plain"), 2),
}
PLAN = PLANS["masked"]


@pytest.mark.parametrize("mode", PLANS)
def test_each_attempt_is_on_disk_when_its_vector_reaches_the_transport(
    mode: str, tmp_path: Path
) -> None:
    federation = Owners(PLANS[mode], tmp_path)
    federation.agree()
    for index in range(3):
        federation.release("train", index)
    names = federation.plan.owners
    assert federation.exchange.seen == [(name, k + 1) for k in range(3) for name in names]


@pytest.mark.parametrize("mode", PLANS)
def test_an_attempt_that_cannot_be_booked_does_not_leave(mode: str, tmp_path: Path) -> None:
    federation = Owners(PLANS[mode], tmp_path, fail=True)
    federation.agree()
    with pytest.raises(ProtocolAbortedError, match="ledger_refused"):
        federation.release("train", 0)
    assert federation.exchange.seen == []
    for owner in federation.owners.values():  # and the vector is gone
        assert owner.handle("mask", {}) == {REFUSED: "out_of_order"}
        assert owner.charged.total() == 0


def test_a_retry_is_charged_again(tmp_path: Path) -> None:
    federation = Owners(PLAN, tmp_path)
    federation.agree()
    federation.release("count", 0)
    federation.release("train", 0)
    federation.release("train", 0, attempt=1)
    for name, owner in federation.owners.items():
        held = read_file(tmp_path / f"{name}.jsonl").balance.spent[0]
        assert dict(held.spent) == dict(owner.charged) == {"count": 1, "train": 2}
    federation.release("train", 1)  # the plan accounts for three attempts in all
    with pytest.raises(ProtocolAbortedError, match="budget_refused"):
        federation.release("train", 2)


def test_a_plan_is_reserved_at_its_most_attempts(tmp_path: Path) -> None:
    federation = Owners(PLAN, tmp_path)
    federation.agree()
    reserve = federation.ledgers["owner-001"].balance.reservations[1].reserve
    assert list(reserve.events) == PLAN.events()
    assert [event.attempts for event in reserve.events] == [1, PLAN.attempts]
    assert reserve.shares == PLAN.calibrated_shares
    assert reserve.plan == PLAN.digest().hex()


def test_a_plan_that_does_not_fit_the_ledger_is_refused_with_a_fixed_code(tmp_path: Path) -> None:
    federation = Owners(PLAN, tmp_path, lifetime=4.0)
    assert set(map(str, (r[REFUSED] for r in federation.agree().values()))) == {"budget_refused"}
    for owner in federation.owners.values():
        asked: Message = {"phase": "train", "round": 0, "attempt": 0, "weights": ORIGIN}
        assert owner.handle("train", asked) == {REFUSED: "no_plan"}
    with pytest.raises(BudgetError):
        train(
            federation.exchange,
            federation.registry,
            federation.plan,
            check_count=lambda _n: None,
            log=lambda _line: None,
            progress=Silent(),
        )
    assert federation.exchange.seen == []
    assert all(ledger.size == 1 for ledger in federation.ledgers.values())


def test_a_restarted_owner_still_knows_what_earlier_rounds_spent(tmp_path: Path) -> None:
    first = Owners(PLAN, tmp_path, lifetime=10.0)
    first.agree()
    first.release("train", 0)
    first.release("train", 1)
    for ledger in first.ledgers.values():
        ledger._file.close()  # the process is gone; nothing was closed in good order
    again = Owners(PLAN, tmp_path, lifetime=10.0)
    for ledger in again.ledgers.values():
        assert ledger.balance.reservations[1].spent == {"train": 2}
        assert not ledger.balance.open_reservations
    replies = again.agree()  # opening closed it, so that other plans have the room
    assert {r.get(REFUSED) for r in replies.values()} == {"plan_closed"}
    again.plan = replace(PLAN, session="1" * 32)
    assert {r.get(REFUSED) for r in again.agree().values()} == {"budget_refused"}


def test_an_ended_run_releases_what_was_not_spent_and_answers_no_more(tmp_path: Path) -> None:
    federation = Owners(PLAN, tmp_path, lifetime=10.0)
    federation.agree()
    federation.release("train", 0)
    for owner in federation.owners.values():
        owner.end()
        owner.end()  # a second word changes nothing
    with pytest.raises(ProtocolAbortedError, match="budget_refused"):
        federation.release("train", 1)
    for ledger in federation.ledgers.values():
        assert not ledger.balance.open_reservations
        assert ledger.balance.spent[0].spent == {"train": 1}
    federation.close()
