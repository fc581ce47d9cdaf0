"""Encrypted rounds through the nodes: exact sums at every owner, and nothing at the coordinator."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from feddiff_crypto.he.messages import sum_digest
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.randomness import SecureRandom
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.custodian import CustodianIdentity, CustodianNode
from feddiff_secure.federation.encrypted_round import EncryptedAttempt, encrypted_sum
from feddiff_secure.federation.encrypted_training import delivered_model, train_encrypted
from feddiff_secure.federation.owner import Owner
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import CUSTODIAN
from feddiff_secure.federation.progress import Silent
from feddiff_secure.transport.exchange import REFUSED, Message
from tests.support.federations import Federation, examples, plan_for
from tests.support.ledgers import fresh_ledger

COUNT = EncryptedAttempt("count", 0, 0)
FIRST = EncryptedAttempt("train", 0, 0)


def encrypted_plan(owners: int = 4, *, custody: bool = False, **more: Any) -> Plan:
    given = {"epsilon": 8.0, "rounds": 3, **more}
    return plan_for(RunConfig(aggregation="encrypted", custodian=custody, **given), owners)


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray[Any, Any]]:
    """Every vector that owners made, before masking, seen from inside."""
    made: list[np.ndarray[Any, Any]] = []

    def spy(*args: Any, **kwargs: Any) -> Any:
        result = contribution(*args, **kwargs)
        made.append(np.array(result.vector))
        return result

    monkeypatch.setattr("feddiff_secure.federation.owner.contribution", spy)
    return made


@pytest.mark.parametrize("custody", [False, True])
def test_owners_sign_the_plain_modular_sum_bit_for_bit(
    vectors: list[np.ndarray[Any, Any]], custody: bool
) -> None:
    plan = encrypted_plan(3, custody=custody)
    federation = Federation.of(plan)
    agree(federation)
    done = encrypted_sum(federation.exchange, federation.registry, plan, COUNT)
    plain = np.sum(vectors, axis=0, dtype=np.uint32)
    assert done.digest == sum_digest(plain, done.opened.context)
    vectors.clear()
    done = encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    plain = np.sum(vectors, axis=0, dtype=np.uint32)
    assert len(vectors) == 3
    assert done.digest == sum_digest(plain, done.opened.context)


def agree(federation: Federation) -> None:
    plan = federation.plan
    parties = plan.owners if plan.custodian is None else (*plan.owners, plan.custodian)
    message = {"plan": plan.to_json()}
    replies = federation.exchange.exchange("plan", dict.fromkeys(parties, message), 1.0)
    assert all("accepted" in reply for reply in replies.values()), replies


@pytest.mark.parametrize("custody", [False, True])
def test_a_whole_run_leaves_all_owners_with_one_model_and_the_coordinator_with_none(
    custody: bool,
) -> None:
    plan = encrypted_plan(custody=custody)
    federation = Federation.of(plan)
    lines: list[dict[str, Any]] = []
    events = train_encrypted(
        federation.exchange, federation.registry, plan, log=lines.append, progress=Silent()
    )
    owners = list(federation.owners.values())
    trained = delivered_model(owners, plan, events)
    assert np.abs(trained.weights).max() > 0
    for owner in owners:
        np.testing.assert_array_equal(owner.model(), trained.weights)
    assert [event.phase for event in events] == ["count", "train"]
    for line in lines:
        assert set(line) == {"phase", "round", "attempt", "sum_digest", "seconds"}
    # No message in either direction carries weights or a float: sums stay with the owners.
    for sent in federation.exchange.sent:
        if sent.phase == "plan":
            continue
        for value in (*sent.request.values(), *sent.reply.values()):
            assert not isinstance(value, float)
            if isinstance(value, np.ndarray):
                assert value.dtype in (np.uint8, np.uint64), (sent.phase, value.dtype)


def test_all_that_leaves_an_owner_in_encrypted_mode_is_what_the_protocol_names() -> None:
    plan = encrypted_plan()
    federation = Federation.of(plan)
    train_encrypted(
        federation.exchange, federation.registry, plan, log=lambda _line: None, progress=Silent()
    )
    allowed = {
        "plan": {"accepted"},
        "ready": {"ready"},
        "train": {"ready", "model"},
        "advertise": {
            "kind", "context", "party", "mask_key", "sealing_key", "secret_commitment", "signature"
        },
        "share": {"kind", "context", "party", "recipients", "sealed", "sealed_keys"},
        "mask": {"kind", "context", "party", "key_id", "residues", "seeds"},
        "consistency": {"kind", "context", "party", "signature", "aggregate_signature"},
        "unmask": {
            "kind", "context", "party", "survivors", "self_shares", "dropped", "key_shares"
        },
        "decrypt": {"kind", "context", "party", "sum_digest", "signature"},
    }  # fmt: skip
    assert {sent.phase for sent in federation.exchange.sent} == set(allowed)
    for sent in federation.exchange.sent:
        assert set(sent.reply) == allowed[sent.phase], sent.phase


def test_every_encrypted_attempt_is_charged_before_its_ciphertext_leaves() -> None:
    plan = encrypted_plan()
    federation = Federation.of(plan)
    agree(federation)
    original = federation.exchange.exchange

    def stop_after_mask(phase: str, messages: Any, timeout: float) -> Any:
        if phase == "consistency":
            raise ProtocolAbortedError("stopped", "by the test")
        return original(phase, messages, timeout)

    federation.exchange.exchange = stop_after_mask  # type: ignore[method-assign]
    with pytest.raises(ProtocolAbortedError, match="stopped"):
        encrypted_sum(federation.exchange, federation.registry, plan, COUNT)
    assert {owner.charged["count"] for owner in federation.owners.values()} == {1}


def test_an_owner_that_missed_a_sum_is_out_of_step_and_the_rest_go_on() -> None:
    plan = encrypted_plan(5, dropouts=1, colluders=0, nominal_tiles=150)
    federation = Federation.of(plan)
    agree(federation)
    original = federation.exchange.exchange
    absent = plan.owners[2]

    def lose_one(phase: str, messages: Mapping[str, Message], timeout: float) -> Any:
        if phase == "decrypt":
            messages = {name: m for name, m in messages.items() if name != absent}
        return original(phase, messages, timeout)

    federation.exchange.exchange = lose_one  # type: ignore[method-assign]
    encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    federation.exchange.exchange = original  # type: ignore[method-assign]
    done = encrypted_sum(
        federation.exchange, federation.registry, plan, EncryptedAttempt("train", 1, 0)
    )
    assert done.opened.survivors == tuple(name for name in plan.owners if name != absent)
    encrypted_sum(federation.exchange, federation.registry, plan, EncryptedAttempt("train", 2, 0))
    owners = list(federation.owners.values())
    with pytest.raises(RuntimeError):
        federation.owners[absent].model()
    trained = delivered_model(owners, plan, plan.events())
    np.testing.assert_array_equal(trained.weights, owners[0].model())


def test_owners_that_hold_different_models_make_no_sum_together() -> None:
    """Two of four took in another sum: neither half reaches the threshold."""
    plan = encrypted_plan(4, nominal_tiles=120)
    federation = Federation.of(plan)
    agree(federation)
    for name in plan.owners[:2]:
        local = federation.owners[name]._local
        assert local is not None
        local._iterates.weights += 1.0  # type: ignore[union-attr]
    with pytest.raises(ProtocolAbortedError, match="Threshold"):
        encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    assert not federation.exchange.replies("mask")


def test_models_that_differ_are_not_delivered() -> None:
    plan = encrypted_plan(3)
    federation = Federation.of(plan)
    events = train_encrypted(
        federation.exchange, federation.registry, plan, log=lambda _line: None, progress=Silent()
    )
    owners = list(federation.owners.values())
    owners[1]._local._iterates._average += 1.0  # type: ignore[union-attr]
    with pytest.raises(ProtocolAbortedError, match="2 different"):
        delivered_model(owners, plan, events)


def test_a_released_count_that_does_not_allow_delta_stops_the_run_before_training() -> None:
    plan = encrypted_plan(3, delta=0.02)  # 90 tiles: 1/90 < 0.02
    federation = Federation.of(plan)
    with pytest.raises(ProtocolAbortedError, match="count_refused"):
        train_encrypted(
            federation.exchange,
            federation.registry,
            plan,
            log=lambda _line: None,
            progress=Silent(),
        )
    assert {s.request["phase"] for s in federation.exchange.replies("train")} == {"count"}


def test_a_decrypt_request_is_answered_once() -> None:
    plan = encrypted_plan(3, nominal_tiles=90)
    federation = Federation.of(plan)
    agree(federation)
    encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    asked = federation.exchange.replies("decrypt")[0]
    again = federation.owners[asked.party].handle("decrypt", asked.request)
    assert again == {REFUSED: "out_of_order"}


def test_a_plan_with_a_custodian_that_is_not_pinned_is_refused() -> None:
    plan = encrypted_plan(3, custody=True)
    keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
    registry = Registry({name: key.public for name, key in keys.items()})
    stranger = Registry({"carl": keys[plan.owners[0]].public})
    name = plan.owners[0]
    for custodians in (None, stranger):
        owner = Owner(
            name,
            examples(0),
            keys[name],
            registry,
            SecureRandom(),
            ledger=fresh_ledger(),
            custodians=custodians,
        )
        assert owner.handle("plan", {"plan": plan.to_json()}) == {REFUSED: "custodian_refused"}


def test_a_custodian_answers_each_attempt_once_and_in_order() -> None:
    plan = encrypted_plan(3, custody=True, nominal_tiles=90)
    federation = Federation.of(plan)
    custodian = federation.exchange._reachable[CUSTODIAN]
    opening: Message = {"phase": "train", "round": 0, "attempt": 0, "model": bytes(32)}
    assert custodian.handle("custodian_attempt", opening) == {REFUSED: "no_plan"}
    agree(federation)
    assert custodian.handle("custodian_key", {}) == {REFUSED: "out_of_order"}
    assert custodian.handle("custodian_sum", {}) == {REFUSED: "out_of_order"}
    encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    asked = federation.exchange.replies("custodian_sum")[0]
    assert custodian.handle("custodian_sum", asked.request) == {REFUSED: "out_of_order"}
    assert custodian.handle("custodian_attempt", opening) == {REFUSED: "attempt_refused"}
    late = {**opening, "round": 99}
    assert custodian.handle("custodian_attempt", late) == {REFUSED: "attempt_refused"}
    assert custodian.handle("mask", {}) == {REFUSED: "unknown_phase"}
    assert len(custodian.decrypted) == 1  # type: ignore[attr-defined]


def test_a_custodian_refuses_a_plan_that_names_another() -> None:
    plan = encrypted_plan(3, custody=True)
    keys = {name: IdentityKey.generate(SecureRandom()) for name in plan.owners}
    registry = Registry({name: key.public for name, key in keys.items()})
    other = CustodianIdentity("carl", IdentityKey.generate(SecureRandom()), registry)
    node = CustodianNode(other, SecureRandom())
    assert node.handle("plan", {"plan": plan.to_json()}) == {REFUSED: "roster_refused"}


def test_the_cut_fraction_is_told_to_its_owner_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(RunConfig(epsilon=math.inf, rounds=1, colluders=0, nominal_tiles=50))
    monkeypatch.setattr(Plan, "coordinate_bound", lambda _self, _phase: 3)
    federation = Federation.of(plan)
    federation.agree()
    weights = np.zeros((plan.classes, plan.features))
    message: Message = {"phase": "train", "round": 0, "attempt": 0, "weights": weights}
    with caplog.at_level(logging.WARNING, "feddiff_secure.federation.owner"):
        replies = federation.exchange.exchange("train", dict.fromkeys(plan.owners, message), 1.0)
    assert all(reply == {"ready": True} for reply in replies.values())
    assert len(caplog.records) == len(plan.owners)
    assert all(owner.saturated > 0.5 for owner in federation.owners.values())


def test_an_owner_is_ready_only_for_the_round_after_its_last_sum() -> None:
    plan = encrypted_plan(3, nominal_tiles=90)
    federation = Federation.of(plan)
    agree(federation)
    owner = federation.owners[plan.owners[0]]
    later: Message = {"phase": "train", "round": 1, "attempt": 0}
    assert owner.handle("train", later)["ready"] is False
    assert owner.handle("advertise", {}) == {REFUSED: "out_of_order"}
    encrypted_sum(federation.exchange, federation.registry, plan, FIRST)
    assert owner.handle("train", {**later, "round": 2})["ready"] is False
    assert owner.handle("train", later)["ready"] is True
