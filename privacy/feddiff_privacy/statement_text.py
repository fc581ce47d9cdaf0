"""The privacy statement as text, for the person who signs or refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from feddiff_privacy.statement import (
    ONE_MACHINE,
    SIMULATED,
    CrossCheck,
    Statement,
    finite,
)

_HELD = {
    SIMULATED: "One process held every owner's data.",
    ONE_MACHINE: "Owners were processes of one machine, whose user could read every owner's data.",
}
"""Deployments in which one place held all data, and how."""
_COLUMNS = (("tile", "add_remove"), ("tile", "replace_one"), ("record", "replace_one"))


def markdown(statement: Statement) -> str:
    """The text of `privacy.md`: the number first, then to whom, resting on what, and what not."""
    parts = (
        ["# Privacy statement", "", _headline(statement), ""],
        _deployment(statement),
        _adversaries(statement),
        _groups(statement),
        _released(statement),
        _accesses(statement),
        ["## Outside (ε, δ), bounded", ""],
        _bullets(f"{name}: {value:.3g}" for name, value in statement.gaps.items()),
        ["## Assumptions", ""],
        _bullets(statement.assumptions),
        ["## Not covered", ""],
        _bullets(statement.not_covered),
        [_made_by(statement), ""],
    )
    return "\n".join(line for part in parts for line in part)


def _headline(statement: Statement) -> str:
    if statement.epsilon_target is None:
        return (
            "**No privacy guarantee.** This run added no noise; it is a non-private baseline and "
            "its model must be treated like the data."
        )
    return (
        f"**ε = {statement.epsilon:.4g} at δ = {statement.delta:g}** (target "
        f"{statement.epsilon_target:g}), for adding or removing one {statement.unit} of one "
        f"owner, towards the coordinator together with {statement.colluders} colluding owner(s)."
    )


def _deployment(statement: Statement) -> list[str]:
    held = _HELD.get(statement.deployment)
    if held is None:
        return []
    return [
        (
            f"**Deployment: {statement.deployment}.** {held} The rows below "
            "say what each adversary *would* learn in a deployment across organisations; they are "
            "hypothetical."
        ),
        "",
    ]


def _adversaries(statement: Statement) -> list[str]:
    hypothetical = " (hypothetical)" if statement.deployment in _HELD else ""
    lines = [
        "## Who could learn how much",
        "",
        (
            f"ε at δ = {statement.delta:g} by adversary, unit and neighbouring relation. A tile "
            f"has side {statement.tile} and belongs to one owner. The noise was calibrated to the "
            f"row `{statement.calibrated_row}`."
        ),
        "",
        (
            "| adversary | tile added or removed | tile replaced | record added, removed or "
            "changed | pixel added, removed or changed |"
        ),
        "|---|---:|---:|---:|---:|",
    ]
    for row in statement.adversaries:
        units = statement.units(row)
        cells = [_value(units[unit][relation]) for unit, relation in _COLUMNS]
        claimed = statement.support == "pixel" and (
            statement.ground is None or row.name == statement.calibrated_row
        )
        pixel = _value(units["pixel"]["replace_one"]) if claimed else "not claimed"
        lines.append(f"| {row.name}{hypothetical} | {' | '.join([*cells, pixel])} |")
    return [
        *lines,
        "",
        "A record or a pixel that is changed, added or removed leaves its tile with other "
        "content, so the tile's *replaced* column bounds it."
        + (
            ""
            if statement.support == "pixel"
            else " Features here were computed from a neighbourhood, so a pixel reaches other "
            "tiles and nothing is claimed for it."
        ),
        *_ground(statement),
        "",
        "What each row rests on:",
        "",
        *_bullets(f"{row.name}: {row.assumption}." for row in statement.adversaries),
    ]


def _ground(statement: Statement) -> list[str]:
    """What ground that several owners hold by topology adds to the table."""
    ground = statement.ground
    if ground is None:
        return []
    return [
        "",
        (
            f"Every tile of ground is in the data of {ground.copies} owners. For the ground tile "
            "with its labels, in all of their data, the row "
            f"`{statement.calibrated_row}` composes to ε = {_value(finite(ground.epsilon))} "
            f"(replaced: {_value(finite(ground.epsilon_replace))}); a pixel is claimed for that "
            "row alone."
        ),
    ]


def _groups(statement: Statement) -> list[str]:
    if not statement.groups:
        return []
    return [
        "## Ground in several tiles",
        "",
        (
            "Ground that k owners hold, or a thing that lies in k tiles, is k tiles that change "
            f"together (row `{statement.calibrated_row}`; not k times ε):"
        ),
        "",
        "| tiles | added or removed | replaced |",
        "|---:|---:|---:|",
        *(
            f"| {row.tiles} | {_number(row.epsilon)} | {_number(row.epsilon_replace)} |"
            for row in statement.groups
        ),
        "",
    ]


def _released(statement: Statement) -> list[str]:
    sampling = [
        f"- {row.phase}: accounted as {row.assumed}; executed as {row.executed}."
        for row in statement.sampling
    ]
    return [
        "## What was released",
        "",
        "| phase | releases | sampling | coordinates | sensitivity | noise share (one owner) |",
        "|---|---:|---|---:|---:|---:|",
        *(
            f"| {e.phase} | {e.attempts} | {e.sampler}, {e.sampling_rate:g} | {e.dimension} | "
            f"{e.sensitivity:.6g} | {e.share_std:.6g} |"
            for e in statement.phases
        ),
        "",
        (
            f"{statement.mechanism} Sensitivity and noise are in grid units. "
            f"Owners n = {statement.owners}, smallest survivor set τ = {statement.threshold}, "
            f"honest shares h = {statement.honest_shares}, colluders c = {statement.colluders}, "
            f"tolerated dropouts d = {statement.dropouts}. "
            f"{_checked(statement)}"
        ),
        "",
        *(["Sampling, assumed and executed:", "", *sampling, ""] if sampling else []),
    ]


def _checked(statement: Statement) -> str:
    if not math.isfinite(statement.epsilon):
        return "No accountant applies."
    check: CrossCheck | None = statement.cross_check
    if check is None:
        return f"ε is by {statement.accountant}; no second accountant knows this noise."
    verdict = "agrees" if check.agrees else "DISAGREES"
    return (
        f"ε is by privacy loss distributions (dp-accounting); {check.accountant} {verdict}: "
        f"{check.epsilon:.4f} (difference {check.difference:+.4f}, expected 0 to 0.02)."
    )


def _accesses(statement: Statement) -> list[str]:
    if not statement.data_accesses:
        return []
    return [
        "## What read the data",
        "",
        "| access | covered by ε | how |",
        "|---|---|---|",
        *(
            f"| {row.what} | {'yes' if row.covered else '**no**'} | {row.how} |"
            for row in statement.data_accesses
        ),
        "",
    ]


def _made_by(statement: Statement) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in statement.libraries.items())
    return (
        f"Random source: {statement.random_source}. Code version {statement.code_version}"
        + (f"; {libraries}" if libraries else "")
        + "."
    )


def _bullets(lines: Iterable[str]) -> list[str]:
    return [*(f"- {line}" for line in lines), ""]


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
