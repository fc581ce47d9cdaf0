"""ε against oracles that share no code with it, and the laws every accountant obeys."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import analytic_delta, analytic_epsilon, epsilon, gaussian_mu
from feddiff_privacy.crosscheck import cross_check
from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import NoisedSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_secure.config.schema import RunConfig
from tests.support.federations import plan_for

DELTA = 1e-5


def event(z: float, attempts: int = 60, rate: float = 1.0, phase: str = "train") -> NoisedSum:
    """An event that a single share gives noise multiplier z."""
    return NoisedSum(
        phase=phase,
        attempts=attempts,
        sampling_rate=rate,
        sampler="full_batch" if rate == 1 else "poisson",
        sensitivity=1000.0,
        share_std=1000.0 * z,
        dimension=10,
    )


def oracle_epsilon(mu: float, delta: float) -> float:
    """Bisection on Balle and Wang's δ(ε) in 50 digits, from the error function alone."""
    with mpmath.workdps(50):

        def phi(x: mpmath.mpf) -> mpmath.mpf:
            return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

        def excess(e: mpmath.mpf) -> mpmath.mpf:
            return phi(mu / 2 - e / mu) - mpmath.exp(e) * phi(-mu / 2 - e / mu) - delta

        low, high = mpmath.mpf(0), mpmath.mpf(1000)
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return float(low)


@pytest.mark.parametrize("z", [0.8, 2.0, 4.68, 9.0, 29.0, 240.0])
@pytest.mark.parametrize("attempts", [1, 60, 300])
def test_full_batch_epsilon_is_the_analytic_one(z: float, attempts: int) -> None:
    mu = mpmath.mpf(attempts) ** mpmath.mpf("0.5") / mpmath.mpf(z)
    exact = oracle_epsilon(mu, DELTA)
    reported = epsilon([event(z, attempts)], shares=1, delta=DELTA)
    assert reported == pytest.approx(exact, abs=max(1e-3, 1e-4 * exact))
    assert reported >= exact - 1e-6
    assert analytic_epsilon(float(mu), DELTA) == pytest.approx(exact, abs=1e-8 * max(1, exact))


def test_replace_one_doubles_the_sensitivity_of_a_full_batch() -> None:
    reported = epsilon([event(4.68)], shares=1, delta=DELTA, adjacency=Adjacency.REPLACE_ONE)
    assert reported == pytest.approx(oracle_epsilon(2 * mpmath.sqrt(60) / 4.68, DELTA), abs=1e-3)


def test_an_observer_faces_the_shares_it_cannot_subtract() -> None:
    """ε for 3 of 4 shares, not for 4: the colluder's share is not counted on."""
    one = event(4.0)
    assert epsilon([one], shares=3, delta=DELTA) == pytest.approx(
        oracle_epsilon(mpmath.sqrt(60) / (4 * mpmath.sqrt(3)), DELTA), abs=1e-3
    )
    assert epsilon([one], shares=3, delta=DELTA) > epsilon([one], shares=4, delta=DELTA)
    assert epsilon([one], shares=0, delta=DELTA) == math.inf


GRID = [
    (z, rate, attempts, shares)
    for z in (1.0, 2.5, 8.0, 30.0)
    for rate in (1.0, 0.3, 0.05)
    for attempts, shares in ((1, 1), (60, 3), (400, 7))
]


@pytest.mark.parametrize(("z", "rate", "attempts", "shares"), GRID)
def test_the_second_accountant_agrees(z: float, rate: float, attempts: int, shares: int) -> None:
    """PRV − PLD in [0, 0.02] on 36 settings, towards observers who face several shares."""
    events = [event(z / math.sqrt(shares), attempts, rate)]
    reported = epsilon(events, shares=shares, delta=DELTA)
    found = cross_check(events, shares=shares, delta=DELTA, reported=reported)
    assert found is not None
    assert 0 <= found.difference <= 0.02
    assert found.agrees


@pytest.mark.parametrize("options", [{}, {"sampling_rate": 0.3}, {"noise": "local"}])
@pytest.mark.parametrize("target", [0.5, 8.0, 50.0])
def test_the_second_accountant_agrees_on_whole_runs(
    target: float, options: dict[str, object]
) -> None:
    """The exact loss of a coarse count and the bound for discrete noise stay inside the margin."""
    plan = plan_for(RunConfig(epsilon=target, **options))  # type: ignore[arg-type]
    shares = plan.calibrated_shares
    reported = epsilon(plan.events(), shares=shares, delta=plan.delta)
    found = cross_check(plan.events(), shares=shares, delta=plan.delta, reported=reported)
    assert found is not None
    assert found.agrees


def test_the_cross_check_notices_a_wrong_number() -> None:
    events = [event(4.0)]
    right = epsilon(events, shares=1, delta=DELTA)
    for factor, agrees in ((1.0, True), (0.9, False), (1.1, False)):
        found = cross_check(events, shares=1, delta=DELTA, reported=right * factor)
        assert found is not None
        assert found.agrees is agrees


events_strategy = st.builds(
    event, st.floats(2.0, 40.0), st.integers(1, 50), st.sampled_from([1.0, 0.5, 0.1])
)


@given(st.lists(events_strategy, min_size=2, max_size=3))
@settings(max_examples=15, deadline=None)
def test_composition_is_order_free_and_never_below_a_part(events: list[NoisedSum]) -> None:
    whole = epsilon(events, shares=1, delta=DELTA)
    assert epsilon(events[::-1], shares=1, delta=DELTA) == pytest.approx(whole, rel=1e-6, abs=1e-6)
    assert whole >= max(epsilon([e], shares=1, delta=DELTA) for e in events) - 1e-6


@given(st.floats(2.0, 40.0), st.integers(1, 100), st.floats(0.05, 0.9))
@settings(max_examples=15, deadline=None)
def test_epsilon_grows_with_rounds_and_rate_and_falls_with_noise(
    z: float, attempts: int, rate: float
) -> None:
    base = epsilon([event(z, attempts, rate)], shares=1, delta=DELTA)
    assert epsilon([event(z, attempts + 20, rate)], shares=1, delta=DELTA) >= base
    assert epsilon([event(z, attempts, rate * 1.1)], shares=1, delta=DELTA) >= base - 1e-4
    assert epsilon([event(z * 1.2, attempts, rate)], shares=1, delta=DELTA) <= base


def test_a_joint_plan_is_cheaper_than_the_sum_of_its_phases() -> None:
    """Two phases of ε = 4 compose to about 5.96, not 8 (full batch, δ = 1e-5)."""
    mu = 1 / (event(1.0, 1).noise_multiplier(1))
    assert mu == 1.0
    z = next(z for z in (i / 1000 for i in range(800, 2000)) if oracle_epsilon(1 / z, DELTA) <= 4)
    joint = epsilon([event(z, 1), event(z, 1, phase="other")], shares=1, delta=DELTA)
    assert joint == pytest.approx(5.96, abs=0.03)


def test_shuffled_batches_cannot_be_written_down_as_poisson() -> None:
    """A shuffled batch of fixed size is not accounted; neither is a "full batch" below 1."""
    with pytest.raises(UnsupportedEventError, match="independent"):
        NoisedSum("train", 1, 0.1, "shuffled", 1.0, 1.0, 1)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedEventError):
        NoisedSum("train", 1, 0.1, "full_batch", 1.0, 1.0, 1)


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_a_retry_costs_as_much_as_any_other_release(rate: float) -> None:
    """60 rounds of which 6 were retried are 66 releases, in one event or in two."""
    agreed = epsilon([event(4.0, 60, rate)], shares=1, delta=DELTA)
    retried = epsilon([event(4.0, 66, rate)], shares=1, delta=DELTA)
    split = epsilon([event(4.0, 60, rate), event(4.0, 6, rate)], shares=1, delta=DELTA)
    assert retried > 1.02 * agreed
    assert split == pytest.approx(retried, rel=1e-4)


def test_half_the_noise_is_half_the_noise_multiplier() -> None:
    one = event(4.0)
    half = NoisedSum("train", 60, 1.0, "full_batch", 1000.0, 2000.0, 10)
    assert half.noise_multiplier(1) == one.noise_multiplier(1) / 2
    assert epsilon([half], shares=1, delta=DELTA) == pytest.approx(
        oracle_epsilon(2 * mpmath.sqrt(60) / 4, DELTA), rel=1e-3
    )


def test_foreign_events_are_refused_before_anything_is_computed() -> None:
    class Similar(NoisedSum):
        pass

    other = Similar("train", 1, 1.0, "full_batch", 1.0, 1.0, 1)
    with pytest.raises(UnsupportedEventError):
        epsilon([event(4.0), other], shares=1, delta=DELTA)


def test_events_survive_json_and_refuse_anything_else() -> None:
    one = event(4.0, rate=0.3)
    assert NoisedSum.from_json(one.to_json()) == one
    for change in (
        {"kind": "noised_sum/2"},
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 1.5},
        {"sensitivity": "1"},
        {"share_std": -1.0},
        {"share_std": math.nan},
        {"extra": 1},
    ):
        with pytest.raises(UnsupportedEventError):
            NoisedSum.from_json({**one.to_json(), **change})
    missing = one.to_json()
    del missing["dimension"]
    with pytest.raises(UnsupportedEventError):
        NoisedSum.from_json(missing)


def test_analytic_delta_is_stable_where_a_naive_formula_underflows() -> None:
    assert 0 < analytic_delta(0.05, 3.0) < 1e-300 or analytic_delta(0.05, 3.0) == 0.0
    assert analytic_delta(9.0, 0.0) == pytest.approx(1 - 6.795e-6, abs=1e-8)
    assert gaussian_mu([event(2.0, 4)], 1) == pytest.approx(1.0)
