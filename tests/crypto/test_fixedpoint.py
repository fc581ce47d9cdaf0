"""The grid and the ring: exact sums, and overflow refused before it can happen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from feddiff_crypto.errors import OverflowRefusedError
from feddiff_crypto.fixedpoint import Grid, round_nearest, round_stochastic, saturate
from feddiff_crypto.randomness import SecureRandom, VectorRandom

INT32 = hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**31), 2**31 - 1))
INT64 = hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**63), 2**63 - 1))


@given(INT32)
def test_a_32_bit_value_survives_the_ring(values: np.ndarray[Any, Any]) -> None:
    grid = Grid(1.0)
    assert (grid.from_ring(grid.to_ring(values)) == values).all()


@given(INT64)
def test_a_64_bit_value_survives_the_ring(values: np.ndarray[Any, Any]) -> None:
    grid = Grid(1.0, 64)
    assert (grid.from_ring(grid.to_ring(values)) == values).all()


@given(st.sampled_from([32, 64]), st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9))
def test_the_sum_is_the_integers_sum_modulo_the_ring(bits: int, terms: list[int]) -> None:
    grid = Grid(1.0, bits)
    total = grid.to_ring(np.zeros(1, np.int64))
    for term in terms:
        total += grid.to_ring(np.array([term]))
    expected = (sum(terms) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    assert int(grid.from_ring(total)[0]) == expected


def test_rounding_is_to_nearest_with_ties_to_even() -> None:
    values = np.array([0.25, 0.75, -0.25, -0.75, 0.3, -0.3])
    assert round_nearest(values, 2.0).tolist() == [0, 2, 0, -2, 1, -1]


@given(
    hnp.arrays(np.float64, st.integers(0, 9), elements=st.floats(-1e6, 1e6)),
    st.floats(1e-3, 1e6),
)
def test_rounding_moves_no_coordinate_more_than_half_a_step(
    values: np.ndarray[Any, Any], scale: float
) -> None:
    assert (np.abs(round_nearest(values, scale) - values * scale) <= 0.5).all()


def test_stochastic_rounding_is_unbiased_and_moves_less_than_a_step() -> None:
    values = np.repeat([0.0, 0.25, 0.5, -0.1, 3.9, -2.75], 40_000)
    rounded = round_stochastic(values, 2.0, SecureRandom())
    assert (np.abs(rounded - values * 2.0) < 1).all()
    means = rounded.reshape(6, -1).mean(axis=1)
    deviation = 0.5 / np.sqrt(40_000)
    assert np.abs(means - np.array([0.0, 0.5, 1.0, -0.2, 7.8, -5.5])).max() < 6 * deviation
    assert (rounded.reshape(6, -1).std(axis=1) > 0).tolist() == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]


@given(
    hnp.arrays(np.float64, st.just(6), elements=st.floats(-1e3, 1e3)),
    hnp.arrays(np.float64, st.just(6), elements=st.floats(-50, 50)),
    st.floats(0.1, 100),
    st.binary(min_size=1, max_size=8),
)
def test_two_neighbours_move_apart_by_less_than_a_step_under_the_same_thresholds(
    values: np.ndarray[Any, Any], change: np.ndarray[Any, Any], scale: float, seed: bytes
) -> None:
    """What the sensitivity bound of stochastic rounding rests on."""
    one = round_stochastic(values, scale, VectorRandom(seed))
    other = round_stochastic(values + change, scale, VectorRandom(seed))
    moved = np.abs(values * scale - (values + change) * scale)
    assert (np.abs(one - other) < moved + 1 + 1e-9).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e16])
def test_what_stochastic_rounding_cannot_hold_is_refused(bad: float) -> None:
    with pytest.raises(OverflowRefusedError, match="2\\^53"):
        round_stochastic(np.array([0.0, bad]), 1.0, SecureRandom())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e16])
def test_what_the_grid_cannot_hold_is_refused(bad: float) -> None:
    with pytest.raises(OverflowRefusedError, match="2\\^53"):
        round_nearest(np.array([0.0, bad]), 1.0)


def test_a_plan_is_refused_exactly_from_its_public_bound_on() -> None:
    grid = Grid(1.0)
    assert grid.plan(owners=3, coordinate_bound=(2**31 - 1) // 3, noise_std=0.0).bits >= 0
    with pytest.raises(OverflowRefusedError, match="32 bits"):
        grid.plan(owners=3, coordinate_bound=(2**31 - 1) // 3 + 1, noise_std=0.0)
    with pytest.raises(OverflowRefusedError):
        grid.plan(owners=1, coordinate_bound=0, noise_std=2.0**31 / 12)
    assert Grid(1.0, 64).plan(owners=100, coordinate_bound=2**50, noise_std=1e12).bits > 1


@pytest.mark.parametrize(
    "change",
    [
        {"owners": 0},
        {"coordinate_bound": -1},
        {"noise_std": float("nan")},
        {"noise_std": -1.0},
        {"tail": 0.0},
    ],
)
def test_a_plan_of_meaningless_numbers_is_the_callers_bug(change: dict[str, Any]) -> None:
    plan: dict[str, Any] = {"owners": 2, "coordinate_bound": 5, "noise_std": 1.0} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        Grid(1.0).plan(**plan)


@pytest.mark.parametrize("arguments", [(0.0,), (float("inf"),), (float("nan"),), (1.0, 16)])
def test_a_grid_has_a_finite_scale_and_a_known_ring(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"scale|ring_bits"):
        Grid(*arguments)


@given(INT64, st.integers(0, 2**40))
def test_saturation_projects_each_coordinate_and_counts_what_it_changed(
    values: np.ndarray[Any, Any], bound: int
) -> None:
    projected, fraction = saturate(values, bound)
    outside = [not -bound <= int(v) <= bound for v in values]
    assert projected.tolist() == [max(-bound, min(bound, int(v))) for v in values]
    assert fraction == sum(outside) / max(len(outside), 1)


def test_other_dtypes_are_the_callers_bug() -> None:
    with pytest.raises(TypeError):
        Grid(1.0).to_ring(np.zeros(2))  # type: ignore[arg-type]  # the wrong type on purpose
    with pytest.raises(TypeError):
        Grid(1.0).from_ring(np.zeros(2, np.uint64))
    with pytest.raises(TypeError):
        round_nearest(np.zeros(2, np.float32), 1.0)
