"""Privacy events: what was released, as data. Accountants interpret them; nothing here does.

Contract for maintainers: this vocabulary is append-only. The meaning of an existing event or
field never changes, because events written by one version are re-accounted by another. A new
mechanism is a new event class with a new `kind`; an accountant that does not know a kind refuses
it (`UnsupportedEventError`) before it changes any state.

An event holds what the mechanism *did* in integer grid units, not a noise multiplier: how much
noise stands between the data and an observer depends on how many owners' noise shares that
observer cannot subtract, and that is the accountant's question, not the event's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Self

from feddiff_privacy.errors import UnsupportedEventError

Sampler = Literal["full_batch", "poisson"]


@dataclass(frozen=True, slots=True)
class NoisedSum:
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

    phase: str
    attempts: int
    sampling_rate: float
    sampler: Sampler
    sensitivity: float
    share_std: float
    dimension: int

    kind = "noised_sum/1"

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

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Read back what `to_json` wrote; strict in fields and types.

        Raises:
            UnsupportedEventError: another kind, a missing or unknown field, a wrong type.
        """
        if data.get("kind") != cls.kind:
            raise UnsupportedEventError(f"unknown event kind {data.get('kind')!r}")
        types: dict[str, type | tuple[type, ...]] = {
            "phase": str,
            "attempts": int,
            "sampling_rate": (int, float),
            "sampler": str,
            "sensitivity": (int, float),
            "share_std": (int, float),
            "dimension": int,
        }
        if set(data) != {*types, "kind"}:
            raise UnsupportedEventError(f"event has fields {sorted(data)}, not {sorted(types)}")
        for name, expected in types.items():
            if isinstance(data[name], bool) or not isinstance(data[name], expected):
                raise UnsupportedEventError(f"event field {name} has type {type(data[name])}")
        return cls(**{name: data[name] for name in types})  # type: ignore[arg-type]  # checked above
