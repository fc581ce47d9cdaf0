"""Hybrid key agreement through the nodes: a number of the plan that nobody can change alone."""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from feddiff_crypto.he.messages import sum_digest
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import ProtocolAbortedError, UsageError
from feddiff_secure.federation.adversaries import adversary_rows
from feddiff_secure.federation.agreement import agree
from feddiff_secure.federation.encrypted_round import EncryptedAttempt, encrypted_sum
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.statement import _not_covered
from tests.support.federations import CLASSES, FEATURES, Federation, plan_for

ORIGIN = np.zeros((CLASSES, FEATURES))
# Without noise, which nothing here depends on; a calibration takes longer than a round.
DEFAULT = RunConfig(epsilon=math.inf, nominal_tiles=200)
CONFIG = dataclasses.replace(DEFAULT, key_agreement="hybrid")


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


@pytest.fixture(scope="module")
def private() -> Plan:
    return plan_for(RunConfig(epsilon=8.0, nominal_tiles=200, rounds=1))


@pytest.mark.parametrize("silent", ["owner-001", "owner-005", None])
def test_masked_nodes_sum_bit_for_bit_whoever_falls_silent_before_masking(
    silent: str | None, vectors: list[np.ndarray[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(dataclasses.replace(CONFIG, dropouts=1), 5)
    federation = Federation.of(plan)
    agree(federation.exchange, plan)
    exchange = federation.exchange.exchange

    def lossy(phase: str, messages: Any, timeout: float) -> Any:
        kept = {p: m for p, m in messages.items() if phase != "mask" or p != silent}
        return exchange(phase, kept, timeout)

    monkeypatch.setattr(federation.exchange, "exchange", lossy)
    total = secure_sum(
        federation.exchange, federation.registry, plan, Attempt("train", 0, 0, ORIGIN)
    )
    present = [v for v, name in zip(vectors, plan.owners, strict=True) if name != silent]
    expected = np.sum(present, axis=0, dtype=np.uint32)
    np.testing.assert_array_equal(plan.grid("train").ring.to_ring(total), expected)


@pytest.mark.parametrize("custodian", [False, True])
def test_encrypted_nodes_sign_the_same_sum(
    custodian: bool, vectors: list[np.ndarray[Any, Any]]
) -> None:
    config = dataclasses.replace(CONFIG, aggregation="encrypted", custodian=custodian)
    plan = plan_for(config, 3)
    federation = Federation.of(plan)
    agree(federation.exchange, plan)
    done = encrypted_sum(
        federation.exchange, federation.registry, plan, EncryptedAttempt("train", 0, 0)
    )
    expected = np.zeros_like(vectors[0])
    for vector in vectors:
        expected += vector
    assert done.digest == sum_digest(expected, done.opened.context)


def test_the_messages_of_the_default_have_no_field_of_the_hybrid() -> None:
    hybrid = {"kem_mask_key", "kem_sealing_key", "contributions"}
    seen = {}
    for config in (DEFAULT, CONFIG):
        federation = Federation.of(plan_for(config, 3))
        agree(federation.exchange, federation.plan)
        attempt = Attempt("train", 0, 0, ORIGIN)
        secure_sum(federation.exchange, federation.registry, federation.plan, attempt)
        replies = [sent.reply for sent in federation.exchange.sent]
        seen[config.key_agreement] = {name for reply in replies for name in reply}
    assert not hybrid & seen["x25519"]
    assert seen["hybrid"] - seen["x25519"] == hybrid


def test_the_plans_digest_binds_the_key_agreement() -> None:
    plan = plan_for(CONFIG)
    other = dataclasses.replace(plan, key_agreement="x25519")
    assert plan.digest() != other.digest()
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "change", [{"key_agreement": "rot13"}, {"key_agreement": ""}, {"aggregation": "plain"}]
)
def test_an_owner_refuses_a_plan_with_a_wrong_key_agreement(change: dict[str, str]) -> None:
    plan = plan_for(CONFIG)
    replies = Federation.of(plan).agree(dataclasses.replace(plan, **change))  # type: ignore[arg-type]  # fields of text
    assert {reply["refused"] for reply in replies.values()} == {"plan_refused"}


def test_a_coordinator_with_another_key_agreement_than_the_owners_plan_gets_no_sum() -> None:
    plan = plan_for(CONFIG, 3)
    federation = Federation.of(plan)
    agree(federation.exchange, plan)
    weaker = dataclasses.replace(plan, key_agreement="x25519")
    with pytest.raises(ProtocolAbortedError, match=r"RosterError|ContextMismatchError"):
        secure_sum(federation.exchange, federation.registry, weaker, Attempt("train", 0, 0, ORIGIN))
    assert not federation.exchange.replies("mask")


def test_a_node_without_mlkem_says_so_by_name_and_takes_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hybrid, default = plan_for(CONFIG, 3), plan_for(DEFAULT, 3)
    monkeypatch.setitem(sys.modules, mlkem.__name__, None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mlkem")
    replies = Federation.of(hybrid).agree()
    assert {reply["refused"] for reply in replies.values()} == {"HybridUnavailableError"}
    assert all("accepted" in reply for reply in Federation.of(default).agree().values())


def test_a_hybrid_without_masks_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(UsageError, match="key_agreement hybrid with aggregation plain"):
        RunConfig(aggregation="plain", noise="local", key_agreement="hybrid")


@pytest.mark.parametrize(
    ("key_agreement", "masks", "broken"),
    [
        ("x25519", "(X25519, HKDF", "(X25519 or AES broken)"),
        ("hybrid", "(X25519 or ML-KEM-768, HKDF", "(both X25519 and ML-KEM-768 broken, or AES)"),
    ],
)
def test_the_statement_names_the_key_agreement_its_rows_rest_on(
    private: Plan, key_agreement: str, masks: str, broken: str
) -> None:
    plan = dataclasses.replace(private, key_agreement=key_agreement)
    rows = {name: assumption for name, _, assumption in adversary_rows(plan)}
    assert masks in rows["coordinator"]
    assert masks in rows["coordinator_and_colluders"]
    assert broken in rows["masks_broken"]
    (line,) = [text for text in _not_covered(RunConfig(), plan) if "masks_broken" in text]
    assert ("Post-quantum authentication" in line) == (key_agreement == "hybrid")
