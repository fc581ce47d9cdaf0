"""Where everything that touches the data before the private release comes from.

ε covers what is released from a tile's features. It covers nothing if the features were made with
the data of others: an encoder trained on the owners' records, or a scaling by their minimum or
mean, lets one tile change every other tile's features, and then no clip of a tile bounds what that
tile does. So each step of preprocessing has a provenance, and a private run takes three kinds:

* `Public`: made from published data or constants (an assumption, printed in the statement);
* `Simulated`: made from data that was drawn by a program;
* `Private`: made from private data by differentially private releases, which are then part of the
  run's budget.

Anything else is `Unproven` and refused with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from feddiff_privacy.errors import PrivacyError
from feddiff_privacy.events import Event, event_from_json

MOST_CHARACTERS = 65_536


class ProvenanceError(PrivacyError):
    """A step of preprocessing that would void the guarantee of everything after it."""


@dataclass(frozen=True, slots=True)
class Public:
    """Made from published data or constants; `source` says which."""

    source: str


@dataclass(frozen=True, slots=True)
class Simulated:
    """Made from simulated data; `source` says by what program and seed."""

    source: str


@dataclass(frozen=True, slots=True)
class Private:
    """Made from private data, with these releases; they count against the same budget."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Unproven:
    """Nothing is known, or it is known to depend on private data; `reason` says which."""

    reason: str


Provenance = Public | Simulated | Private | Unproven


@dataclass(frozen=True, slots=True)
class Step:
    """One step of preprocessing.

    Attributes:
        name: what it is ("hsi branch 5ddb7ace", "scaling of lidar").
        provenance: where its numbers come from.
    """

    name: str
    provenance: Provenance


def parse_provenance(text: str) -> Provenance:
    """Read a provenance line as files carry it; its first word is the kind.

    `public SOURCE`, `simulated SOURCE`, or `dp` and a JSON list of events. A line that is not
    exactly one of these is `Unproven`: what a file leaves out is never guessed.
    """
    kind, _, rest = text.strip().partition(" ")
    source = rest.strip()
    if len(text) > MOST_CHARACTERS:
        return Unproven(f"its provenance has {len(text)} characters, at most {MOST_CHARACTERS}")
    if kind == "public" and source:
        return Public(source)
    if kind == "simulated" and source:
        return Simulated(source)
    if kind == "dp":
        return _private(source)
    return Unproven(f"it says {text[:60]!r}, which is neither public, simulated nor dp")


def _private(source: str) -> Provenance:
    try:
        found = json.loads(source)
        if not isinstance(found, list) or not found:
            return Unproven("it says dp and lists no releases")
        return Private(tuple(event_from_json(event) for event in found))
    except (ValueError, RecursionError, AttributeError, PrivacyError) as error:
        return Unproven(f"it says dp, but its releases are not readable ({error})")


def require_provenance(steps: Sequence[Step]) -> list[Event]:
    """Refuse steps that would void the guarantee; give back what the others spent.

    Returns:
        The releases that have to be composed into the run's budget.

    Raises:
        ProvenanceError: naming the first unproven step and the reason.
    """
    spent: list[Event] = []
    for step in steps:
        if isinstance(step.provenance, Unproven):
            raise ProvenanceError(
                f"{step.name} has no public, simulated or private provenance: "
                f"{step.provenance.reason}; features made with other owners' records let one tile "
                "change all of them, which no noise added later covers"
            )
        if isinstance(step.provenance, Private):
            spent.extend(step.provenance.events)
    return spent
