"""The public numbers of a fused prediction: partial class scores of several owners, summed.

With the additive model the scores of a pixel are Σ_m W_m ψ_m, and in split each term is with
another owner. The owners' partial scores, on an integer grid and without noise, go through the
masked (or encrypted) protocol like a gradient. Only the named recipient learns the sum: it takes
part in it with a pad, uniform in the ring, that it alone can take off again. So neither the
coordinator, which unmasks the sum, nor the owners, who decrypt it in encrypted mode, see it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray

from feddiff_crypto.fixedpoint import Grid
from feddiff_crypto.hybrid import KeyAgreement
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.context import RoundContext
from feddiff_crypto.masking.policy import MAX_OWNERS, Policy
from feddiff_secure.config.holds import HELD
from feddiff_secure.model.model_file import Model, model_bytes

MOST_PIXELS = 1 << 31
MOST_VALUES = 1 << 22  # elements of one sum: 16 MiB, 128 MiB encrypted


@dataclass(frozen=True, slots=True)
class PredictionPlan:
    """What every party agrees on before a score leaves an owner.

    Attributes:
        session: 16 random bytes as hex.
        model: SHA-256 of the model file, hex.
        owners: that contribute, in order of name.
        holds: what each of them holds.
        recipient: who gets the fused scores; an owner, or a party of its own.
        aggregation: `masked` or `encrypted`.
        key_agreement: `x25519`, or `hybrid` for X25519 and ML-KEM-768.
        pixels: of the ground that both modalities cover.
        classes: K.
        batch: pixels a sum.
        scale: grid units per unit of score.
    """

    session: str
    model: str
    owners: tuple[str, ...]
    holds: tuple[str, ...]
    recipient: str
    aggregation: str
    key_agreement: str
    pixels: int
    classes: int
    batch: int
    scale: float

    @property
    def parties(self) -> tuple[str, ...]:
        """All that take part in the sums: the owners and the recipient."""
        return tuple(sorted({*self.owners, self.recipient}))

    @property
    def policy(self) -> Policy:
        """Nobody may be missing: a sum without one of the parties would be another's part."""
        return Policy(owners=len(self.parties))

    @property
    def agreement(self) -> KeyAgreement:
        """How the parties agree on the keys of masks and sealed shares."""
        return KeyAgreement(self.key_agreement)

    @property
    def grid(self) -> Grid:
        """The fixed-point grid of scores."""
        return Grid(scale=self.scale)

    @property
    def batches(self) -> int:
        """Number of sums."""
        return -(-self.pixels // self.batch)

    def rows(self, number: int) -> slice:
        """The pixels of one sum."""
        return slice(number * self.batch, min(self.pixels, (number + 1) * self.batch))

    def dimension(self, number: int) -> int:
        """Elements of one sum."""
        first, last = number * self.batch, min(self.pixels, (number + 1) * self.batch)
        return (last - first) * self.classes

    def context(self, number: int) -> RoundContext:
        """What every key and signature of one sum is bound to."""
        return RoundContext(
            session=self.session,
            round_index=number,
            attempt=0,
            model_hash=bytes.fromhex(self.model),
            config_hash=self.digest(),
        )

    def held(self, party: str) -> str | None:
        """What a party holds; None for a recipient that holds nothing."""
        return dict(zip(self.owners, self.holds, strict=True)).get(party)

    def to_json(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        listed = {"owners": list(self.owners), "holds": list(self.holds)}
        return rfc8785.dumps({**asdict(self), **listed})

    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(b"feddiff prediction plan\0" + self.to_json()).digest()

    @classmethod
    def from_json(cls, data: bytes) -> PredictionPlan:
        """Read a plan; only canonical bytes with exactly the known fields are accepted.

        Raises:
            ValueError: anything else.
        """
        fields: Any = json.loads(data)
        if not isinstance(fields, dict) or set(fields) != set(_FIELDS):
            raise ValueError("not a prediction plan: its fields differ")
        for name, check in _FIELDS.items():
            if not check(fields[name]):
                raise ValueError(f"not a prediction plan: {name} is {str(fields[name])[:60]!r}")
        plan = cls(**{**fields, "owners": tuple(fields["owners"]), "holds": tuple(fields["holds"])})
        if plan.to_json() != data or len(plan.owners) != len(plan.holds):
            raise ValueError("not a prediction plan: not canonical, or holds are not one an owner")
        if plan.batch * plan.classes > MOST_VALUES:
            raise ValueError(f"not a prediction plan: more than {MOST_VALUES} values a sum")
        return plan


def score_scale(weights: NDArray[np.float64], parties: int) -> float:
    """The finest power of two for which no sum of scores can leave the ring ℤ₂³².

    ‖ψ‖ ≤ 1 over all modalities, so a score of class k, partial or fused, is at most ‖W_k‖ in size.

    Args:
        weights: W, (K, D): public to the owners.
        parties: vectors summed; each rounding adds at most half a unit.
    """
    bound = max(float(np.sqrt(np.square(weights).sum(axis=1)).max()), 1e-6)
    room = ((1 << 31) - 1 - parties) / (2 * bound)  # 2: margin for ψ in float32
    return float(2.0 ** math.floor(math.log2(room)))


def model_digest(model: Model) -> str:
    """SHA-256 of the model file, hex."""
    return hashlib.sha256(model_bytes(model)).hexdigest()


def _names(value: object) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= MAX_OWNERS - 1
        and all(isinstance(name, str) and is_party_name(name) for name in value)
        and sorted(set(value)) == value
    )


def _integer(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _hex(digits: int) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, str) and len(value) == digits and set(value) <= set("0123456789abcdef")
    )


_FIELDS: dict[str, Callable[[object], bool]] = {
    "session": _hex(32),
    "model": _hex(64),
    "owners": _names,
    "holds": lambda value: isinstance(value, list) and all(word in HELD for word in value),
    "recipient": lambda value: isinstance(value, str) and is_party_name(value),
    "aggregation": lambda value: value in {"masked", "encrypted"},
    "key_agreement": lambda value: isinstance(value, str) and value in set(KeyAgreement),
    "pixels": _integer(1, MOST_PIXELS),
    "classes": _integer(1, 255),
    "batch": _integer(1, MOST_VALUES),
    "scale": lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 2.0**-40 <= value <= 2.0**60
    ),
}
