"""One message that passed between an owner and the coordinator, and what is known of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from feddiff_crypto.encoding import Value
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.digests import message_bytes
from feddiff_secure.transcript.leaves import AttemptKey


class Direction(StrEnum):
    """Seen from the owner."""

    SENT = "sent"
    RECEIVED = "received"


class Evidence(StrEnum):
    """What shows that a message passed, and of what size."""

    RECORDED = "recorded"  # it follows from the transcript whole, or its hash is there
    FORM = "size by its form"  # a later message shows that it passed; its content was not kept
    UNKNOWN = "not in the log"  # nothing shows whether it passed


SENT: Final[Mapping[str, tuple[str, str]]] = {
    "plan": ("acceptance of the plan", "public"),
    "roster": ("signature of names, keys and plan", "public"),
    "train": ("that it is ready; in encrypted mode the hash of its model", "public"),
    "advertise": ("one-time public keys, signed", "public"),
    "share": ("shares of one-time secrets, for the other owners", "sealed"),
    "consistency": ("signature of who is in the sum", "public"),
    "unmask": ("shares that open masks of the sum", "opened for the sum"),
    "decrypt": ("signed hash of the sum", "public"),
    "witness": ("cosignature of the log, with the time", "public"),
    "end": ("signed head of its ledger; in encrypted mode the hash of its model", "public"),
}
"""Phase → what the owner's message holds, and how it is protected; vectors apart."""

RECEIVED: Final[Mapping[str, str]] = {
    "plan": "the plan",
    "roster": "the log's first leaf",
    "train": "which release; the model, but in encrypted mode",
    "advertise": "a request for keys",
    "share": "everyone's one-time public keys",
    "mask": "the others' sealed shares",
    "plain": "a request for the vector",
    "consistency": "who is in the sum; in encrypted mode the sum of ciphertexts",
    "unmask": "signatures of who is in the sum",
    "decrypt": "signatures and secrets that take the masks off the sum",
    "witness": "a checkpoint of the log with its proofs",
    "end": "that the run is over",
}
"""Phase → what the coordinator's message holds."""

VECTORS: Final = ("mask", "plain")
"""The phases whose message is made from the owner's data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """One message.

    Attributes:
        direction: seen from the owner. phase: of the exchange.
        release: which release it belongs to; None outside of one.
        leaves: of a witness's messages, the size of the log; None for others.
        holds: what is in it, in words.
        protection: `masked`, `masked and encrypted`, `NOT masked`, `sealed`, or `public`, with
            `noised` or `NOT noised` for a vector.
        size: bytes in the codec; None where it is not known.
        sha256: of these bytes; None where they were not kept.
        evidence: what shows it.
    """

    direction: Direction
    phase: str
    release: AttemptKey | None = None
    leaves: int | None = None
    holds: str
    protection: str
    size: int | None
    sha256: bytes | None
    evidence: Evidence

    @property
    def is_vector(self) -> bool:
        """Whether it was made from the owner's data."""
        return self.direction is Direction.SENT and self.phase in VECTORS

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "direction": self.direction.value,
            "phase": self.phase,
            "release": None if self.release is None else self.release.to_json(),
            "leaves": self.leaves,
            "holds": self.holds,
            "protection": self.protection,
            "from_data": self.is_vector,
            "bytes": self.size,
            "sha256": None if self.sha256 is None else self.sha256.hex(),
            "evidence": self.evidence.value,
        }


def protection_of_vector(plan: Plan) -> str:
    """How an owner's vector is protected in a run of this plan."""
    mask = {"masked": "masked", "encrypted": "masked and encrypted"}.get(
        plan.aggregation, "NOT masked"
    )
    return f"{mask}, {'NOT noised' if plan.noise == 'none' else 'noised'}"


@dataclass(frozen=True, slots=True)
class Passing:
    """Makes the messages of one place in a run.

    Attributes:
        plan: of the run.
        release, leaves: as in `Passed`.
    """

    plan: Plan
    release: AttemptKey | None = None
    leaves: int | None = None

    def known(
        self, direction: Direction, phase: str, message: Mapping[str, Value], *, hashed: bool = True
    ) -> Passed:
        """A message of which the content is known, or with `hashed` False only the form."""
        data = message_bytes(message)
        return self._make(
            direction,
            phase,
            size=len(data),
            sha256=hashlib.sha256(data).digest() if hashed else None,
            evidence=Evidence.RECORDED if hashed else Evidence.FORM,
        )

    def hashed(self, phase: str, message: Mapping[str, Value], sha256: bytes) -> Passed:
        """A message sent of which the log has the hash, and `message` is of its form."""
        size = len(message_bytes(message))
        return self._make(
            Direction.SENT, phase, size=size, sha256=sha256, evidence=Evidence.RECORDED
        )

    def passed(self, direction: Direction, phase: str) -> Passed:
        """A message that passed, of unknown size."""
        return self._make(direction, phase, size=None, sha256=None, evidence=Evidence.FORM)

    def unknown(self, direction: Direction, phase: str) -> Passed:
        """A message of which nothing shows whether it passed."""
        return self._make(direction, phase, size=None, sha256=None, evidence=Evidence.UNKNOWN)

    def _make(
        self,
        direction: Direction,
        phase: str,
        *,
        size: int | None,
        sha256: bytes | None,
        evidence: Evidence,
    ) -> Passed:
        if direction is Direction.RECEIVED:
            holds, protection = RECEIVED[phase], "public" if phase != "mask" else "sealed"
        elif phase in VECTORS:
            holds, protection = "the vector of this release", protection_of_vector(self.plan)
        else:
            holds, protection = SENT[phase]
        return Passed(
            direction=direction,
            phase=phase,
            release=self.release,
            leaves=self.leaves,
            holds=holds,
            protection=protection,
            size=size,
            sha256=sha256,
            evidence=evidence,
        )
