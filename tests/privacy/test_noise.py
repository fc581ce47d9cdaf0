"""The discrete Gaussian is exact, of the right size, and never a float."""

from __future__ import annotations

import math
import os
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from feddiff_privacy.envelope import alias_table
from feddiff_privacy.errors import MechanismError
from feddiff_privacy.noise import DiscreteGaussian, share_std, share_sum_gap


class OsBytes:
    """The operating system's randomness, straight."""

    def random_bytes(self, n: int, /) -> bytes:
        return os.urandom(n)


def exact_pmf(std: float, reach: int) -> np.ndarray:
    """An oracle: P[k] for |k| ≤ reach by multi-precision summation."""
    with mpmath.workdps(40):
        weights = [mpmath.exp(-mpmath.mpf(k * k) / (2 * mpmath.mpf(std) ** 2)) for k in range(4000)]
        total = weights[0] + 2 * mpmath.fsum(weights[1:])
        half = [float(w / total) for w in weights[: reach + 1]]
    return np.array(half[:0:-1] + half)


@pytest.mark.parametrize(("std", "bits"), [(1.0, 40), (3.7, 40), (3.7, 6), (90.0, 40), (90.0, 10)])
def test_frequencies_match_the_exact_distribution(std: float, bits: int) -> None:
    """Few acceptance bits send many draws through the exact decision; it must agree."""
    draws = 400_000 if bits == 40 else 30_000
    reach = int(5 * std)
    sample = DiscreteGaussian(std, accept_bits=bits).sample(draws, OsBytes())
    expected = exact_pmf(std, reach) * draws
    observed = np.bincount(sample[np.abs(sample) <= reach] + reach, minlength=2 * reach + 1)
    keep = expected > 8
    chi = float((np.square(observed - expected) / expected)[keep].sum())
    assert stats.chi2.sf(chi, keep.sum() - 1) > 1e-6


@pytest.mark.parametrize("std", [2.0, 640.5, 4.2e4, 3.0e6])
def test_moments_are_those_of_the_claimed_size(std: float) -> None:
    """Halved noise would be off by 300 standard errors."""
    count = 400_000
    sample = DiscreteGaussian(std).sample(count, OsBytes())
    assert sample.dtype == np.int64
    scaled = sample / std
    assert abs(scaled.mean()) < 6 / math.sqrt(count)
    assert abs(scaled.var() - 1) < 6 * math.sqrt(2 / count)
    assert abs((scaled**4).mean() - 3) < 6 * math.sqrt(96 / count)
    assert 4 < np.abs(scaled).max() < 8  # tails are there, and end where they should


@given(st.floats(1.0, 2.0**29))
@settings(max_examples=25, deadline=None)
def test_the_envelope_is_integer_complete_and_dominates(std: float) -> None:
    sampler = DiscreteGaussian(std)
    weights, blocks = sampler._weights, sampler._blocks
    width = 1 << sampler._width_bits
    assert sum(weights) == 2**64
    assert blocks * width >= 2 * 16 * std
    peak = Fraction(sampler._peak)
    for block in {0, 1, blocks // 3, blocks // 2 - 1, blocks // 2, blocks - 1}:
        start = (block - blocks // 2) * width
        nearest = 0 if start <= 0 <= start + width - 1 else min(abs(start), abs(start + width - 1))
        with mpmath.workdps(60):
            density = mpmath.exp(-(mpmath.mpf(nearest) ** 2) / (2 * mpmath.mpf(std) ** 2))
            assert mpmath.mpf(peak.numerator) / peak.denominator * density <= weights[block]


@given(
    st.integers(1, 11).flatmap(
        lambda b: st.lists(st.integers(1, 10**6), min_size=1 << b, max_size=1 << b)
    )
)
@settings(max_examples=20, deadline=None)
def test_the_alias_table_gives_back_its_weights(parts: list[int]) -> None:
    count = len(parts)
    weights = [p * (2**64 // (2 * sum(parts))) for p in parts]
    weights[0] += 2**64 - sum(weights)
    prob, alias = alias_table(weights)
    got = [0] * count
    for slot in range(count):
        got[slot] += int(prob[slot])
        got[int(alias[slot])] += 2**64 // count - int(prob[slot])
    assert got == weights


def test_shares_are_sized_for_the_honest_owners_not_for_all() -> None:
    assert share_std(30.0, 3) == pytest.approx(30 / math.sqrt(3))
    with pytest.raises(MechanismError):
        share_std(30.0, 0)


@pytest.mark.parametrize("std", [0.5, 0.0, -1.0, math.nan, math.inf, 2.0**30])
def test_a_size_outside_the_proven_range_is_refused(std: float) -> None:
    with pytest.raises(MechanismError):
        DiscreteGaussian(std)


def test_the_gap_of_the_sum_of_shares_bounds_the_exact_one() -> None:
    """Convolve four small shares exactly and compare with one discrete Gaussian."""
    share, shares = 1.0, 4
    one = exact_pmf(share, 30)
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)
    single = exact_pmf(share * math.sqrt(shares), (len(total) - 1) // 2)
    middle = slice(len(total) // 2 - 12, len(total) // 2 + 13)
    ratio = np.abs(np.log(total[middle] / single[middle])).max()
    assert ratio <= share_sum_gap(share, shares)
    assert share_sum_gap(6.0, 100) < 1e-70
