"""A node that waits for its owner: nothing is reserved before, and a decision is for one plan."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import feddiff_secure.node.release
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.adversaries import Adversary, adversaries
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.node.gate import JobGate
from feddiff_secure.node.policy import NodePolicy
from feddiff_secure.node.review import Decision, Review, decide, pending, read_decision
from feddiff_secure.transport.exchange import REFUSED, Message
from tests.support.federations import examples, plan_for
from tests.support.ledgers import fresh_ledger
from tests.support.memoised import memoise_accounting

CONFIG = RunConfig(epsilon=8.0, rounds=4, nominal_tiles=1000)
PLAN = plan_for(CONFIG)
DIGEST = PLAN.digest().hex()
NAME = PLAN.owners[0]
KEYS = {name: IdentityKey.generate(SecureRandom()) for name in PLAN.owners}
POLICY = NodePolicy(largest_epsilon=8.0, lifetime_epsilon=16.0)


def owner(gate: Callable[[Plan], None], ledger: Ledger) -> Owner:
    registry = Registry({name: key.public for name, key in KEYS.items()})
    return Owner(NAME, examples(0), KEYS[NAME], registry, SecureRandom(), ledger=ledger, gate=gate)


def offered(node: Owner, plan: Plan = PLAN) -> Message:
    return node.handle("plan", {"plan": plan.to_json()})


def review(folder: Path, ledger: Ledger, timeout: float = 0.0) -> Review:
    return Review(folder, NAME, lambda: ledger.balance, timeout)


@functools.cache
def rows() -> list[Adversary]:
    return adversaries(PLAN, PLAN.events())


@pytest.fixture(autouse=True)
def _accounted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plans here differ in their session alone."""
    memoise_accounting(monkeypatch)
    monkeypatch.setattr(feddiff_secure.node.release, "adversaries", lambda _plan, _events: rows())


@pytest.fixture
def ledger() -> Ledger:
    return fresh_ledger(8.0)


def test_a_plan_over_the_policy_is_refused_and_nothing_is_reserved(ledger: Ledger) -> None:
    strict = replace(POLICY, largest_epsilon=4.0, show_bounds=True)
    reply = offered(owner(JobGate(strict, CONFIG), ledger))
    assert reply == {REFUSED: "policy_refused: epsilon_over_policy: 8 > 4"}
    assert ledger.size == 1
    assert offered(owner(JobGate(POLICY, CONFIG), ledger)) == {"accepted": PLAN.digest()}


def test_no_person_is_asked_about_a_plan_over_the_policy(tmp_path: Path, ledger: Ledger) -> None:
    strict = replace(POLICY, largest_epsilon=4.0)
    reply = offered(owner(JobGate(strict, CONFIG, review(tmp_path, ledger)), ledger))
    assert reply == {REFUSED: "policy_refused: epsilon_over_policy"}
    assert pending(tmp_path) == []


def test_time_running_out_is_a_refusal_with_nothing_reserved(
    tmp_path: Path, ledger: Ledger
) -> None:
    node = owner(JobGate(POLICY, CONFIG, review(tmp_path, ledger)), ledger)
    assert offered(node) == {REFUSED: "review_refused"}
    assert ledger.size == 1
    assert node.handle("train", {"phase": "train", "round": 0, "attempt": 0}) == {
        REFUSED: "no_plan"
    }
    assert pending(tmp_path) == [DIGEST]


@pytest.mark.parametrize(("decision", "entries"), [("approve", 2), ("reject", 1)])
def test_a_decision_while_the_node_waits_is_followed(
    tmp_path: Path, ledger: Ledger, decision: Decision, entries: int
) -> None:
    sizes: list[int] = []

    def person() -> None:
        deadline = time.monotonic() + 10
        while not pending(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        sizes.append(ledger.size)
        decide(tmp_path, DIGEST, decision)

    thread = threading.Thread(target=person)
    thread.start()
    reply = offered(owner(JobGate(POLICY, CONFIG, review(tmp_path, ledger, 20.0)), ledger))
    thread.join()
    accepted = {"accepted": PLAN.digest()}
    assert reply == (accepted if decision == "approve" else {REFUSED: "review_refused"})
    assert sizes == [1]  # nothing was reserved while it waited
    assert ledger.size == entries
    assert pending(tmp_path) == []


def test_an_approval_is_of_one_plan(tmp_path: Path, ledger: Ledger) -> None:
    gate = review(tmp_path, ledger)
    with pytest.raises(RefusalError, match="review_refused"):
        gate(PLAN)
    decide(tmp_path, DIGEST, "approve")
    gate(PLAN)
    with pytest.raises(RefusalError, match="review_refused"):
        gate(replace(PLAN, session="1" * 32))


def test_an_approval_moved_to_another_plan_is_no_approval(tmp_path: Path, ledger: Ledger) -> None:
    other = replace(PLAN, session="1" * 32)
    gate = review(tmp_path, ledger)
    for plan in (PLAN, other):
        with pytest.raises(RefusalError):
            gate(plan)
    decide(tmp_path, DIGEST, "approve")
    moved = tmp_path / f"{other.digest().hex()}.decision"
    (tmp_path / f"{DIGEST}.decision").rename(moved)
    with pytest.raises(RefusalError, match="review_refused"):
        gate(other)
    pages = [
        hashlib.sha256((tmp_path / f"{plan.digest().hex()}.json").read_bytes()).hexdigest()
        for plan in (PLAN, other)
    ]
    moved.write_text(moved.read_text().replace(*pages))  # and speaks of the other's page
    with pytest.raises(RefusalError, match="review_refused"):
        read_decision(tmp_path, other.digest().hex())


def test_an_approval_of_a_page_that_was_changed_before_is_none(
    tmp_path: Path, ledger: Ledger
) -> None:
    """Somebody showed the owner fewer attempts than the plan has."""
    gate = review(tmp_path, ledger)
    with pytest.raises(RefusalError):
        gate(PLAN)
    page = tmp_path / f"{DIGEST}.json"
    page.write_text(page.read_text().replace('"attempts": 4', '"attempts": 1'))
    decide(tmp_path, DIGEST, "approve")
    with pytest.raises(RefusalError, match="review_refused"):
        gate(PLAN)


def test_an_approval_of_a_page_that_was_changed_afterwards_is_none(
    tmp_path: Path, ledger: Ledger
) -> None:
    with pytest.raises(RefusalError):
        review(tmp_path, ledger)(PLAN)
    decide(tmp_path, DIGEST, "approve")
    page = tmp_path / f"{DIGEST}.json"
    page.write_text(page.read_text().replace('"attempts": 4', '"attempts": 1'))
    assert read_decision(tmp_path, DIGEST) is None


def test_a_decision_that_others_could_write_is_refused(tmp_path: Path, ledger: Ledger) -> None:
    gate = review(tmp_path, ledger)
    with pytest.raises(RefusalError):
        gate(PLAN)
    decide(tmp_path, DIGEST, "approve")
    (tmp_path / f"{DIGEST}.decision").chmod(0o666)
    with pytest.raises(RefusalError, match="review_refused"):
        gate(PLAN)


def test_a_decision_is_made_once_and_only_on_a_plan_that_waits(
    tmp_path: Path, ledger: Ledger
) -> None:
    with pytest.raises(UsageError, match="no plan that waits"):
        decide(tmp_path, DIGEST, "approve")
    with pytest.raises(UsageError, match="no plan that waits"):
        decide(tmp_path, "../" + DIGEST, "approve")
    with pytest.raises(RefusalError):
        review(tmp_path, ledger)(PLAN)
    decide(tmp_path, DIGEST, "reject")
    with pytest.raises(UsageError, match="decided on before: reject"):
        decide(tmp_path, DIGEST, "approve")


def test_the_page_says_what_would_be_released(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(RefusalError):
        review(tmp_path, ledger)(PLAN)
    shown = json.loads((tmp_path / f"{DIGEST}.json").read_text())
    (train,) = shown["releases"]
    assert train["attempts"] == PLAN.attempts
    assert train["noise_share"] == {"least": PLAN.train_share_std, "most": PLAN.train_share_std}
    assert train["vector_bytes"] == 4 * PLAN.classes * PLAN.features
    rows = {row["towards"]: row["add_remove"] for row in shown["epsilon"]}
    assert rows["coordinator_and_colluders"] == pytest.approx(8.0, rel=0.01)
    assert rows["masks_broken"] > 8.0
    budget = shown["budget"]
    assert (budget["lifetime_epsilon"], budget["left_before"], budget["fits"]) == (8.0, 8.0, True)
    assert budget["left_after"] == 0.0
    page = (tmp_path / f"{DIGEST}.md").read_text()
    assert DIGEST in page
    assert "masks_broken" in page


def test_nobody_is_asked_for_a_plan_that_the_ledger_has_no_room_for(tmp_path: Path) -> None:
    small = fresh_ledger(2.0)
    reply = offered(owner(JobGate(POLICY, CONFIG, review(tmp_path, small, 20.0)), small))
    assert reply == {REFUSED: "budget_refused"}
    assert pending(tmp_path) == []
    assert small.size == 1
