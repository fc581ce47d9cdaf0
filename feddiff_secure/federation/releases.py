"""The releases of a plan: their order, and the public rule for attempts that are lost.

A plan has a number of attempts for each of its phases. Every attempt is completed or lost, and is
charged either way. A lost one is redone as long as attempts are left beyond the rounds that are
still to come; where there are none, it uses up one of the rounds, and the run ends that much short:

    rounds of a phase = min(rounds of the plan, most attempts - attempts lost)

Coordinator and verifier follow the same course.
"""

from __future__ import annotations

from collections import Counter

from feddiff_privacy.events import Event
from feddiff_secure.federation.plan import Plan
from feddiff_secure.transcript.leaves import AttemptKey


def releases(plan: Plan) -> list[tuple[str, int]]:
    """(phase, round within it) of every sum that the plan releases, in order, if none is lost."""
    return [(phase, index) for phase, rounds in plan.phases.items() for index in range(rounds)]


class Course:
    """What of a plan was completed or lost, and which attempt comes next.

    Args:
        plan: the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.done: Counter[str] = Counter()
        """Rounds completed, by phase."""
        self.lost: Counter[str] = Counter()
        """Attempts lost, by phase."""
        self._retries = 0  # of the round that comes next

    def rounds(self, phase: str) -> int:
        """Rounds that a phase has after what was lost."""
        plan = self._plan
        left = plan.most_attempts(phase) - self.lost[phase]
        return max(0, min(plan.phases.get(phase, 0), left))

    @property
    def exhausted(self) -> str | None:
        """The phase of which no round was completed and no attempt is left; None as a rule."""
        for phase in self._plan.phases:
            if self.rounds(phase) == 0:
                return phase
        return None

    @property
    def next(self) -> AttemptKey | None:
        """The next attempt; None after the last, or where a phase is exhausted."""
        if self.exhausted is not None:
            return None
        for phase in self._plan.phases:
            if self.done[phase] < self.rounds(phase):
                return AttemptKey(phase, self.done[phase], self._retries)
        return None

    def complete(self) -> None:
        """Book the next attempt as completed."""
        self.done[self._due().phase] += 1
        self._retries = 0

    def lose(self) -> None:
        """Book the next attempt as lost: it was charged, or may have been, and gave no sum."""
        self.lost[self._due().phase] += 1
        self._retries += 1

    def attempts(self, phase: str) -> int:
        """Attempts made of a phase, lost ones included."""
        return self.done[phase] + self.lost[phase]

    def events(self) -> list[Event]:
        """The privacy events of all attempts made."""
        return [
            self._plan.event(phase, self.attempts(phase))
            for phase in self._plan.phases
            if self.attempts(phase)
        ]

    def _due(self) -> AttemptKey:
        due = self.next
        if due is None:
            raise RuntimeError("the plan has no further attempt")
        return due
