"""The numbers an owner enforces, against the argument they come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feddiff_crypto.errors import CryptoError, PolicyError, ThresholdError
from feddiff_crypto.masking.policy import Policy


@given(st.integers(-1, 110), st.integers(-1, 110), st.integers(-1, 110))
def test_accepted_policies_leave_an_honest_owner_and_no_second_sum(n: int, d: int, c: int) -> None:
    try:
        policy = Policy(n, d, c)
    except PolicyError:
        threshold = max(2 * n // 3 + 1, n - d)
        assert not (
            2 <= n <= 100
            and 0 <= d < n
            and c >= 0
            and threshold - c >= 1
            and c <= 2 * threshold - n - 1
        )
        return
    assert policy.honest_shares == policy.threshold - c >= 1
    # Two disjoint sets of honest owners cannot each, with the colluders' help, reach τ.
    assert (n - c) // 2 < policy.threshold - c
    assert policy.threshold + policy.tolerated_dropouts == n


@pytest.mark.parametrize(
    ("n", "d", "threshold"),
    [(2, 0, 2), (3, 0, 3), (3, 1, 3), (4, 0, 4), (4, 1, 3), (4, 3, 3), (10, 2, 8), (100, 50, 67)],
)
def test_thresholds_are_those_of_the_formula(n: int, d: int, threshold: int) -> None:
    assert Policy(n, d).threshold == threshold


@pytest.mark.parametrize(
    ("n", "d", "c", "word"),
    [
        (1, 0, 0, "owners"),
        (101, 0, 0, "owners"),
        (4, 4, 0, "dropouts"),
        (4, -1, 0, "dropouts"),
        (4, 0, -1, "colluders"),
        (2, 0, 2, "colluders"),
        (4, 1, 2, "colluders: 2 > 1"),
    ],
)
def test_a_refusal_names_the_number_and_its_bound(n: int, d: int, c: int, word: str) -> None:
    with pytest.raises(PolicyError, match=word) as caught:
        Policy(n, d, c)
    assert isinstance(caught.value, CryptoError)
    assert isinstance(caught.value, ValueError)


def test_two_owners_may_have_one_colluder() -> None:
    assert Policy(2, 0, 1).honest_shares == 1


def test_too_few_are_refused_with_the_count() -> None:
    Policy(4).require("survivors", 4)
    with pytest.raises(ThresholdError, match="survivors: 3 < threshold 4"):
        Policy(4).require("survivors", 3)
