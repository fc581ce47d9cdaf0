"""The second accountant's opinion of what a run released; apart, because it imports torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from feddiff_privacy.crosscheck import cross_check
from feddiff_privacy.events import Event
from feddiff_privacy.statement import CrossCheck
from feddiff_secure.federation.plan import Plan


def second_opinion(
    plan: Plan, events: Sequence[Event], shares: int, reported: float
) -> CrossCheck | None:
    """What Opacus' PRV says of the same events; None where nothing finite is claimed."""
    if not math.isfinite(reported):
        return None
    return cross_check(events, shares=shares, delta=plan.delta, reported=reported)
