"""The limits that SECURITY.md states, each shown to be real.

These tests succeed in doing what is *not* prevented. Were one to fail, the page would say less than
the code can do, which is a fault too: a claim nobody has argued for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from feddiff_crypto import shamir
from feddiff_crypto.keys import AgreementKey
from feddiff_crypto.masking.policy import Policy
from feddiff_crypto.masking.unmasking import Revealed, remove_masks
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.shamir import combine
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.adversaries import adversaries
from feddiff_secure.federation.round import Attempt, secure_sum
from tests.crypto.test_masking_round import NAMES, make_round
from tests.support.federations import CLASSES, FEATURES, Federation, plan_for

ORIGIN = np.zeros((CLASSES, FEATURES))
FIRST = Attempt("train", 0, 0, ORIGIN)


def test_an_owner_that_sends_a_wrong_vector_is_not_noticed() -> None:
    """Honest inputs: the sum moves by exactly what it added."""
    attempt = make_round(4, size=7)
    honest = attempt.run().total
    liar = dict(attempt.vectors)
    liar[NAMES[1]] = attempt.vectors[NAMES[1]] + np.uint32(12345)
    again = make_round(4, size=7)
    again.vectors = liar
    assert (again.run().total - honest == np.uint32(12345)).all()


def test_one_owner_that_breaks_the_rules_stops_the_round_and_is_named() -> None:
    """Liveness: a single refusal is enough."""
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    original = federation.exchange.exchange

    def sabotage(phase: str, messages: Any, timeout: float) -> Any:
        replies = original(phase, messages, timeout)
        if phase == "consistency":
            replies["owner-003"] = {**replies["owner-003"], "signature": bytes(64)}
        return replies

    federation.exchange.exchange = sabotage  # type: ignore[method-assign]
    with pytest.raises(ProtocolAbortedError, match="owner-003"):
        secure_sum(federation.exchange, federation.registry, plan, FIRST)


def test_with_two_owners_the_sum_less_ones_own_vector_is_the_others() -> None:
    """Privacy of the sum is the noise's work, and the noise then is one share."""
    attempt = make_round(2, size=9)
    total = attempt.run().total
    other = total - attempt.vectors[NAMES[0]]
    np.testing.assert_array_equal(other, attempt.vectors[NAMES[1]])


def test_sums_over_two_cohorts_differ_by_the_owner_that_left() -> None:
    """Cohort differencing is bounded by the noise in the vectors, and by nothing else."""
    four = make_round(4, size=9)
    three = make_round(3, size=9)
    three.vectors = {name: four.vectors[name] for name in NAMES[:3]}
    difference = four.run().total - three.run().total
    np.testing.assert_array_equal(difference, four.vectors[NAMES[3]])


def test_whoever_solves_x25519_later_opens_a_recorded_masked_vector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Post-quantum secrecy: with the private keys of the recorded adverts the vector is bare.

    The keys are remembered when they are made, in place of the quantum computer.
    """
    made: list[AgreementKey] = []
    generate = AgreementKey.generate

    def remember(random: Any) -> AgreementKey:
        made.append(generate(random))
        return made[-1]

    monkeypatch.setattr(AgreementKey, "generate", remember)
    attempt = make_round(3, size=9)
    result = attempt.run()
    private = {key.public.raw: key for key in made}
    roster, context = result.roster, result.context
    adverts = roster.by_party()
    victim = NAMES[1]
    recorded = attempt.sent["masked input"][victim].vector.copy()
    secret = result.revealed.self_secrets[victim]  # public since the unmask phase of every round
    others = {name: private[adverts[name].mask_key] for name in roster.parties if name != victim}
    remove_masks(recorded, roster, context, Revealed({victim: secret}, others))
    np.testing.assert_array_equal(recorded, attempt.vectors[victim])


def test_the_row_for_broken_masks_counts_one_noise_share() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    rows = {row.name: row for row in adversaries(plan, plan.events())}
    broken = rows["masks_broken"]
    assert broken.shares == 1
    assert broken.epsilon > rows["coordinator_and_colluders"].epsilon


def test_at_the_edge_of_the_policy_one_honest_owner_is_left_in_the_sum() -> None:
    policy = Policy(2, dropouts=0, colluders=1)
    assert policy.honest_shares == 1


def test_who_takes_part_and_who_drops_out_is_in_clear() -> None:
    attempt = make_round(4, size=3, dropouts=1, drops={NAMES[2]: 2})
    result = attempt.run()
    assert NAMES[2] not in result.survivors
    assert {m.party for m in attempt.sent["masked input"].values()} == set(result.survivors)


def test_secret_sharing_computes_with_integers_of_python() -> None:
    """Constant time is not claimed of Shamir's scheme: its field is Python's integers."""
    shares = shamir.split(bytes(31) + b"\x01", 2, [1, 2, 3], SecureRandom())
    assert all(type(share.y) is int for share in shares)
    assert combine(shares[:2], 2) == bytes(31) + b"\x01"


def test_without_noise_a_masked_sum_protects_nothing() -> None:
    plan = plan_for(RunConfig(epsilon=math.inf))
    assert all(math.isinf(row.epsilon) for row in adversaries(plan, plan.events()))
