"""The cross-check: ε of the same events by another implementation, Opacus' PRV accountant.

Source: Gopi, Lee and Wutschitz 2021 (arXiv 2106.02848). It imports torch, so it runs where a
model is trained, not where a run is verified. PRV returns an upper bound within 0.01 of its own
estimate, so PRV − PLD is expected in [0, 0.02].
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from feddiff_privacy.accountant import check_events
from feddiff_privacy.crosscheck_range import agrees
from feddiff_privacy.errors import UnsupportedEventError
from feddiff_privacy.events import Event, NoisedSum
from feddiff_privacy.statement import CrossCheck


def prv_epsilon(events: Sequence[Event], *, shares: int, delta: float) -> float:
    """ε by PRV under add/remove, for an observer facing `shares` noise shares.

    Every event needs some noise left (`shares` ≥ 1); PRV knows no infinite ε. It accounts the
    continuous Gaussian of the same variance.

    Raises:
        UnsupportedEventError: events of another noise, which PRV knows nothing of.
    """
    from opacus.accountants import PRVAccountant  # noqa: PLC0415  # imports torch: only on use

    check_events(events)
    if not knows(events):
        raise UnsupportedEventError("PRV accounts discrete Gaussian sums only")
    accountant = PRVAccountant()
    accountant.history = [
        (event.noise_multiplier(shares), event.sampling_rate, event.attempts) for event in events
    ]
    with warnings.catch_warnings():
        # At sampling rate 1 it takes log(0) in a branch it then discards, and warns that its RDP
        # bound (used only to size its domain) hit the largest order.
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta))


def knows(events: Sequence[Event]) -> bool:
    """Whether PRV can account for the events at all."""
    return all(isinstance(event, NoisedSum) for event in events)


def cross_check(
    events: Sequence[Event], *, shares: int, delta: float, reported: float
) -> CrossCheck | None:
    """Compare the reported ε (by PLD) with PRV's; None for noise that PRV does not know."""
    if not knows(events):
        return None
    value = prv_epsilon(events, shares=shares, delta=delta)
    difference = value - reported
    return CrossCheck(
        accountant="opacus-prv",
        epsilon=value,
        difference=difference,
        agrees=agrees(difference),
    )
