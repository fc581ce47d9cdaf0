"""A coordinator that asks for more than the plan accounts for, or for what has no noise."""

from __future__ import annotations

import pytest

from feddiff_secure.federation.owner import Owner
from feddiff_secure.transport.exchange import REFUSED
from tests.adversaries.test_node_hostile_coordinator import PLAN, TRAIN, node, ready


def trained(owner: Owner, **change: object) -> object:
    reply = owner.handle("train", {**TRAIN, **change})  # type: ignore[dict-item]  # hostile values
    return reply.get(REFUSED, "ready")


def test_a_count_that_the_plan_does_not_have_is_refused() -> None:
    """Its noise share would be 0: the number of tiles in clear."""
    assert trained(ready(), phase="count") == "attempt_refused"


@pytest.mark.parametrize(
    "change",
    [{"round": -1}, {"round": 4}, {"round": 2**31}, {"attempt": -1}, {"attempt": 2**62}],
    ids=str,
)
def test_a_round_or_attempt_outside_the_plan_is_refused(change: dict[str, int]) -> None:
    """Round −1 of training would share its context with the count."""
    assert trained(ready(), **change) == "attempt_refused"


def test_no_more_attempts_are_answered_than_the_plan_accounts_for() -> None:
    owner = ready()
    owner.charged["train"] = PLAN.attempts
    assert trained(owner, round=1) == "budget_refused"


@pytest.mark.parametrize("raw", [b"[" * 100_000, b"{}", b"null", b"1" * 5000])
def test_a_plan_that_is_none_has_its_code(raw: bytes) -> None:
    assert node().handle("plan", {"plan": raw}) == {REFUSED: "plan_refused"}
