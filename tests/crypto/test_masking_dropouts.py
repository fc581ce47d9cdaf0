"""Dropouts in any phase up to 100 owners, and the coordinator's memory at that size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import ThresholdError
from feddiff_crypto.keys import Registry
from feddiff_crypto.masking.coordinator import CoordinatorStart, RoundSum
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_crypto.masking.policy import Policy
from tests.crypto.test_masking_round import (
    IDENTITIES,
    NAMES,
    NEVER,
    Round,
    make_round,
    plain_sum,
)

MASKED_INPUT = 2  # the phase in which a vector leaves


@st.composite
def schedules(draw: st.DrawFn, n: int) -> tuple[int, dict[str, int]]:
    """The tolerated dropouts d, and who falls silent in which phase: often about n − τ owners."""
    dropouts = draw(st.integers(0, n // 3), label="d")
    slack = n - Policy(n, dropouts).threshold
    count = draw(st.integers(0, slack + 2), label="how many")
    phases = draw(st.lists(st.integers(0, NEVER - 1), min_size=count, max_size=count))
    order = draw(st.randoms(use_true_random=False)).sample(NAMES[:n], len(phases))
    return dropouts, dict(zip(order, phases, strict=True))


def sum_or_abort(n: int, dropouts: int, drops: dict[str, int]) -> RoundSum | None:
    """Play the round and hold it to the promise."""
    attempt = make_round(n, size=5, dropouts=dropouts, drops=drops)
    threshold = attempt.policy.threshold
    alive = [n - sum(drop <= phase for drop in drops.values()) for phase in range(NEVER)]
    if min(alive) < threshold:
        with pytest.raises(ThresholdError):
            attempt.run()
        # Nothing is revealed: of no secret has anybody but its owners τ shares.
        assert len(attempt.sent.get("unmask", {})) < threshold
        if alive[3] < threshold:
            assert not attempt.revealed_to
        return None
    result = attempt.run()
    survivors = tuple(p for p in NAMES[:n] if drops.get(p, NEVER) > MASKED_INPUT)
    assert result.survivors == survivors
    assert (result.total == plain_sum(attempt, survivors)).all()
    late = {party for party, drop in drops.items() if drop == MASKED_INPUT}
    assert set(result.revealed.mask_keys) == late
    assert not late & set(result.revealed.self_secrets)
    return result


@given(st.integers(2, 24).flatmap(lambda n: st.tuples(st.just(n), schedules(n))))
@settings(max_examples=25)
def test_up_to_24_owners_give_the_survivors_sum_or_an_abort(
    case: tuple[int, tuple[int, dict[str, int]]],
) -> None:
    n, (dropouts, drops) = case
    sum_or_abort(n, dropouts, drops)


@given(st.sampled_from([50, 75, 100]).flatmap(lambda n: st.tuples(st.just(n), schedules(n))))
@settings(
    max_examples=3,
    phases=[Phase.generate],  # one example takes seconds: do not shrink
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_many_owners_give_the_survivors_sum_or_an_abort(
    case: tuple[int, tuple[int, dict[str, int]]],
) -> None:
    n, (dropouts, drops) = case
    sum_or_abort(n, dropouts, drops)


def test_a_hundred_owners_lose_33_over_all_phases_and_still_give_the_sum() -> None:
    drops = {NAMES[i]: i % NEVER for i in range(0, 99, 3)}
    assert len(drops) == 33 == 100 - Policy(100, 40).threshold
    assert sum_or_abort(100, 40, drops) is not None


def test_one_dropout_too_many_in_the_last_phase_opens_nothing() -> None:
    """All but τ − 1 of the owners have replied with their shares, and still no secret opens."""
    drops = {NAMES[i]: 4 for i in range(8)}
    assert sum_or_abort(20, 7, drops) is None


@pytest.mark.slow
def test_the_coordinator_of_100_owners_needs_less_than_three_vectors() -> None:
    """n = 100, d = 10⁶: vectors come one at a time; a tenth drops out, masks are recovered.

    The owners mask one element, and the coordinator gets vectors of 10⁶ elements in their place:
    what it does with a vector does not depend on what is in it.
    """
    dimension = 10**6
    drops = dict.fromkeys(NAMES[:10], MASKED_INPUT)
    attempt = make_round(100, size=1, dropouts=10, drops=drops)
    attempt.run()
    tracemalloc.start()
    try:
        play_coordinator(attempt, dimension)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 4 * dimension < peak < 3 * 4 * dimension


def play_coordinator(attempt: Round, dimension: int) -> RoundSum:
    """The coordinator's part of a recorded round, over vectors of `dimension` elements."""
    start = CoordinatorStart(
        registry=Registry({name: IDENTITIES[name].public for name in attempt.vectors}),
        policy=attempt.policy,
        context=attempt.context,
        dimension=dimension,
    )
    sharing, _ = start.roster(attempt.sent["advertise"])
    masking, _ = sharing.deliver(attempt.sent["share"])
    for name, message in attempt.sent["masked input"].items():
        arrived = np.full(dimension, 7, np.uint32)  # one at a time, as from the wire
        masking.add(name, MaskedInput(message.context, name, arrived))
        del arrived
    consistency, _ = masking.close()
    unmasking, _ = consistency.request(attempt.sent["consistency"])
    return unmasking.finish(attempt.sent["unmask"])
