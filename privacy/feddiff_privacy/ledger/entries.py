"""The lines of a ledger: four kinds, each with exactly one form.

A line is the RFC 8785 canonical JSON of one flat object. Every line carries its number `seq`
(from 0) and, but for the first, `prev`: the SHA-256 of the line before it, without its newline.

| kind | says |
|---|---|
| `header` | whose ledger this is and the rules that never change: version, owner, holding, salt, lifetime ε (null: no limit), δ, and the order of the Rényi filter |
| `reserve` | a plan was accepted: its digest, its events at their most attempts, the noise shares that the calibrated observer faces, salted evidence of the tiles, the rule that admitted it |
| `spend` | one attempt of one phase is about to leave; written before it does |
| `close` | a reservation is over; what it did not spend is released |

Contract for maintainers: a new kind, field or rule is a new `version`. A reader refuses what it
does not know, because skipping a line would forget what was spent.
"""  # noqa: E501  # a table row is one line

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import rfc8785

from feddiff_privacy.errors import PrivacyError
from feddiff_privacy.events import Event, event_from_json

FORMAT = "feddiff-ledger"
VERSION = 1
MOST_LINE_BYTES = 16_384
MOST_EVENTS = 16  # in one plan
MOST_ATTEMPTS = 1_000_000  # of one event
MOST_SHARES = 1_000
MOST_ENTRIES = 1_000_000
MOST_LIFETIME = 1_000.0  # ε
MOST_ORDER = 4_096.0

Rule = Literal["renyi", "pld", "unlimited"]

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)  # as the registry's names
_HOLDING = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)  # no dot: it ends an owner
_PHASE = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


def is_holding_name(name: str) -> bool:
    """Whether `name` is 1 to 64 ASCII letters, digits, `_` and `-`, not led by a sign."""
    return _HOLDING.fullmatch(name) is not None


class LineError(PrivacyError):
    """A line that is not one of a ledger; the reader of the file adds its number."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first entry: what never changes.

    Attributes:
        owner: whose ledger. holding: name of the data that it is kept for.
        salt: 16 random bytes as hex, so that evidence of tiles cannot be guessed.
        lifetime_epsilon: ε that all plans together never exceed; None for no limit.
        delta: δ that goes with it.
        order: α of the Rényi filter.
    """

    owner: str
    holding: str
    salt: str
    lifetime_epsilon: float | None
    delta: float
    order: float
    format: str = FORMAT
    version: int = VERSION

    kind: ClassVar[str] = "header"


@dataclass(frozen=True, slots=True)
class Reserve:
    """A plan was accepted.

    Attributes:
        plan: SHA-256 of the plan, hex.
        events: its phases, each at its most attempts; phase names differ.
        shares: noise shares that the observer of the calibrated row faces.
        evidence: SHA-256 of the salt and the digest of the tiles, hex.
        rule: which rule of `admission` let it in.
    """

    plan: str
    events: tuple[Event, ...]
    shares: int
    evidence: str
    rule: Rule

    kind: ClassVar[str] = "reserve"


@dataclass(frozen=True, slots=True)
class Spend:
    """One attempt.

    Attributes:
        reservation: `seq` of the reserve entry it draws on.
        phase: which of its events.
        attempt: its number among the attempts of that phase, from 1.
    """

    reservation: int
    phase: str
    attempt: int

    kind: ClassVar[str] = "spend"


@dataclass(frozen=True, slots=True)
class Close:
    """A reservation is over.

    Attributes:
        reservation: `seq` of the reserve entry.
    """

    reservation: int

    kind: ClassVar[str] = "close"


Entry = Header | Reserve | Spend | Close


def to_line(entry: Entry, seq: int, prev: str | None) -> bytes:
    """The one form of an entry at its place in the chain, without newline.

    Raises:
        LineError: a field outside its bounds, so that nothing unreadable is ever written.
    """
    fields: dict[str, Any] = {"kind": entry.kind, "seq": seq, **asdict(entry)}
    if prev is not None:
        fields["prev"] = prev
    if isinstance(entry, Reserve):
        fields["events"] = [event.to_json() for event in entry.events]
    line = rfc8785.dumps(fields)
    if from_line(line, seq, prev) != entry:
        raise LineError("the entry does not read back as it was written")
    return line


def from_line(line: bytes, seq: int, prev: str | None) -> Entry:
    """Read the line that must follow, in the chain, on the one whose SHA-256 is `prev`.

    Raises:
        LineError: not canonical, of an unknown kind, with missing or unknown fields, a value
            outside its bounds, another number, or another predecessor.
    """
    if len(line) > MOST_LINE_BYTES:
        raise LineError(f"longer than {MOST_LINE_BYTES} bytes")
    try:
        fields = json.loads(line)
        again = rfc8785.dumps(fields)
    except (ValueError, RecursionError) as error:  # bad text, bad JSON, huge numbers, nesting
        raise LineError(f"not JSON: {str(error)[:80]}") from None
    if not isinstance(fields, dict) or again != line:
        raise LineError("not the canonical JSON of an object")
    checks = _FIELDS.get(str(fields.get("kind")))
    if checks is None:
        raise LineError(f"unknown kind {str(fields.get('kind'))[:40]!r}")
    chained = {"kind", "seq"} | (set() if prev is None else {"prev"})
    if fields.keys() != checks.keys() | chained:
        raise LineError(f"fields differ: {sorted(fields.keys() ^ (checks.keys() | chained))[:8]}")
    if type(fields["seq"]) is not int or fields["seq"] != seq:
        raise LineError(f"seq is {str(fields['seq'])[:20]}, not {seq}")
    if prev is not None and fields["prev"] != prev:
        raise LineError("the hash of the line before it differs")
    for name, check in checks.items():
        if not check(fields[name]):
            raise LineError(f"{name} is {str(fields[name])[:60]!r}")
    return _entry(fields.pop("kind"), {name: fields[name] for name in checks})


def _entry(kind: str, values: dict[str, Any]) -> Entry:
    if kind == Reserve.kind:
        values["events"] = _events(values["events"])
        return Reserve(**values)
    classes: dict[str, type[Header | Spend | Close]] = {
        Header.kind: Header,
        Spend.kind: Spend,
        Close.kind: Close,
    }
    return classes[kind](**values)


def _events(values: list[Mapping[str, object]]) -> tuple[Event, ...]:
    try:
        events = tuple(event_from_json(value) for value in values)
    except (PrivacyError, OverflowError) as error:
        raise LineError(f"events: {error}") from None
    phases = [event.phase for event in events]
    if len(set(phases)) != len(phases) or not all(map(_PHASE.fullmatch, phases)):
        raise LineError(f"events: phase names {str(phases)[:60]} repeat or are none")
    if any(event.attempts > MOST_ATTEMPTS for event in events):
        raise LineError(f"events: more than {MOST_ATTEMPTS} attempts")
    return events


_Check = Callable[[object], bool]


def _integer(low: int, high: int) -> _Check:
    return lambda value: type(value) is int and low <= value <= high


def _number(low: float, high: float) -> _Check:
    # Canonical JSON writes 1.0 as 1, so an integer is a number too; a bool is not.
    return lambda value: (
        (type(value) is int or type(value) is float)
        and math.isfinite(value)
        and low <= value <= high
    )


def _text(pattern: re.Pattern[str]) -> _Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _hex(digits: int) -> _Check:
    return _text(re.compile(rf"[0-9a-f]{{{digits}}}", re.ASCII))


def _limit(value: object) -> bool:
    return value is None or _number(1e-6, MOST_LIFETIME)(value)


def _event_list(value: object) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MOST_EVENTS
        and all(isinstance(event, dict) for event in value)
    )


_FIELDS: dict[str, dict[str, _Check]] = {
    Header.kind: {
        "format": lambda value: value == FORMAT,
        "version": lambda value: type(value) is int and value == VERSION,
        "owner": _text(_OWNER),
        "holding": _text(_HOLDING),
        "salt": _hex(32),
        "lifetime_epsilon": _limit,
        "delta": _number(1e-300, 1 - 1e-9),
        "order": lambda value: value != 1 and _number(1, MOST_ORDER)(value),
    },
    Reserve.kind: {
        "plan": _hex(64),
        "events": _event_list,
        "shares": _integer(0, MOST_SHARES),
        "evidence": _hex(64),
        "rule": lambda value: value in {"renyi", "pld", "unlimited"},
    },
    Spend.kind: {
        "reservation": _integer(1, MOST_ENTRIES),
        "phase": _text(_PHASE),
        "attempt": _integer(1, MOST_ATTEMPTS),
    },
    Close.kind: {"reservation": _integer(1, MOST_ENTRIES)},
}
