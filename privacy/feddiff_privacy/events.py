"""Privacy events: what was released, as data. Accountants interpret them; nothing here does.

Contract for maintainers: this vocabulary is append-only. The meaning of an existing event or
field never changes, because events written by one version are re-accounted by another. A new
mechanism is a new event class with a new `kind`; an accountant that does not know a kind refuses
it (`UnsupportedEventError`) before it changes any state. The canonical bytes of one event of every
kind are kept in tests/privacy/golden_events.json: lines are added there, never changed.

An event holds what the mechanism *did* in integer grid units, not a noise multiplier: how much
noise stands between the data and an observer depends on how many owners' noise shares that
observer cannot subtract, and that is the accountant's question, not the event's.

The JSON form is RFC 8785 (`to_bytes`), in which one event has one sequence of bytes. It writes the
number 1.0 as 1, so readers take an integer where a number is asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar, Literal, Self

import rfc8785

from feddiff_privacy.errors import UnsupportedEventError

Sampler = Literal["full_batch", "poisson"]

MOST_EVENT_BYTES = 4096
MOST_PHASE_CHARACTERS = 64
MOST_INTEGER = 2**53 - 1  # of RFC 8785


@dataclass(frozen=True, slots=True)
class _Sum:
    """What all kinds have in common: see `NoisedSum`."""

    phase: str
    attempts: int
    sampling_rate: float
    sampler: Sampler
    sensitivity: float
    share_std: float
    dimension: int

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise UnsupportedEventError(f"attempts must be at least 1, got {self.attempts}")
        if not 0 < self.sampling_rate <= 1:
            raise UnsupportedEventError(f"sampling_rate {self.sampling_rate} is not in (0, 1]")
        if self.sampler not in {"full_batch", "poisson"}:
            raise UnsupportedEventError(
                f"sampler {self.sampler!r} is not accounted: amplification by sampling holds for "
                "independent (Poisson) inclusion only"
            )
        if self.sampler == "full_batch" and self.sampling_rate != 1:
            raise UnsupportedEventError(
                f"a full batch has sampling_rate 1, got {self.sampling_rate}"
            )
        if not (math.isfinite(self.sensitivity) and self.sensitivity > 0):
            raise UnsupportedEventError(f"sensitivity must be above 0, got {self.sensitivity}")
        if not (math.isfinite(self.share_std) and self.share_std >= 0):
            raise UnsupportedEventError(f"share_std must be at least 0, got {self.share_std}")
        if self.dimension < 1:
            raise UnsupportedEventError(f"dimension must be at least 1, got {self.dimension}")

    def noise_multiplier(self, shares: int) -> float:
        """Noise standard deviation over sensitivity for an observer facing `shares` shares."""
        if shares < 0:
            raise ValueError(f"shares must be at least 0, got {shares}")
        return self.share_std * math.sqrt(shares) / self.sensitivity

    def to_json(self) -> dict[str, str | int | float]:
        """A flat JSON object with the event's kind."""
        return {"kind": self.kind, **asdict(self)}

    def to_bytes(self) -> bytes:
        """The one canonical form of the event (RFC 8785): what is hashed, signed and stored."""
        return rfc8785.dumps(self.to_json())

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Read back what `to_json` wrote; strict in fields and types.

        Raises:
            UnsupportedEventError: another kind, a missing or unknown field, a wrong type.
        """
        if data.get("kind") != cls.kind:
            raise UnsupportedEventError(f"unknown event kind {data.get('kind')!r}")
        types = {f.name: str(f.type) for f in fields(cls)}
        if set(data) != {*types, "kind"}:
            raise UnsupportedEventError(f"event has fields {sorted(data)}, not {sorted(types)}")
        return cls(**{name: _read(name, data[name], types[name]) for name in types})  # type: ignore[arg-type]  # checked by _read


@dataclass(frozen=True, slots=True)
class NoisedSum(_Sum):
    """`attempts` releases of a sum of clipped tiles plus independent integer noise shares.

    Each release samples tiles independently with probability `sampling_rate` (1 means all of
    them), sums integer vectors in which one tile moves the sum by at most `sensitivity` in L2,
    and adds one discrete Gaussian share of standard deviation `share_std` from every owner.

    Attributes:
        phase: name of the phase ("count", "train"), for people.
        attempts: number of releases, aborted ones included; ≥ 1.
        sampling_rate: Poisson inclusion probability in (0, 1]; 1 for the full batch.
        sampler: how the batch was drawn. Only these two are accounted; a shuffled fixed-size
            batch is neither, and may not be written down as one of them.
        sensitivity: L2 sensitivity under add/remove of one tile, in grid units; > 0.
        share_std: standard deviation of one owner's noise share, in grid units; 0 for no noise.
        dimension: number of coordinates released.
    """

    kind: ClassVar[str] = "noised_sum/1"


@dataclass(frozen=True, slots=True)
class SkellamSum(_Sum):
    """As `NoisedSum`, with Skellam shares of variance `share_std`² and mean 0 instead.

    Skellam noise has heavier tails than a Gaussian, and its privacy depends on the L1 sensitivity
    too (Agarwal, Kairouz and Liu 2021, arXiv 2110.04995). It is accounted by its own Rényi bound
    and by nothing else.

    Attributes:
        sensitivity_l1: L1 sensitivity under add/remove of one tile, in grid units; at least
            `sensitivity` and at most √dimension times it.
    """

    sensitivity_l1: float

    kind: ClassVar[str] = "skellam_sum/1"

    def __post_init__(self) -> None:
        _Sum.__post_init__(self)
        most = math.sqrt(self.dimension) * self.sensitivity
        if not self.sensitivity * (1 - 1e-9) <= self.sensitivity_l1 <= most * (1 + 1e-9):
            raise UnsupportedEventError(
                f"sensitivity_l1 {self.sensitivity_l1} is not between the L2 sensitivity "
                f"{self.sensitivity} and {most}"
            )


Event = NoisedSum | SkellamSum
KINDS: dict[str, type[NoisedSum] | type[SkellamSum]] = {
    NoisedSum.kind: NoisedSum,
    SkellamSum.kind: SkellamSum,
}


def event_from_json(data: Mapping[str, object]) -> Event:
    """Read an event of any kind of the vocabulary.

    Raises:
        UnsupportedEventError: an unknown kind, or fields that are not exactly that kind's.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnsupportedEventError(f"unknown event kind {str(kind)[:60]!r}")
    return KINDS[kind].from_json(data)


def event_from_bytes(data: bytes) -> Event:
    """Read an event's canonical bytes; anything that is not written exactly so is refused.

    Raises:
        UnsupportedEventError: too long, not JSON, not canonical, or not an event.
    """
    if len(data) > MOST_EVENT_BYTES:
        raise UnsupportedEventError(f"event has {len(data)} bytes, at most {MOST_EVENT_BYTES}")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnsupportedEventError("event is not JSON") from error
    if not isinstance(found, dict):
        raise UnsupportedEventError("event is not a JSON object")
    event = event_from_json(found)
    if event.to_bytes() != data:
        raise UnsupportedEventError("event is not in its canonical form (RFC 8785)")
    return event


def _read(name: str, value: object, expected: str) -> str | int | float:
    """One field of an event as the type its class gives it."""
    if expected == "float":
        if type(value) is int or type(value) is float:
            try:
                return float(value)
            except OverflowError as error:
                raise UnsupportedEventError(f"event field {name} is too large") from error
    elif expected == "int":
        if type(value) is int and abs(value) <= MOST_INTEGER:
            return value
    elif isinstance(value, str) and len(value) <= MOST_PHASE_CHARACTERS:
        return value
    raise UnsupportedEventError(f"event field {name} is {str(value)[:60]!r}, not {expected}")
