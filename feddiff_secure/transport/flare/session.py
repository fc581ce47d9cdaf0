"""The submitter's side: send a job to FLARE's server, ask for its state, stop it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    InternalError,
    JobNotRunning,
    NoConnection,
    NoReply,
    SessionClosed,
    SessionExpired,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from feddiff_secure.errors import ProtocolAbortedError

_POLL = 0.25  # seconds
_CONNECT = 5.0  # seconds, one attempt
_LOST = (AuthenticationError, InternalError, NoConnection, NoReply, SessionClosed, SessionExpired)
"""What a call ends in when the server is gone, or has been started again."""


class AdminSession:
    """A session of the admin whose startup kit is `kit`; closes when the block is left.

    Args:
        kit: the admin's startup kit, named after the admin.
        patience: seconds to wait for a server that is starting.
    """

    def __init__(self, kit: Path, patience: float) -> None:
        self._kit, self._patience = kit, patience
        self._session: Session | None = None

    def __enter__(self) -> Self:
        until = time.monotonic() + self._patience
        while True:
            try:
                with redirect_stdout(sys.stderr):  # FLARE prints; stdout is the command's result
                    self._session = new_secure_session(
                        self._kit.name, str(self._kit), timeout=_CONNECT
                    )
                return self
            except NoConnection as error:
                if time.monotonic() > until:
                    raise ProtocolAbortedError(
                        f"no FLARE server answers within {self._patience:g} s", "see its log"
                    ) from error
                time.sleep(_POLL)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            with suppress(*_LOST):
                self._session.close()

    def wait_for(
        self, sites: Sequence[str], patience: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until all sites are registered.

        Args:
            sites: names. patience: seconds.
            check: raises where waiting is in vain.

        Raises:
            ProtocolAbortedError: some are not, in time.
        """
        until = time.monotonic() + patience
        while missing := set(sites) - {str(c.name) for c in self._api.get_connected_client_list()}:
            check()
            if time.monotonic() > until:
                raise ProtocolAbortedError(
                    f"not connected within {patience:g} s: {', '.join(sorted(missing))}",
                    "see the logs of these sites",
                )
            time.sleep(_POLL)

    def submit(self, job: Path) -> str:
        """Submit a job folder, signed with the admin's key; returns the job's id."""
        return str(self._api.submit_job(str(job)))

    def status(self, job_id: str) -> str:
        """FLARE's word for the job's state; empty where the server does not answer now."""
        try:
            meta: dict[str, Any] = self._api.get_job_meta(job_id)
        except _LOST:
            return ""
        return str(meta.get("status"))

    def abort(self, job_id: str) -> None:
        """Stop a job, if it runs."""
        with suppress(JobNotRunning, *_LOST):
            self._api.abort_job(job_id)

    @property
    def _api(self) -> Session:
        assert self._session is not None
        return self._session


def is_over(status: str) -> bool:
    """Whether a job of this state will not change it."""
    return status.startswith(("FINISHED", "ABANDONED"))
