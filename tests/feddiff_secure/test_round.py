"""A round gives exactly the modular sum, reveals only masked vectors, and charges each attempt."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from feddiff_crypto.masking.messages import MaskedInput
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.aggregation.update import Iterates, UpdateRule
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.round import Attempt, secure_sum
from feddiff_secure.federation.training import train
from tests.support.federations import CLASSES, FEATURES, Federation, examples, plan_for

ORIGIN = np.zeros((CLASSES, FEATURES))


@pytest.fixture
def vectors(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Every vector that owners made, before masking, seen from inside."""
    made: list[np.ndarray] = []

    def spy(*args: object, **kwargs: object) -> object:
        result = contribution(*args, **kwargs)  # type: ignore[arg-type]
        made.append(np.array(result.vector))
        return result

    monkeypatch.setattr("feddiff_secure.federation.owner.contribution", spy)
    return made


@pytest.mark.parametrize("owners", [2, 3, 7])
@pytest.mark.parametrize("phase", ["count", "train"])
def test_the_unmasked_sum_is_the_plain_modular_sum_bit_for_bit(
    owners: int, phase: str, vectors: list[np.ndarray]
) -> None:
    plan = plan_for(RunConfig(epsilon=1.0), owners)
    federation = Federation.of(plan)
    federation.agree()
    total = secure_sum(federation.exchange, federation.registry, plan, Attempt(phase, 0, 0, ORIGIN))
    plain = np.zeros(plan.grid(phase).dimension, dtype=np.uint32)
    for vector in vectors:
        plain += vector
    assert len(vectors) == owners
    np.testing.assert_array_equal(plan.grid(phase).ring.to_ring(total), plain)


def masked_words(rounds: int) -> np.ndarray:
    """One owner's masked vectors over many releases."""
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    for i in range(rounds):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", i, 0, ORIGIN))
    sent = [s for s in federation.exchange.replies("mask") if s.party == "owner-002"]
    return np.concatenate([MaskedInput.from_message(s.reply).vector for s in sent])


def uniform_p(words: np.ndarray) -> float:
    counts = np.bincount(words.view(np.uint8), minlength=256)
    return float(stats.chisquare(counts).pvalue)


def test_one_owners_masked_vector_is_uniform_and_an_unmasked_one_is_not(
    vectors: list[np.ndarray],
) -> None:
    words = masked_words(60)
    assert uniform_p(words) > 1e-6
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 4), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 6 * 0.5 / math.sqrt(len(words))
    assert uniform_p(np.concatenate(vectors)) < 1e-6  # the test can fail


def test_no_key_or_mask_serves_two_rounds(vectors: list[np.ndarray]) -> None:
    """Were a mask key reused, masked minus unmasked would repeat between rounds."""
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    masks = []
    for i in range(3):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", i, 0, ORIGIN))
        sent = federation.exchange.replies("mask")[-4:]
        masks.append(MaskedInput.from_message(sent[0].reply).vector - vectors[-4])
    for a in range(3):
        for b in range(a):
            assert (masks[a] == masks[b]).mean() < 0.2
    adverts = [s.reply for s in federation.exchange.replies("advertise")]
    for name in ("mask_key", "sealing_key"):
        assert len({bytes(advert[name]) for advert in adverts}) == len(adverts)


def test_the_noise_in_a_sum_is_what_the_plan_accounts_for() -> None:
    """All gradients are zero (perfectly fitted), so the sum is noise; halved noise fails."""
    plan = plan_for(RunConfig(epsilon=8.0))
    data = [examples(i) for i in range(4)]
    federation = Federation.of(plan, data)
    federation.agree()
    fitted = np.zeros_like(ORIGIN)
    fitted[np.arange(CLASSES), np.arange(CLASSES)] = 1e4  # float64 softmax is one-hot here
    for part in data:  # tiles that are not fitted to the last bit would add signal
        part.features[:] = np.eye(FEATURES)[part.labels]
    sums = [
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", i, 0, fitted))
        for i in range(60)
    ]
    values = np.concatenate(sums)
    expected = plan.train_share_std * math.sqrt(4)
    assert abs(values.var() / expected**2 - 1) < 6 * math.sqrt(2 / values.size)
    facing = math.sqrt(values.var() * 3 / 4) / plan.train_grid.sensitivity
    assert facing == pytest.approx(plan.noise_multiplier, rel=0.12)


def test_local_noise_is_whole_in_every_owners_vector(vectors: list[np.ndarray]) -> None:
    plan = plan_for(RunConfig(epsilon=8.0, noise="local", aggregation="plain"))
    federation = Federation.of(plan)
    federation.agree()
    for i in range(40):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", i, 0, ORIGIN))
    per_owner = [
        np.concatenate(vectors[k::4]).view(np.int32).reshape(40, -1).astype(float) for k in range(4)
    ]
    for values in per_owner:
        noise = (values - values.mean(axis=0)).var() * 40 / 39
        facing = math.sqrt(noise) / plan.train_grid.sensitivity
        assert facing == pytest.approx(plan.noise_multiplier, rel=0.15)


def test_the_count_of_tiles_is_noised_and_roughly_right() -> None:
    plan = plan_for(RunConfig(epsilon=1.0))
    assert plan.count_share_std is not None
    counts = []
    for _ in range(25):
        federation = Federation.of(plan)
        federation.agree()
        attempt = Attempt("count", 0, 0, ORIGIN)
        counts.append(int(secure_sum(federation.exchange, federation.registry, plan, attempt)[0]))
    spread = plan.count_share_std * 2
    assert abs(np.mean(counts) - 120) < 6 * spread / 5
    assert 0.4 < np.std(counts) / spread < 1.8
    assert len(set(counts)) > 15


def test_every_attempt_is_charged_by_each_owner_before_its_vector_leaves() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 0, ORIGIN))
    # A second attempt of the same round that stops right after the masked vectors were sent:
    original = federation.exchange.exchange

    def stop_after_mask(phase: str, messages: dict, timeout: float) -> dict:  # type: ignore[type-arg]
        if phase == "consistency":
            raise ProtocolAbortedError("stopped", "by the test")
        return original(phase, messages, timeout)

    federation.exchange.exchange = stop_after_mask  # type: ignore[method-assign,assignment]
    with pytest.raises(ProtocolAbortedError):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 1, ORIGIN))
    assert {owner.charged["train"] for owner in federation.owners.values()} == {2}


def test_an_attempt_is_answered_once() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    for _ in range(1):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 0, ORIGIN))
    with pytest.raises(ProtocolAbortedError, match="attempt_refused"):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 0, ORIGIN))


def test_owners_shown_different_models_abort_instead_of_adding_up() -> None:
    plan = plan_for(RunConfig(epsilon=8.0))
    federation = Federation.of(plan)
    federation.agree()
    original = federation.exchange.exchange

    def equivocate(phase: str, messages: dict, timeout: float) -> dict:  # type: ignore[type-arg]
        if phase == "train":
            first = next(iter(messages))
            messages = {**messages, first: {**messages[first], "weights": ORIGIN + 1.0}}
        return original(phase, messages, timeout)

    federation.exchange.exchange = equivocate  # type: ignore[method-assign,assignment]
    with pytest.raises(ProtocolAbortedError):
        secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 0, ORIGIN))
    assert not federation.exchange.replies("mask")


def test_what_leaves_an_owner_has_no_count_loss_or_error_text() -> None:
    """Every reply of a run, field by field: the complete list of what leaves."""
    plan = plan_for(RunConfig(epsilon=8.0, rounds=2))
    federation = Federation.of(plan)
    train(
        federation.exchange,
        federation.registry,
        plan,
        check_count=lambda _n: None,
        log=lambda _line: None,
        progress=Silent(),
    )
    allowed = {
        "plan": {"accepted"},
        "train": {"ready"},
        "mask": {"context", "kind", "party", "vector"},
    }
    for sent in federation.exchange.sent:
        if sent.phase in allowed:
            assert set(sent.reply) <= allowed[sent.phase], sent.phase
    sizes = {
        phase: {len(str(sent.reply.keys())) for sent in federation.exchange.replies(phase)}
        for phase in ("advertise", "share", "mask", "consistency", "unmask")
    }
    assert all(sizes.values())


@given(st.integers(1, 3000))
@settings(max_examples=20, deadline=None)
def test_the_denominator_is_the_public_number_of_tiles(nominal: int) -> None:
    """120 tiles are really there; a step divided by that instead of the nominal number fails."""
    plan = plan_for(RunConfig(epsilon=math.inf, nominal_tiles=nominal, rounds=1, colluders=0))
    federation = Federation.of(plan)
    trained = train(
        federation.exchange,
        federation.registry,
        plan,
        check_count=lambda _n: None,
        log=lambda _line: None,
        progress=Silent(),
    )
    again = Federation.of(plan)
    again.agree()
    total = secure_sum(again.exchange, again.registry, plan, Attempt("train", 0, 0, ORIGIN))
    expected = -trained.rule.step_size * total.reshape(ORIGIN.shape) / (plan.scale * nominal)
    np.testing.assert_allclose(trained.weights, expected, rtol=1e-12)


def test_the_average_is_over_the_last_fifth_of_the_iterates() -> None:
    rule = UpdateRule(step_size=1.0, momentum=0.0, denominator=1.0, scale=1.0, rounds=10)
    state = Iterates(rule, np.zeros((1, 1)))
    with pytest.raises(RuntimeError):
        state.model()
    for _ in range(10):
        state.apply(np.array([-1]))
    assert state.model()[0, 0] == pytest.approx((9 + 10) / 2)
