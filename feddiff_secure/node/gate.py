"""What an owner's node asks before it accepts a plan: its policy, then its person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.node.policy import NodePolicy, check_job, refusal


@dataclass(frozen=True, slots=True)
class JobGate:
    """The `gate` of an `Owner`: returns for a plan that may run, and raises for any other.

    Attributes:
        policy: of the owner.
        config: that the job carries.
        review: asks a person; None where the policy decides alone.
    """

    policy: NodePolicy
    config: RunConfig
    review: Callable[[Plan], None] | None = None

    def __call__(self, plan: Plan) -> None:
        """Check the plan.

        Raises:
            RefusalError: `policy_refused` with its reasons; what the review raises.
        """
        reasons = check_job(self.policy, self.config, plan)
        if reasons:
            raise RefusalError(refusal(reasons, bounds=self.policy.show_bounds))
        if self.review is not None:
            self.review(plan)
