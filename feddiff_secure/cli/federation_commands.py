"""`feddiff-secure coordinator`, `submit`, `status`, `abort`: a federation across organisations."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feddiff_secure.cli.console import print_json
from feddiff_secure.errors import UsageError

if TYPE_CHECKING:
    from feddiff_secure.transport.flare.submission import JobState

coordinator_app = typer.Typer(
    help="The coordinator's server.", no_args_is_help=True, rich_markup_mode=None
)

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_Kit = Annotated[Path, typer.Argument(help="The server's folder: its startup kit.")]
_Admin = Annotated[Path, typer.Option("--admin", help="The admin's startup kit.")]


@coordinator_app.callback()
def _coordinator() -> None:
    """The coordinator's server."""


@coordinator_app.command()
def start(kit: _Kit, as_json: _Json = False) -> None:
    """Check kit, settings and key, and start the server; it listens on the project's port.

    Example:

      feddiff-secure coordinator start kits/server
    """
    from feddiff_secure.deployment.coordinator_settings import (  # noqa: PLC0415
        SETTINGS_FILE,
        CoordinatorSettings,
    )
    from feddiff_secure.node.service import member_of  # noqa: PLC0415
    from feddiff_secure.node.service import start as start_process  # noqa: PLC0415

    require_flare()
    if (kind := member_of(kit).kind) != "server":
        raise UsageError(f"{kit} is the kit of a {kind}, not of a server", "give the server's")
    CoordinatorSettings.load(kit / "local" / SETTINGS_FILE).key()
    found = start_process(kit, "server")
    _print({"process": found.process, "log": str(found.log)}, as_json)


@coordinator_app.command()
def stop(kit: _Kit, as_json: _Json = False) -> None:
    """End the server's process.

    Example:

      feddiff-secure coordinator stop kits/server
    """
    from feddiff_secure.node.service import stop as stop_process  # noqa: PLC0415

    _print({"stopped": stop_process(kit)}, as_json)


def status(
    admin: _Admin,
    job: Annotated[str | None, typer.Argument(help="A job's id; all jobs without it.")] = None,
    as_json: _Json = False,
) -> None:
    """Which sites are connected, and the states of jobs, with the reasons of refusals.

    Example:

      feddiff-secure status --admin kits/admin
    """
    require_admin_kit(admin)
    from feddiff_secure.transport.flare import submission  # noqa: PLC0415

    sites = submission.connected(admin)
    states = submission.job_states(admin) if job is None else [submission.job_state(admin, job)]
    if as_json:
        print_json({"sites": sites, "jobs": [_described(state) for state in states]})
        return
    typer.echo(f"connected: {', '.join(sites) or 'no site'}")
    for state in states:
        typer.echo(f"{state.job}  {state.name}  {state.status}")
        for line in state.said:
            typer.echo(f"  {line}")


def abort(
    job: Annotated[str, typer.Argument(help="The job's id.")],
    admin: _Admin,
    as_json: _Json = False,
) -> None:
    """Stop a job. What was charged stays charged; nothing is taken for a dropout.

    Example:

      feddiff-secure abort JOB --admin kits/admin
    """
    require_admin_kit(admin)
    from feddiff_secure.transport.flare import submission  # noqa: PLC0415

    submission.abort(admin, job)
    _print({"aborted": job}, as_json)


def require_admin_kit(kit: Path) -> None:
    """Refuse any other folder than a safe admin's kit.

    Raises:
        UsageError: it is none, or NVIDIA FLARE is not installed.
    """
    require_flare()
    from feddiff_secure.node.hardening import require_safe  # noqa: PLC0415

    if require_safe(kit) != "admin":
        raise UsageError(f"{kit} is not an admin's kit", "give the kit named after the admin")


def require_flare() -> None:
    """Say so where NVIDIA FLARE is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("nvflare") is None:
        raise UsageError(
            "NVIDIA FLARE is not installed", "install it with: pip install 'feddiff-secure[flare]'"
        )


def _described(state: JobState) -> dict[str, Any]:
    return {
        "job": state.job,
        "name": state.name,
        "status": state.status,
        "is_over": state.is_over,
        "said": list(state.said),
    }


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {value}")
