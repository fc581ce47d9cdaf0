"""The submitter's side, for the command line: send a job, ask for states, stop one.

Every call opens a session of the admin whose kit is given, and closes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Final

from nvflare.fuel.flare_api.api_spec import (
    AuthenticationError,
    AuthorizationError,
    InternalError,
    InvalidJobDefinition,
    JobNotFound,
    NoConnection,
)
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session

from feddiff_secure.errors import ProtocolAbortedError, UsageError

CONNECT_TIMEOUT: Final = 10.0  # seconds
LONGEST_DETAIL: Final = 400  # characters of what a site said, shown
MOST_JOBS: Final = 100


@dataclass(frozen=True, slots=True)
class JobState:
    """What FLARE's server says of a job.

    Attributes:
        job: its id. name: of the job. status: FLARE's word.
        said: what server and sites said when it was deployed: a refusal with its reasons.
    """

    job: str
    name: str
    status: str
    said: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        """Whether the state will not change."""
        return self.status.startswith(("FINISHED", "ABANDONED", "FAILED"))


def submit(kit: Path, job: Path) -> str:
    """Send a job folder, signed with the admin's key; returns its id.

    Raises:
        UsageError: the server takes no such job, or not from this admin.
        ProtocolAbortedError: no server answers.
    """
    with _session(kit) as session:
        return str(session.submit_job(str(job.absolute())))


def job_states(kit: Path) -> list[JobState]:
    """The admin's last jobs, the newest first.

    Raises:
        UsageError, ProtocolAbortedError: as `submit`.
    """
    with _session(kit) as session:
        listed = session.list_jobs(detailed=True, limit=MOST_JOBS, reverse=True)
    return [_state(dict(meta)) for meta in listed]


def job_state(kit: Path, job: str) -> JobState:
    """The state of one job.

    Raises:
        UsageError: no such job; as `submit`. ProtocolAbortedError: as `submit`.
    """
    with _session(kit) as session:
        return _state(dict(session.get_job_meta(job)))


def connected(kit: Path) -> list[str]:
    """Names of the sites that are connected.

    Raises:
        UsageError, ProtocolAbortedError: as `submit`.
    """
    with _session(kit) as session:
        return sorted(str(client.name) for client in session.get_connected_client_list())


def abort(kit: Path, job: str) -> None:
    """Stop a job.

    Raises:
        UsageError: no such job, or another admin's; as `submit`. ProtocolAbortedError: as `submit`.
    """
    with _session(kit) as session:
        session.abort_job(job)


def _state(meta: dict[str, Any]) -> JobState:
    details = meta.get("job_deploy_detail") or []
    lines = (" ".join(str(line).split()).replace("NVFLARE_ERROR: ", "") for line in details)
    said = tuple(line[:LONGEST_DETAIL] for line in lines)
    job, name, status = (str(meta.get(key, "")) for key in ("job_id", "name", "status"))
    return JobState(job, name, status, said)


@contextmanager
def _session(kit: Path) -> Iterator[Session]:
    session: Session | None = None
    try:
        with redirect_stdout(StringIO()):  # FLARE's session prints what it does
            session = new_secure_session(kit.name, str(kit.absolute()), timeout=CONNECT_TIMEOUT)
            yield session
    except NoConnection as error:
        raise ProtocolAbortedError(
            f"no server answers at the address of {kit}", "start it: coordinator start"
        ) from error
    except (AuthenticationError, AuthorizationError) as error:
        raise UsageError(f"the server does not let this admin do that: {error}", _HINT) from error
    except (InvalidJobDefinition, JobNotFound, InternalError) as error:
        raise UsageError(f"the server refused: {error}", _HINT) from error
    finally:
        if session is not None:
            session.close()


_HINT: Final = "see: feddiff-secure status --admin KIT"
