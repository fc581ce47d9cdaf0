"""Noise of a secure round is whole numbers from the owner's secure source, and from no other."""

from __future__ import annotations

import random
from typing import NoReturn

import numpy as np
import pytest

from feddiff_crypto.randomness import SecureRandom, VectorRandom
from feddiff_privacy.mechanisms import Mechanism, NoiseSampler, noise_sampler
from feddiff_privacy.noise import DiscreteGaussian
from feddiff_privacy.skellam import Skellam
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.aggregation.grid import gradient_grid
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.round import Attempt, secure_sum
from tests.support.federations import CLASSES, FEATURES, Federation, plan_for

GENERATORS = ("default_rng", "normal", "standard_normal", "random", "randint", "poisson", "uniform")


@pytest.fixture
def _no_other_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("a secure round drew from a generator that is not secure")

    for name in GENERATORS:
        monkeypatch.setattr(np.random, name, refuse)
    monkeypatch.setattr(np.random, "Generator", refuse)
    for name in ("random", "gauss", "getrandbits"):
        monkeypatch.setattr(random, name, refuse)


@pytest.mark.parametrize("rate", [1.0, 0.5])
@pytest.mark.parametrize("mechanism", ["discrete_gaussian", "skellam"])
def test_a_secure_round_draws_from_no_other_generator(
    rate: float, mechanism: str, request: pytest.FixtureRequest
) -> None:
    plan = plan_for(RunConfig(epsilon=8.0, sampling_rate=rate, mechanism=mechanism))
    federation = Federation.of(plan)
    federation.agree()
    origin = np.zeros((CLASSES, FEATURES))
    request.getfixturevalue("_no_other_generator")
    for phase in ("count", "train"):
        secure_sum(federation.exchange, federation.registry, plan, Attempt(phase, 0, 0, origin))


def test_the_same_secure_bytes_give_the_same_noise_and_others_give_other() -> None:
    """Noise from any generator of its own would differ between the first two."""
    sampler = DiscreteGaussian(5000.0)
    one, two, other = (sampler.sample(500, VectorRandom(seed)) for seed in (b"a", b"a", b"b"))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.dtype == np.int64


@pytest.mark.parametrize(
    ("mechanism", "sampler"),
    [("discrete_gaussian", DiscreteGaussian(2.0)), ("skellam", Skellam(2.0))],
)
def test_noise_is_added_after_rounding_as_whole_numbers(
    mechanism: Mechanism, sampler: NoiseSampler
) -> None:
    """Float noise added before rounding would follow the value's fraction; integers cannot."""
    grid = gradient_grid(0.3, 600)
    for fraction in (0.0, 0.25, 0.49):
        made = contribution(
            np.full(600, (7 + fraction) / grid.scale),
            grid,
            coordinate_bound=10**6,
            share_std=2.0,
            mechanism=mechanism,
            source=VectorRandom(b"noise"),
        )
        noise = sampler.sample(600, VectorRandom(b"noise"))
        assert np.array_equal(grid.ring.from_ring(made.vector), 7 + noise)


@pytest.mark.parametrize("mechanism", ["discrete_gaussian", "skellam"])
def test_an_owner_draws_the_noise_that_its_plan_accounts_for(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, float]] = []

    def spy(name: Mechanism, std: float) -> NoiseSampler:
        drawn.append((name, std))
        return noise_sampler(name, std)

    monkeypatch.setattr("feddiff_secure.aggregation.contribution.noise_sampler", spy)
    plan = plan_for(RunConfig(epsilon=8.0, mechanism=mechanism))
    federation = Federation.of(plan)
    federation.agree()
    origin = np.zeros((CLASSES, FEATURES))
    secure_sum(federation.exchange, federation.registry, plan, Attempt("train", 0, 0, origin))
    assert drawn == [(mechanism, plan.train_share_std)] * len(plan.owners)
    assert plan.event("train", 1).kind.startswith("skellam" if mechanism == "skellam" else "noised")


def test_a_secure_source_cannot_be_seeded_or_copied() -> None:
    with pytest.raises(TypeError):
        SecureRandom(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        SecureRandom().__reduce__()
