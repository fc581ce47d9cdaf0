"""What the coordinator knows of a run between two releases, new or read back from a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from feddiff_secure.errors import DataError
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.local_model import LocalModel
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.releases import Course
from feddiff_secure.transcript.growing_file import FileState
from feddiff_secure.transcript.leaves import AbortLeaf, Leaf, RoundLeaf

_HINT = "the run cannot go on; what its ledgers say stays charged"


@dataclass(slots=True, eq=False)
class RunState:
    """A run under way.

    Attributes:
        plan: the plan.
        course: which attempts were made, and which is next.
        model: what the sums so far give.
        bytes_up: bytes that owners sent in completed releases.
        arrived: owner → releases of each phase in whose sum the log has its vector.
        sent: bytes that owners sent in this process so far.
    """

    plan: Plan
    course: Course
    model: LocalModel
    bytes_up: int = 0
    arrived: dict[str, Counter[str]] = field(default_factory=dict)
    sent: Callable[[], int] = field(default=lambda: 0)

    @classmethod
    def begun(cls, plan: Plan) -> RunState:
        """Before the first release."""
        return cls(plan, Course(plan), LocalModel(plan), arrived=_none(plan))

    @classmethod
    def restored(cls, checkpoint: RunCheckpoint, leaves: Sequence[Leaf]) -> RunState:
        """After the releases in a log, with the model that a checkpoint has.

        Args:
            checkpoint: the coordinator's.
            leaves: of the log, at the same moment.

        Raises:
            DataError: the two do not belong together.
        """
        plan, course = checkpoint.plan, Course(checkpoint.plan)
        arrived = _none(plan)
        for leaf in leaves:
            if not isinstance(leaf, RoundLeaf | AbortLeaf):
                continue
            if course.next != leaf.key:
                raise DataError(f"checkpoint: {leaf.key} is not the plan's next release", _HINT)
            if isinstance(leaf, AbortLeaf):
                course.lose()
                continue
            course.complete()
            for owner in leaf.inputs:
                arrived[owner][leaf.key.phase] += 1
        try:
            model = LocalModel.restored(plan, checkpoint.model)
        except (ValueError, KeyError) as error:
            raise DataError(f"checkpoint: {error}", _HINT) from error
        due = course.next
        done = (checkpoint.model.prior_rounds, checkpoint.model.round_index)
        if done != (course.done["prior"], course.done["train"]) or (
            due is not None and not model.in_step(due.phase, due.round_index)
        ):
            raise DataError("checkpoint: its model is not after the releases of the log", _HINT)
        return cls(plan, course, model, checkpoint.bytes_up, arrived)

    def checkpoint(self, files: dict[str, FileState]) -> RunCheckpoint:
        """The state now, with those of the transcript's files."""
        return RunCheckpoint(self.plan, self.model.state(), self.bytes_up, files)


def _none(plan: Plan) -> dict[str, Counter[str]]:
    return {owner: Counter() for owner in plan.owners}
