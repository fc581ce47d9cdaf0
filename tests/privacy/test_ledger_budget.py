"""Reserve, spend, close: nothing is lost, nothing overspent, and both rules are sound together."""

from __future__ import annotations

import functools
import itertools
import math
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import analytic_epsilon, gaussian_mu
from feddiff_privacy.calibrate import target_mu
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.ledger.admission import admission_rule, left
from feddiff_privacy.ledger.balance import Balance
from feddiff_privacy.ledger.chain_file import read_file
from feddiff_privacy.ledger.entries import Close, Header, LineError, Reserve, Spend
from feddiff_privacy.ledger.errors import (
    BudgetRefusedError,
    LedgerError,
    LedgerFullError,
    LifetimeFixedError,
)
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_privacy.ledger.reading import read_ledger, spent_epsilon
from feddiff_privacy.ledger.renyi_filter import converted_epsilon, filter_order, rdp
from tests.support.ledgers import fresh_ledger, open_ledger

PLAN = bytes(32)
DELTA = 1e-5


def train(z: float, attempts: int = 4, phase: str = "train") -> NoisedSum:
    return NoisedSum(phase, attempts, 1.0, "full_batch", 1e4, 1e4 * z, 10)


@functools.cache
def z_for(target: float, attempts: int = 4) -> float:
    """Noise multiplier at which `attempts` full batches have about ε = target, just below."""
    return math.sqrt(attempts) / target_mu(target * 0.999, DELTA)


def spend_all(ledger: Ledger, reservation: int, phase: str = "train") -> None:
    held = ledger.balance.reservations[reservation]
    for _ in range(held.most(phase) - held.spent[phase]):
        ledger.spend(reservation, phase)


def test_the_first_plan_may_take_the_whole_lifetime_and_nothing_more_is_admitted_after_it() -> None:
    ledger = fresh_ledger(lifetime=8.0)
    first = ledger.reserve(PLAN, [train(z_for(8.0))], 1)
    assert ledger.balance.reservations[first].reserve.rule == "pld"
    ledger.spend(first, "train")
    ledger.close(first)
    assert left(ledger.balance) == 0.0
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(PLAN, [train(500.0, 1)], 1)


def test_stopping_a_plan_that_only_its_pld_let_in_does_not_free_the_rest_of_it() -> None:
    """Finish it, or stop and start another, by the results: the two would add up to 2δ."""
    ledger = fresh_ledger(lifetime=8.0)
    first = ledger.reserve(PLAN, [train(z_for(8.0))], 1)
    ledger.spend(first, "train")
    ledger.close(first)
    spent = ledger.balance.spent[0].spent_events
    rest = train(z_for(1.0))
    assert converted_epsilon(rdp([*spent, rest], 1, ledger.balance.header.order), DELTA, 4.0) < 8
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(PLAN, [rest], 1)


def test_a_plan_of_which_nothing_was_spent_is_forgotten() -> None:
    ledger = fresh_ledger(lifetime=8.0)
    ledger.close(ledger.reserve(PLAN, [train(z_for(8.0))], 1))
    assert left(ledger.balance) == 8.0
    assert ledger.reserve(PLAN, [train(z_for(8.0))], 1) > 0


def test_plans_chosen_later_are_let_in_by_the_filter_until_it_is_full() -> None:
    ledger = fresh_ledger(lifetime=8.0)
    rules: list[str] = []

    def run_once() -> None:
        reservation = ledger.reserve(PLAN, [train(z_for(2.0))], 1)
        rules.append(ledger.balance.reservations[reservation].reserve.rule)
        spend_all(ledger, reservation)
        ledger.close(reservation)

    with pytest.raises(BudgetRefusedError) as refused:
        deque(iter(run_once, "never"), maxlen=0)
    assert set(rules) == {"renyi"}
    assert 7 <= len(rules) <= 12  # sums of ε would let in 4
    assert refused.value.left == left(ledger.balance)
    assert f"{refused.value.left:.4g} is left" in str(refused.value)
    assert spent_epsilon(ledger.balance)[0] <= 8.0


def test_an_open_reservation_counts_for_all_its_attempts() -> None:
    ledger = fresh_ledger(lifetime=8.0)
    z = z_for(6.0)
    first = ledger.reserve(PLAN, [train(z)], 1)
    with pytest.raises(BudgetRefusedError):  # nothing of the first is spent yet
        ledger.reserve(PLAN, [train(z)], 1)
    ledger.spend(first, "train")
    ledger.close(first)
    assert ledger.reserve(PLAN, [train(z_for(3.0))], 1) > 0  # the unspent part is free again


def test_a_spend_beyond_its_reservation_is_refused() -> None:
    ledger = fresh_ledger()
    first = ledger.reserve(PLAN, [train(1.0, 2), train(9.0, 1, "count")], 1)
    for phase, count in (("train", 2), ("count", 1)):
        for _ in range(count):
            ledger.spend(first, phase)
        with pytest.raises(BudgetRefusedError, match=f"phase {phase}"):
            ledger.spend(first, phase)
    for reservation, phase in ((first, "other"), (99, "train"), (0, "train")):
        with pytest.raises(BudgetRefusedError):
            ledger.spend(reservation, phase)
    ledger.close(first)
    with pytest.raises(BudgetRefusedError):
        ledger.spend(first, "train")
    with pytest.raises(LedgerError):
        ledger.close(first)


def test_a_refused_plan_writes_nothing() -> None:
    ledger = fresh_ledger(lifetime=1.0)
    before = (ledger.size, ledger.head)
    with pytest.raises(BudgetRefusedError, match="epsilon"):
        ledger.reserve(PLAN, [train(0.5)], 1)
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(PLAN, [train(0.0)], 1)  # no noise at all
    assert (ledger.size, ledger.head) == before


def test_a_ledger_without_limit_admits_everything_and_says_what_was_spent() -> None:
    ledger = fresh_ledger()
    reservation = ledger.reserve(PLAN, [train(0.0)], 1)
    spend_all(ledger, reservation)
    assert spent_epsilon(ledger.balance) == (float("inf"), "pld")
    assert left(ledger.balance) is None


def test_noise_counts_as_the_plans_own_observer_faces_it() -> None:
    few, many = fresh_ledger(lifetime=8.0), fresh_ledger(lifetime=8.0)
    share = z_for(8.0) / 2  # four shares of it make the noise
    many.reserve(PLAN, [train(share)], 4)
    with pytest.raises(BudgetRefusedError):
        few.reserve(PLAN, [train(share)], 3)


def test_what_is_left_is_what_is_admitted_next() -> None:
    ledger = fresh_ledger(lifetime=8.0)
    assert left(ledger.balance) == 8.0
    first = ledger.reserve(PLAN, [train(z_for(5.0))], 1)
    spend_all(ledger, first)
    ledger.close(first)
    room = left(ledger.balance)
    assert room is not None
    assert 0 < room < 8
    with pytest.raises(BudgetRefusedError):
        ledger.reserve(PLAN, [train(z_for(room * 1.01))], 1)
    ledger.reserve(PLAN, [train(z_for(room * 0.99))], 1)


def test_one_changed_tile_buys_no_new_budget_and_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "ann.plots.jsonl"
    for tiles in (b"a" * 32, b"a" * 32, b"b" * 32):
        with open_ledger(path, lifetime=8.0, tiles=tiles) as ledger:
            spend_all(ledger, ledger.reserve(PLAN, [train(z_for(3.0))], 1))
    found = read_ledger(path)
    entries = read_file(path).balance.reservations.values()
    evidence = [held.reserve.evidence for held in entries]
    assert evidence[0] == evidence[1] != evidence[2]
    assert len(found.changed_evidence) == 1
    assert found.plans == 3
    with open_ledger(path, tiles=b"c" * 32) as ledger, pytest.raises(BudgetRefusedError):
        ledger.reserve(PLAN, [train(z_for(8.0))], 1)


def test_evidence_is_salted_so_equal_data_of_two_holdings_does_not_show() -> None:
    one, other = fresh_ledger(), fresh_ledger()
    pair = [ledger.reserve(PLAN, [train(1.0)], 1) for ledger in (one, other)]
    assert (
        one.balance.reservations[pair[0]].reserve.evidence
        != other.balance.reservations[pair[1]].reserve.evidence
    )


def test_a_lifetime_is_fixed_when_the_ledger_is_made(tmp_path: Path) -> None:
    path = tmp_path / "ann.plots.jsonl"
    open_ledger(path, lifetime=8.0).__exit__(None, None, None)
    with open_ledger(path) as ledger:  # none given: its own holds
        assert ledger.balance.header.lifetime_epsilon == 8.0
    with pytest.raises(LifetimeFixedError, match=r"8.*9"):
        open_ledger(path, lifetime=9.0)
    with open_ledger(path, lifetime=8.0, delta=1e-3) as ledger:  # δ too is the ledger's own
        assert ledger.balance.header.delta == DELTA


def test_a_ledger_of_another_owner_or_holding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ann.plots.jsonl"
    open_ledger(path).__exit__(None, None, None)
    for owner, holding in (("bob", "plots"), ("ann", "roofs")):
        with pytest.raises(LedgerError, match=r"ann\.plots"):
            Ledger.open(
                path,
                owner=owner,
                holding=holding,
                lifetime_epsilon=None,
                delta=DELTA,
                tiles=bytes(32),
            )


def test_a_plan_whose_entries_would_not_be_readable_is_refused() -> None:
    ledger = fresh_ledger()
    with pytest.raises(LedgerFullError):
        ledger.reserve(PLAN, [train(1.0, 900_000)], 1)
    with pytest.raises(LedgerError):
        ledger.reserve(PLAN, [train(1.0, phase="Train!")], 1)
    assert ledger.size == 1


def balance_of(plans: list[tuple[float, int, int]], lifetime: float | None = None) -> Balance:
    """A balance with (z, attempts, spent) of closed plans, in this order."""
    balance = Balance(Header("ann", "plots", "0" * 32, lifetime, DELTA, 4.0))
    rule = "unlimited" if lifetime is None else "renyi"
    seq = 1
    for z, attempts, spent in plans:
        reservation = seq
        entries = [
            Reserve("0" * 64, (train(z, attempts),), 1, "0" * 64, rule),
            *(Spend(reservation, "train", k + 1) for k in range(spent)),
            Close(reservation),
        ]
        for entry in entries:
            balance.apply(entry, seq)
            seq += 1
    return balance


plans = st.lists(
    st.tuples(st.floats(0.5, 50), st.integers(1, 4), st.integers(0, 4)).map(
        lambda plan: (plan[0], plan[1], min(plan[1], plan[2]))
    ),
    max_size=4,
)


@given(plans)
@settings(max_examples=30)
def test_the_order_of_plans_does_not_matter(made: list[tuple[float, int, int]]) -> None:
    totals = {balance_of(list(order)).charged_rdp() for order in itertools.permutations(made)}
    assert len(totals) == 1


@given(plans)
def test_nothing_spent_is_lost(made: list[tuple[float, int, int]]) -> None:
    balance = balance_of(made)
    assert sum(held.spent.total() for held in balance.spent) == sum(plan[2] for plan in made)
    charged = [e for held in balance.reservations.values() for e in held.charged_events]
    assert balance.charged_rdp() == pytest.approx(rdp(charged, 1, 4.0))
    assert [e.attempts for e in charged] == [spent for _, _, spent in made if spent]


step = st.tuples(st.sampled_from(["reserve", "spend", "spend", "close"]), st.floats(0.3, 30))


@given(st.lists(step, max_size=40), st.sampled_from([1.0, 4.0, 8.0]))
@settings(max_examples=60)
def test_whatever_is_asked_for_the_lifetime_is_never_exceeded(
    steps: list[tuple[str, float]], lifetime: float
) -> None:
    """Reserve, spend and close in any order; then take everything that is still reserved."""
    order = filter_order(lifetime, DELTA)
    balance = Balance(Header("ann", "plots", "0" * 32, lifetime, DELTA, order))
    seq = 0

    def write(entry: Reserve | Spend | Close) -> None:
        nonlocal seq
        seq += 1
        balance.apply(entry, seq)

    def spend_next(reservation: int) -> None:
        held = balance.reservations[reservation]
        write(Spend(reservation, "train", held.spent["train"] + 1))

    for action, z in steps:
        open_ones = [s for s in balance.open_reservations if balance.reservations[s].remaining]
        try:
            if action == "reserve":
                events = [train(z, 3)]
                rule = admission_rule(balance, events, 1)
                write(Reserve("0" * 64, tuple(events), 1, "0" * 64, rule))
            elif action == "spend" and open_ones:
                spend_next(open_ones[0])
            elif action == "close" and balance.open_reservations:
                write(Close(balance.open_reservations[-1]))
        except BudgetRefusedError:
            pass
        finishing = balance.spent + [
            held for held in balance.reservations.values() if held.is_open and not held.spent
        ]
        most = [e for held in finishing for e in held.charged_events]
        assert analytic_epsilon(gaussian_mu(most, 1), DELTA) <= lifetime
        room = left(balance)
        assert room is not None
        assert 0 <= room <= lifetime


def test_an_entry_that_the_rules_forbid_leaves_the_balance_as_it_was() -> None:
    balance = balance_of([(1.0, 2, 1)], lifetime=8.0)
    before = balance.charged_rdp()
    header = balance.header
    reserve = Reserve("0" * 64, (train(1.0),), 1, "0" * 64, "pld")
    for entry in (header, reserve, Spend(1, "train", 2), Close(1), Spend(7, "train", 1)):
        with pytest.raises(LineError):
            balance.apply(entry, 9)
    assert balance.charged_rdp() == before


def test_the_reading_of_plans_with_different_observers_is_each_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "ann.plots.jsonl"
    with open_ledger(path) as ledger:
        for shares, z in ((4, 1.0), (1, 2.0)):  # the same noise towards its observer
            spend_all(ledger, ledger.reserve(PLAN, [train(z)], shares))
    found = read_ledger(path)
    joint = gaussian_mu([train(2.0), train(2.0)], 1)
    assert found.epsilon_if_planned == pytest.approx(analytic_epsilon(joint, DELTA), rel=2e-3)
    assert found.spent >= found.epsilon_if_planned
    assert found.rule == "renyi"
    assert found.to_json()["open_plans"] == 0
