"""The coordinator's end of the transport: FLARE's server job process runs the protocol.

The server's other process, which relays between sites, sees what a coordinator sees and less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.signal import Signal

from feddiff_secure.transport.flare.exchange import FlareExchange
from feddiff_secure.transport.flare.watched_process import end_with_parent


class CoordinatorController(Controller, ABC):  # type: ignore[misc]  # nvflare has no types
    """The server's component of the job; a subclass says what is done over the exchange."""

    @abstractmethod
    def parties(self, job: Path) -> tuple[str, ...]:
        """Names of the owners' sites, in roster order.

        Args:
            job: the configuration folder of the job, with its public files.
        """

    def patience(self, local: Path) -> dict[str, float]:  # noqa: ARG002  # a subclass may look
        """Phase → seconds that it is waited for at least; none by default."""
        return {}

    @abstractmethod
    def coordinate(self, exchange: FlareExchange, local: Path, job: Path) -> None:
        """Run the protocol; the job is over when this returns.

        Args:
            exchange: the transport to the owners.
            local: the server's own configuration folder.
            job: the configuration folder of the job, with its public files.

        Raises:
            FeddiffError: the run failed; FLARE reports the job as failed.
        """

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing before the control flow."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing after it."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Called by FLARE once the job runs on the server; owners' processes may still start."""
        end_with_parent()
        engine = fl_ctx.get_engine()
        workspace = engine.get_workspace()
        local = Path(workspace.get_site_config_dir())
        job = Path(workspace.get_app_dir(fl_ctx.get_job_id())) / "config"
        exchange = FlareExchange(
            self.parties(job),
            engine,
            abort_signal,
            patience=self.patience(local),
            job=fl_ctx.get_job_id(),
        )
        self.coordinate(exchange, local, job)
