"""What a verification found, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from feddiff_crypto.errors import CryptoError
from feddiff_privacy.errors import PrivacyError
from feddiff_secure.errors import FeddiffError

STEPS: Final = (
    "signatures and roster",
    "log, checkpoints and witnesses",
    "sums recomputed",
    "model re-derived",
    "epsilon recomputed",
    "ledgers agree",
    "every file listed",
    "attestation",
)


class Status(StrEnum):
    """How a step ended."""

    OK = "ok"
    PARTLY = "not recomputed"
    FAILED = "failed"
    NOT_RUN = "not run"


class StepFailedError(Exception):
    """A step found something wrong; its argument is the evidence."""


@dataclass(slots=True)
class Step:
    """One step.

    Attributes:
        number: from 1, as in docs/audit.md and in `verify`.
        name: of the step.
        status: how it ended; `not recomputed` where signatures alone were checked.
        detail: what was checked, or the evidence.
    """

    number: int
    name: str
    status: Status = Status.NOT_RUN
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "step": self.number,
            "name": self.name,
            "status": self.status.value,
            "detail": self.detail,
        }


@dataclass(slots=True)
class Verdict:
    """The steps, and what a reader must know beside them.

    Attributes:
        steps: in order.
        notes: limits of the verdict, such as identities that nobody pinned.
    """

    steps: list[Step] = field(
        default_factory=lambda: [Step(n, name) for n, name in enumerate(STEPS, start=1)]
    )
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> Step | None:
        """The first step that failed."""
        return next((step for step in self.steps if step.status is Status.FAILED), None)

    @property
    def verified(self) -> bool:
        """Whether no step failed."""
        return self.failed is None

    @contextmanager
    def step(self, number: int) -> Iterator[Step]:
        """Run a step: an error that what is read can cause becomes its evidence.

        Raises:
            StepFailedError: the step failed; later steps do not run.
        """
        step = self.steps[number - 1]
        try:
            yield step
        except StepFailedError as error:
            self._fail(step, str(error))
            raise
        except (CryptoError, FeddiffError, PrivacyError) as error:
            self._fail(step, f"{type(error).__name__}: {error}")
            raise StepFailedError(step.detail) from error
        if step.status is Status.NOT_RUN:
            step.status = Status.OK

    @staticmethod
    def _fail(step: Step, evidence: str) -> None:
        step.status, step.detail = Status.FAILED, evidence

    def to_json(self) -> dict[str, Any]:
        """One object."""
        failed = self.failed
        return {
            "verified": self.verified,
            "failed_step": None if failed is None else failed.number,
            "steps": [step.to_json() for step in self.steps],
            "notes": list(self.notes),
        }

    def to_lines(self) -> list[str]:
        """Words for a terminal."""
        lines = [
            f"{step.number}. {step.name:<31} {step.status.value:<15} {step.detail}".rstrip()
            for step in self.steps
        ]
        return [*lines, *(f"note: {note}" for note in self.notes)]


def require(holds: bool, evidence: str) -> None:
    """Go on if `holds`.

    Raises:
        StepFailedError: it does not.
    """
    if not holds:
        raise StepFailedError(evidence)
