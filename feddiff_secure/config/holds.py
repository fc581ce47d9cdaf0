"""Who holds what, in words: the values of `--holds` and `--labels`, before there are owners."""

from __future__ import annotations

from typing import Literal, get_args

from feddiff_secure.errors import UsageError

Held = Literal["hsi", "lidar", "both"]
HELD: tuple[Held, ...] = get_args(Held)
ALTERNATE: tuple[Held, ...] = ("hsi", "lidar")
"""The default of topologies in which owners differ: owners of HSI and of LiDAR in turn."""
ALL_LABELS = "all"

_HINT = "give a list such as hsi,lidar,both; a list shorter than the owners repeats"


def modalities_of(held: str) -> tuple[str, ...]:
    """The modalities that a word of `HELD` stands for."""
    return ("hsi", "lidar") if held == "both" else (held,)


def parse_holds(text: str) -> tuple[Held, ...]:
    """Reads `hsi,lidar,both,…`.

    Raises:
        UsageError: an empty list, or another word.
    """
    known: dict[str, Held] = {word: word for word in HELD}
    found: list[Held] = []
    for word in text.split(","):
        if word not in known:
            raise UsageError(f"holds is {text[:80]!r}: {word[:40]!r} is none of {HELD}", _HINT)
        found.append(known[word])
    return tuple(found)


def repeat_holds(pattern: tuple[Held, ...], owners: int, topology: str) -> tuple[Held, ...]:
    """What each owner holds, the pattern repeated.

    Args:
        pattern: what `parse_holds` gave.
        owners: n.
        topology: `mixed` or `split`.

    Raises:
        UsageError: more words than owners, nobody holds a modality, or `both` in split.
    """
    if len(pattern) > owners:
        raise UsageError(f"holds names {len(pattern)} owners, there are {owners}", _HINT)
    if topology == "split" and "both" in pattern:
        raise UsageError(
            "holds: with topology split an owner holds hsi or lidar, not both",
            "use --topology mixed where an owner holds both modalities of its own ground",
        )
    holds = tuple(pattern[number % len(pattern)] for number in range(owners))
    for modality in ("hsi", "lidar"):
        if not any(modality in modalities_of(held) for held in holds):
            raise UsageError(
                f"holds: none of the {owners} owners holds {modality}",
                "name at least one holder of each modality",
            )
    return holds


def parse_labels(text: str, owners: tuple[str, ...]) -> tuple[str, ...]:
    """The owners that hold labels: `all`, or names separated by commas.

    Raises:
        UsageError: an unknown or repeated name.
    """
    if text == ALL_LABELS:
        return owners
    names = tuple(text.split(","))
    for name in names:
        if name not in owners or names.count(name) > 1:
            raise UsageError(
                f"labels: {name[:80]!r} is no owner, or named twice",
                f"give all, or some of {', '.join(owners[:4])}{', …' if len(owners) > 4 else ''}",
            )
    return names
