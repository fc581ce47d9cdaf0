"""Events are written in one way only, and what was written once can be read for ever."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feddiff_privacy.accountant import check_events, epsilon
from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import (
    KINDS,
    MOST_EVENT_BYTES,
    NoisedSum,
    SkellamSum,
    event_from_bytes,
    event_from_json,
)

GOLDEN = Path(__file__).with_name("golden_events.json")
NOISED = NoisedSum("train", 60, 0.25, "poisson", 12345.5, 40000.25, 15360)
WHOLE = NoisedSum("count", 1, 1.0, "full_batch", 1.0, 3.464101615137754, 1)
SKELLAM = SkellamSum("train", 3, 1.0, "full_batch", 200.0, 1e6, 16, 800.0)
EVENTS = {"noised_sum/1": NOISED, "noised_sum/1 count": WHOLE, "skellam_sum/1": SKELLAM}


@pytest.mark.parametrize("name", EVENTS)
def test_the_bytes_of_an_event_never_change(name: str) -> None:
    """A difference here breaks every stored ledger and transcript: add a new kind instead."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert EVENTS[name].to_bytes() == golden[name].encode()
    assert event_from_bytes(golden[name].encode()) == EVENTS[name]


def test_every_kind_has_golden_bytes() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert {json.loads(text)["kind"] for text in golden.values()} == set(KINDS)
    assert set(golden) == set(EVENTS)


def test_whole_numbers_come_back_as_the_floats_they_were() -> None:
    again = event_from_bytes(WHOLE.to_bytes())
    assert type(again.sensitivity) is float
    assert type(again.attempts) is int


@given(
    st.integers(1, 10**6), st.floats(1e-6, 1.0), st.floats(1e-3, 1e12), st.floats(0.0, 1e9),
    st.integers(1, 10**7),
)  # fmt: skip
def test_any_event_survives_its_bytes(
    attempts: int, rate: float, sensitivity: float, std: float, dimension: int
) -> None:
    sampler = "full_batch" if rate == 1 else "poisson"
    event = NoisedSum("train", attempts, rate, sampler, sensitivity, std, dimension)
    assert event_from_bytes(event.to_bytes()) == event


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b + b"\n",
        lambda b: b.replace(b'"attempts":60', b'"attempts": 60'),
        lambda b: b.replace(b'"attempts":60', b'"attempts":60.0'),
        lambda b: b.replace(b'"attempts":60', b'"attempts":"60"'),
        lambda b: b.replace(b'"attempts":60', b'"attempts":60,"attempts":60'),
        lambda b: b.replace(b"noised_sum/1", b"noised_sum/2"),
        lambda b: b.replace(b"12345.5", b"NaN"),
        lambda b: b.replace(b"12345.5", b"1e999"),
        lambda b: b.replace(b"12345.5", b"1" * 400),
        lambda _: b"[" * 3000,
        lambda _: b"[]",
        lambda _: b"\xff",
        lambda b: b.replace(b'"attempts":60', b'"attempts":' + b"9" * 30),
        lambda b: b[:-1],
        lambda _: b" " * (MOST_EVENT_BYTES + 1),
    ],
)
def test_anything_but_the_canonical_bytes_is_refused(change: object) -> None:
    with pytest.raises(UnsupportedEventError):
        event_from_bytes(change(NOISED.to_bytes()))  # type: ignore[operator]


def test_an_unknown_kind_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(UnsupportedEventError, match="laplace"):
        event_from_json({"kind": "laplace_sum/1"})
    for foreign in ("noised_sum/1", {"kind": "noised_sum/1"}, None):
        with pytest.raises(UnsupportedEventError, match="no accountant"):
            check_events([NOISED, foreign])  # type: ignore[list-item]


def test_two_kinds_of_noise_are_not_composed_by_either_accountant() -> None:
    with pytest.raises(UnsupportedEventError, match="together"):
        epsilon([NOISED, SKELLAM], shares=1, delta=1e-5)


@pytest.mark.parametrize("l1", [0.0, -1.0, 199.0, 801.0, math.nan, math.inf])
def test_an_l1_sensitivity_that_no_vector_has_is_refused(l1: float) -> None:
    with pytest.raises(UnsupportedEventError, match="sensitivity_l1"):
        SkellamSum("train", 3, 1.0, "full_batch", 200.0, 1e6, 16, l1)
