"""Lower bounds on ε: published values, small cases counted out, and known mechanisms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from feddiff_privacy.accountant import analytic_epsilon
from feddiff_privacy.attacks.gaussian_estimate import gaussian_estimate
from feddiff_privacy.attacks.gaussian_one_run import (
    gaussian_mu_bound,
    gaussian_one_run_bound,
    refutes,
)
from feddiff_privacy.attacks.guesses import Guesses, guess, planned_guesses
from feddiff_privacy.attacks.one_run import one_run_bound, one_run_epsilon, p_value
from feddiff_privacy.errors import AuditError

DELTA = 1e-5


@pytest.mark.parametrize(
    ("guesses", "delta", "published"),
    [
        (Guesses(1000, 100, 75), 1e-4, 0.673),  # arXiv 2305.08846v1, appendix D
        (Guesses(100_000, 1510, 1439), 1e-5, 2.675),  # same, section 7
    ],
)
def test_one_run_bound_reproduces_the_values_printed_in_the_paper(
    guesses: Guesses, delta: float, published: float
) -> None:
    assert one_run_epsilon(guesses, delta) == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize("m", [1, 2, 5, 8])
@pytest.mark.parametrize("epsilon", [0.0, 0.7, 2.0])
def test_one_run_p_value_is_the_tail_of_randomised_response_counted_out(
    m: int, epsilon: float
) -> None:
    """Pure DP: enumerate every pattern of right and wrong answers of randomised response."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    for v in range(m + 1):
        tail = math.fsum(
            keep ** sum(pattern) * (1 - keep) ** (m - sum(pattern))
            for pattern in itertools.product((0, 1), repeat=m)
            if sum(pattern) >= v
        )
        assert p_value(Guesses(m, m, v), epsilon, 0.0) == pytest.approx(tail, abs=1e-12)


@pytest.mark.parametrize("delta", [0.001, 0.05])
def test_one_run_p_value_covers_a_mechanism_that_fails_with_probability_delta(delta: float) -> None:
    """With probability δ the truth is printed, else randomised response: (ε, δ)-DP by design."""
    epsilon, m = 1.0, 6
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    right = delta + (1 - delta) * keep  # a coin a canary, independent
    for v in range(m + 1):
        exact = float(binom.sf(v - 1, m, right))
        assert p_value(Guesses(m, m, v), epsilon, delta) >= exact - 1e-12


def test_one_run_p_value_covers_a_mechanism_that_prints_everything_at_once() -> None:
    """With probability δ all coins are printed at once: the case that the factor m is for."""
    epsilon, delta, m = 0.5, 0.02, 8
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    for v in range(1, m + 1):
        exact = delta + (1 - delta) * float(binom.sf(v - 1, m, keep))
        assert p_value(Guesses(m, m, v), epsilon, delta) >= exact - 1e-12


@pytest.mark.parametrize(("m", "made"), [(1, 1), (3, 3), (20, 12), (60, 60)])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.7, 3.0])
def test_gaussian_bound_never_calls_impossible_what_a_gaussian_does(
    m: int, made: int, mu: float
) -> None:
    """m independent Gaussian canaries, `made` of them guessed at the best threshold."""
    for v in range(1, made + 1):
        tail = float(binom.sf(v - 1, made, ndtr(mu / 2)))
        if 1e-9 < tail < 1:
            assert not refutes(Guesses(m, made, v), mu, tail * (1 - 1e-9)), (v, tail)


def test_gaussian_bound_of_one_canary_is_the_best_guess_of_one_gaussian() -> None:
    for level in (0.55, 0.7, 0.95):
        found = gaussian_mu_bound(Guesses(1, 1, 1), 1 - level)
        assert found == pytest.approx(2 * float(ndtri(level)), abs=1e-6)


def test_gaussian_bound_of_two_canaries_is_the_solution_of_its_inequalities() -> None:
    """v = r = m = 2, solved by hand.

    R₂ = τ, H₂ = 0; H₁ = p₁/2, R₁ = τ + p₁/2, H₀ = p₁/2 + p₀, and all mass is 1.
    """
    level = 0.4

    def possible(mu: float) -> bool:
        one = 2 * float(ndtr(ndtri(level) - mu))  # least p₁ with R₂ ≤ f̄(H₁)
        below = float(ndtr(ndtri(level + one / 2) - mu))  # least H₀ with R₁ ≤ f̄(H₀)
        return level + one / 2 + max(below, one / 2) <= 1

    found = gaussian_mu_bound(Guesses(2, 2, 2), 1 - level)
    assert possible(found * (1 + 1e-6))
    assert not possible(found * (1 - 1e-6))


@settings(max_examples=25)
@given(st.integers(1, 400), st.data())
def test_more_right_guesses_never_lower_a_bound(m: int, data: st.DataObject) -> None:
    made = data.draw(st.integers(1, m))
    v = data.draw(st.integers(0, made - 1))
    less, more = Guesses(m, made, v), Guesses(m, made, v + 1)
    assert one_run_epsilon(less, DELTA) <= one_run_epsilon(more, DELTA) + 1e-9
    assert gaussian_mu_bound(less) <= gaussian_mu_bound(more) + 1e-9


@settings(max_examples=15)
@given(st.integers(1, 400), st.data())
def test_no_bound_exceeds_its_ceiling(m: int, data: st.DataObject) -> None:
    made = data.draw(st.integers(1, m))
    guesses = Guesses(m, made, data.draw(st.integers(0, made)))
    for bound in (one_run_bound(guesses, DELTA), gaussian_one_run_bound(guesses, DELTA)):
        assert 0 <= bound.epsilon <= bound.ceiling + 1e-9


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_one_run_bound_stays_below_randomised_response_and_comes_near(epsilon: float) -> None:
    rng = np.random.default_rng(1)
    m, repeats = 2000, 100
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    right = rng.binomial(m, keep, repeats)
    bounds = np.array([one_run_epsilon(Guesses(m, m, int(v)), 0.0) for v in right])
    assert (bounds <= epsilon).mean() >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / repeats)
    assert np.median(bounds) > epsilon * 0.85


@pytest.mark.parametrize("mu", [0.5, 1.67])
def test_bounds_stay_below_a_known_gaussian_and_the_estimate_comes_near(mu: float) -> None:
    rng = np.random.default_rng(2)
    m, repeats = 1000, 100
    truth = analytic_epsilon(mu, DELTA)
    made = planned_guesses(m, 2 * mu, gaussian_mu_bound)
    above = {"one": 0, "gaussian": 0, "limit": 0}
    estimates = []
    for _ in range(repeats):
        included = rng.random(m) < 0.5
        scores = rng.standard_normal(m) + mu * included
        guesses = guess(scores - mu / 2, included, made)
        above["one"] += one_run_epsilon(guesses, DELTA) > truth
        above["gaussian"] += gaussian_one_run_bound(guesses, DELTA).epsilon > truth
        estimate = gaussian_estimate(scores, included, DELTA)
        above["limit"] += estimate.mu_lower > mu
        estimates.append(estimate.mu)
    allowed = 0.05 * repeats + 3 * math.sqrt(repeats * 0.05 * 0.95)
    assert all(count <= allowed for count in above.values()), above
    assert above["limit"] > 0  # the limit is not idle: about one in twenty is above
    error = np.std(estimates) / math.sqrt(repeats)
    assert np.mean(estimates) == pytest.approx(mu, abs=4 * error + 0.005)


def test_the_standard_error_of_the_estimate_is_that_of_its_repeats() -> None:
    rng = np.random.default_rng(3)
    included = np.arange(400) < 200
    found = [
        gaussian_estimate(rng.standard_normal(400) + 2.0 * included, included, DELTA)
        for _ in range(400)
    ]
    spread = float(np.std([estimate.mu for estimate in found]))
    assert found[0].standard_error == pytest.approx(spread, rel=0.15)


def test_guesses_abstain_where_the_evidence_is_weak() -> None:
    evidence = np.array([5.0, 4.0, 0.3, -0.2, -1.0, -6.0])
    included = np.array([True, False, False, True, False, True])
    assert guess(evidence, included, 3) == Guesses(6, 3, 1)  # of 5, 4 and −6, the first is right
    assert guess(evidence, included, 6) == Guesses(6, 6, 2)


def test_the_number_of_guesses_is_planned_without_scores() -> None:
    assert planned_guesses(500, math.inf, gaussian_mu_bound) == 500
    assert 1 <= planned_guesses(500, 1.0, gaussian_mu_bound) < 500


def test_scores_without_spread_give_an_infinite_estimate_or_none() -> None:
    included = np.array([True, True, False, False])
    assert gaussian_estimate(included * 1.0, included, DELTA).epsilon == math.inf
    assert gaussian_estimate(np.zeros(4), included, DELTA).epsilon == 0.0


@pytest.mark.parametrize(("m", "made", "right"), [(0, 0, 0), (3, 4, 1), (3, 2, 3), (3, 2, -1)])
def test_impossible_counts_are_refused(m: int, made: int, right: int) -> None:
    with pytest.raises(AuditError, match="guesses"):
        Guesses(m, made, right)


def test_numbers_outside_their_range_are_refused() -> None:
    with pytest.raises(AuditError, match="epsilon"):
        p_value(Guesses(1, 1, 1), -1.0, 0.0)
    with pytest.raises(AuditError, match="mu"):
        refutes(Guesses(1, 1, 1), -1.0, 0.05)
    with pytest.raises(AuditError, match="finite"):
        guess(np.array([math.nan]), np.array([True]), 1)
    with pytest.raises(AuditError, match="at least 2"):
        gaussian_estimate(np.zeros(3), np.array([True, False, False]), DELTA)
