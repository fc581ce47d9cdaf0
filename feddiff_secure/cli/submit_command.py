"""`feddiff-secure submit`: a job of a federation across organisations."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from feddiff_secure.cli.console import print_json
from feddiff_secure.cli.federation_commands import require_admin_kit
from feddiff_secure.errors import ProtocolAbortedError, UsageError

COMPLETED: Final = "FINISHED:COMPLETED"
_POLL: Final = 2.0  # seconds


def submit(  # noqa: PLR0917  # one parameter an option, given by name
    admin: Annotated[Path, typer.Option("--admin", help="The admin's startup kit.")],
    config: Annotated[Path, typer.Option(help="Configuration of the run (TOML).")],
    like: Annotated[
        Path,
        typer.Option(
            help="The public layout: a layout.json of an earlier job, or a data file whose "
            "sensors, classes and kind the owners' files have; no value of it is used."
        ),
    ],
    owners: Annotated[str, typer.Option(help="Names of the owners, by commas.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job is over.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Send a job to the owners' nodes. Nothing in it is code, names a path, or is of data.

    Example:

      feddiff-secure submit --admin kits/admin --config run.toml --like layout.json --owners
      university,city,agency --wait
    """
    require_admin_kit(admin)
    from feddiff_secure.config.load import load_config  # noqa: PLC0415
    from feddiff_secure.deployment.run_job import make_run_job, public_files  # noqa: PLC0415
    from feddiff_secure.transport.flare import submission  # noqa: PLC0415

    names = tuple(name.strip() for name in owners.split(","))
    files = public_files(load_config(config, {"owners": len(names)}), like, names)
    if missing := set(names) - set(submission.connected(admin)):
        raise UsageError(
            f"not connected: {', '.join(sorted(missing))}", "see: feddiff-secure status --admin KIT"
        )
    with tempfile.TemporaryDirectory() as folder:
        job = submission.submit(admin, make_run_job(Path(folder) / "feddiff", files))
    state = submission.job_state(admin, job)
    while wait and not state.is_over:
        time.sleep(_POLL)
        state = submission.job_state(admin, job)
    if as_json:
        shown = {"job": job, "owners": list(names), "status": state.status}
        print_json({**shown, "said": list(state.said)})
    else:
        typer.echo(f"{job}  {state.status}")
    if wait and state.status != COMPLETED:
        raise ProtocolAbortedError(
            f"the job ended as {state.status}: {'; '.join(state.said)}",
            "what a round stopped for is in the coordinator's folder of runs, JOB.outcome",
        )
