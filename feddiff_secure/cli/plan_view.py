"""What `run --dry-run` prints: the plan of a run in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feddiff_secure.config.paper import NO_GUARANTEE

if TYPE_CHECKING:
    from feddiff_secure.federation.foresight import Foresight


def plan_lines(seen: Foresight) -> list[str]:
    """The plan for a person."""
    found = seen.to_json()
    names, counts = found["owners"], found["tiles_by_owner"]
    held = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))
    lines = [
        "plan of a run: nothing was released, charged or written",
        f"owners      {len(names)}; tiles: {held}",
        "            (an owner's own count is private: it is shown because this run is simulated)",
        f"test        {found['test']}, {found['test_tiles']} tiles; tiles of side {found['tile']}",
    ]
    if seen.plan is None:
        return [
            *lines,
            f"privacy     {NO_GUARANTEE}: profile paper",
            f"rounds      {found['rounds']}",
        ]
    plan = seen.plan
    lines.append(
        f"protocol    topology {plan.topology}, aggregation {plan.aggregation}, noise "
        f"{plan.noise}, colluders {plan.colluders}, dropouts {plan.dropouts}"
    )
    if plan.epsilon is None:
        lines.append(f"privacy     {NO_GUARANTEE}: non-private baseline")
    else:
        lines.append(
            f"privacy     epsilon {plan.epsilon:g} at delta {plan.delta:g}, noise multiplier "
            f"{plan.noise_multiplier:.4g}; epsilon by adversary:"
        )
        lines += [f"  {row.name:<27} {row.epsilon:8.3f}" for row in seen.adversaries]
    lines += [
        f"  left in the ledger of {name}: {'no limit' if left is None else f'{left:.4g}'}"
        for name, left in seen.left.items()
    ]
    phases = ", ".join(f"{count} {phase}" for phase, count in plan.phases.items())
    megabytes = found["vector_bytes_per_owner"] / 1e6
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in seen.seconds.items())
    return [
        *lines,
        f"rounds      {found['releases']} releases: {phases}",
        f"bytes up    {megabytes:.2f} MB an owner in vectors; keys and signatures take kilobytes",
        f"seconds     {sum(seen.seconds.values()):.0f} (estimate: {stages})",
    ]
