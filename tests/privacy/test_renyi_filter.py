"""The filter's arithmetic against independent numbers: quadrature, and the library's conversion."""

from __future__ import annotations

import dataclasses
import itertools
import math

import mpmath
import pytest
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import analytic_epsilon, epsilon
from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import NoisedSum, SkellamSum
from feddiff_privacy.guarantee import Adjacency
from feddiff_privacy.ledger.renyi_filter import (
    ORDERS,
    converted_epsilon,
    filter_order,
    gaussian_mu_within,
    rdp,
    rdp_budget,
)
from feddiff_privacy.skellam_rdp import skellam_epsilon


def event(z: float = 1.0, q: float = 1.0, attempts: int = 1) -> NoisedSum:
    return NoisedSum("train", attempts, q, "full_batch" if q == 1 else "poisson", 1e3, 1e3 * z, 5)


def quadrature_rdp(z: float, q: float, order: float) -> float:
    """D_α of the sampled Gaussian against the plain one, by numerical integration."""

    def integrand(x: mpmath.mpf) -> mpmath.mpf:
        plain = mpmath.npdf(x, 0, z)
        mixed = (1 - q) * plain + q * mpmath.npdf(x, 1, z)
        return mixed**order * plain ** (1 - order)

    with mpmath.workdps(30):
        points = [-12 * z, 0, 1, order, order + 12 * z]
        return float(mpmath.log(mpmath.quad(integrand, points)) / (order - 1))


@pytest.mark.parametrize(
    ("z", "q", "order"),
    list(itertools.product([0.7, 2.0, 8.0], [0.1, 0.5, 1.0], [2, 3, 5.5, 1.25])),
)
def test_rdp_is_exact_at_whole_orders_and_an_upper_bound_between(
    z: float, q: float, order: float
) -> None:
    found, expected = rdp([event(z, q)], 1, order), quadrature_rdp(z, q, order)
    assert found >= expected * (1 - 1e-9)
    if q == 1 or order == int(order):
        assert found == pytest.approx(expected, rel=1e-9)
    elif order > 2 and z >= 2:
        assert found <= expected * 1.1


@pytest.mark.parametrize("order", [1.125, 2.0, 3.875, 64.0, 861.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-3])
def test_the_conversion_is_that_of_the_accounting_library(order: float, delta: float) -> None:
    for value in (0.01, 0.5, 4.0, 80.0):
        expected, _ = compute_epsilon([order], [value], delta)
        found = converted_epsilon(value, delta, order)
        if expected == 0:  # the library knows a better bound for tiny divergences; so ε ≥ its ε
            assert found < 0.02
            continue
        assert found == pytest.approx(expected, rel=1e-9)
        if found > 0:
            assert rdp_budget(found, delta, order) == pytest.approx(value, rel=1e-9)


@given(st.floats(0.01, 1000), st.floats(1e-12, 1e-3))
def test_the_order_admits_at_least_as_much_as_any_other_of_the_table(
    lifetime: float, delta: float
) -> None:
    order = filter_order(lifetime, delta)
    best = gaussian_mu_within(rdp_budget(lifetime, delta, order), order)
    for other in ORDERS:
        assert best >= gaussian_mu_within(rdp_budget(lifetime, delta, other), other)
    assert analytic_epsilon(best, delta) <= lifetime
    if delta <= 1e-5 and 1 <= lifetime <= 100:  # what the filter costs over PLD in one plan
        assert analytic_epsilon(best, delta) >= 0.9 * lifetime


@given(st.lists(st.tuples(st.floats(0.5, 20), st.sampled_from([0.1, 1.0])), max_size=3))
@settings(max_examples=12)
def test_what_the_filter_lets_through_is_within_epsilon_by_pld(
    plans: list[tuple[float, float]],
) -> None:
    events = [event(z, q, attempts=3) for z, q in plans]
    total = rdp(events, 1, 4.0)
    assert epsilon(events, shares=1, delta=1e-5) <= converted_epsilon(total, 1e-5, 4.0) + 1e-3


def test_no_noise_is_infinite_and_an_unknown_event_is_refused() -> None:
    assert math.isinf(rdp([event(), event(0.0)], 1, 4.0))
    assert math.isinf(rdp([event()], 0, 4.0))
    for unknown in (object(), OtherNoise(**dataclasses.asdict(event()))):
        with pytest.raises(UnsupportedEventError):
            rdp([unknown], 1, 4.0)  # type: ignore[list-item]  # what is tested


def skellam(z: float, q: float = 1.0, attempts: int = 1) -> SkellamSum:
    sampler = "full_batch" if q == 1 else "poisson"
    return SkellamSum("train", attempts, q, sampler, 1e3, 1e3 * z, 5, 2e3)  # type: ignore[arg-type]  # a Sampler


@pytest.mark.parametrize(("z", "q"), [(1.0, 1.0), (4.0, 1.0), (2.0, 0.1), (8.0, 0.5)])
@pytest.mark.parametrize("order", [1.25, 2.0, 5.5, 64.0])
def test_skellam_sums_count_by_their_own_bound_and_never_below_it(
    z: float, q: float, order: float
) -> None:
    """The accountant minimises over orders; one order, fixed beforehand, can only cost more."""
    events = [skellam(z, q, attempts=3)]
    best = skellam_epsilon(events, shares=2, delta=1e-5, adjacency=Adjacency.ADD_REMOVE)
    found = rdp(events, 2, order)
    assert converted_epsilon(found, 1e-5, order) >= best - 1e-9
    gaussian = rdp([event(z, q, attempts=3)], 2, order)
    assert found >= gaussian * (1 - 1e-9)
    if order >= 2:  # below, D_2 stands in
        assert found <= gaussian * 1.02 + 1e-4  # at this grid the two noises are nearly one


def test_skellam_noise_of_another_l1_sensitivity_costs_more() -> None:
    one, more = skellam(0.01), dataclasses.replace(skellam(0.01), sensitivity_l1=2.2e3)
    assert rdp([more], 1, 4.0) > rdp([one], 1, 4.0)


class OtherNoise(NoisedSum):
    """A later kind of event: its divergence is not a Gaussian's."""
