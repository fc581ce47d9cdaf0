"""The releases of a plan, in their order: what a complete run has, and in which sequence."""

from __future__ import annotations

from feddiff_secure.federation.plan import Plan


def releases(plan: Plan) -> list[tuple[str, int]]:
    """(phase, round within it) of every sum that the plan releases, in order."""
    return [(phase, index) for phase, rounds in plan.phases.items() for index in range(rounds)]
