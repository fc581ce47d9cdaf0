"""Before an attempt owners are asked whether they are there; with too few it does not begin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation import gathering
from feddiff_secure.federation.encrypted_round import EncryptedAttempt, encrypted_sum
from feddiff_secure.federation.gathering import READY_TIMEOUT, READY_TRIES, present
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.transcription import Transcription
from feddiff_secure.transport.exchange import Message
from tests.support.federations import CLASSES, FEATURES, Federation, plan_for
from tests.support.forgery import leaves_of

CONFIG = RunConfig(epsilon=math.inf, nominal_tiles=120, dropouts=1, centring=False)
FIRST = Attempt("train", 0, 0, np.zeros((CLASSES, FEATURES)))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(gathering.present, "__defaults__", (made.append,))
    return made


def silence(
    federation: Federation, names: set[str], tries: int = 10**6
) -> list[tuple[str, set[str]]]:
    """Owners that do not answer the first `tries` questions; what was asked of whom."""
    asked: list[tuple[str, set[str]]] = []
    exchange = federation.exchange.exchange

    def partly(phase: str, messages: Mapping[str, Message], timeout: float) -> dict[str, Message]:
        asked.append((phase, set(messages)))
        before = sum(one == "ready" for one, _ in asked)
        gone = names if phase == "ready" and before <= tries else set()
        return exchange(phase, {p: m for p, m in messages.items() if p not in gone}, timeout)

    federation.exchange.exchange = partly  # type: ignore[method-assign]  # seen by the test
    return asked


def test_an_owner_that_is_not_there_is_asked_for_nothing_of_the_attempt() -> None:
    plan = plan_for(CONFIG)
    federation = Federation.of(plan)
    federation.agree()
    asked = silence(federation, {"owner-002"})
    secure_sum(federation.exchange, federation.registry, plan, FIRST)
    assert [phase for phase, _ in asked][:2] == ["ready", "train"]
    assert all("owner-002" not in names for phase, names in asked if phase != "ready")
    assert [owner.charged["train"] for owner in federation.owners.values()] == [1, 0, 1, 1]


def one_sum(federation: Federation, transcript: Transcription) -> None:
    exchange, registry, plan = federation.exchange, federation.registry, federation.plan
    if plan.aggregation == "masked":
        secure_sum(exchange, registry, plan, FIRST, transcript)
    else:
        attempt = EncryptedAttempt("train", 0, 0)
        encrypted_sum(exchange, registry, plan, attempt, transcript)


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_with_too_few_there_the_attempt_does_not_begin_and_is_neither_charged_nor_logged(
    aggregation: str, pauses: list[float], tmp_path: Path
) -> None:
    plan = plan_for(
        RunConfig(
            epsilon=math.inf,
            nominal_tiles=120,
            dropouts=1,
            centring=False,
            aggregation=aggregation,  # type: ignore[arg-type]  # one of two literals
        )
    )
    federation = Federation.of(plan)
    federation.agree()
    transcript = federation.transcription(tmp_path)
    transcript.begin()
    before = leaves_of(tmp_path)
    asked = silence(federation, {"owner-002", "owner-003"})
    with pytest.raises(ProtocolAbortedError, match="2 owners are there, 3 are needed") as raised:
        one_sum(federation, transcript)
    assert "owner-002, owner-003" in str(raised.value)
    assert [phase for phase, _ in asked] == ["ready"] * READY_TRIES
    assert len(pauses) == READY_TRIES - 1
    assert all(0 <= pause <= READY_TIMEOUT for pause in pauses)
    assert not any(owner.charged["train"] for owner in federation.owners.values())
    assert leaves_of(tmp_path) == before


def test_owners_that_come_back_are_waited_for_and_take_part(pauses: list[float]) -> None:
    plan = plan_for(CONFIG)
    federation = Federation.of(plan)
    federation.agree()
    silence(federation, {"owner-001", "owner-004"}, tries=3)
    secure_sum(federation.exchange, federation.registry, plan, FIRST)
    assert len(pauses) == 3
    assert {owner.charged["train"] for owner in federation.owners.values()} == {1}


def test_a_question_before_the_plan_is_refused() -> None:
    plan = plan_for(CONFIG)
    federation = Federation.of(plan)
    with pytest.raises(ProtocolAbortedError, match="no_plan"):
        present(federation.exchange, 3)
