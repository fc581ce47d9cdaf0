"""The components that a job may name: ours, each by its full name, and none of FLARE's own.

FLARE's default lists a hundred classes of its own; a class of ours outside these lists is refused
too.
"""

from __future__ import annotations

from typing import Final

SITE_COMPONENTS: Final = ("feddiff_secure.deployment.owner_executor.OwnerExecutor",)
"""What a job may run at a site."""

SERVER_COMPONENTS: Final = ("feddiff_secure.deployment.run_controller.RunController",)
"""What a job may run at the server."""

JOB_GUARD: Final = "feddiff_secure.transport.flare.job_guard.JobGuard"
"""What refuses any other job before FLARE has read it."""
