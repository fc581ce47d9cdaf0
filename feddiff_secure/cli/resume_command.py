"""`feddiff-secure resume`: go on with a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import StageProgress, print_json
from feddiff_secure.cli.federation_commands import require_flare
from feddiff_secure.cli.log_file import log_to
from feddiff_secure.cli.output import disk_errors
from feddiff_secure.cli.private_run import execute_private, print_summary


def resume(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR.partial", help="What the interrupted run left.")
    ],
    log_file: Annotated[
        Path | None, typer.Option(help="Append public events of the run to a file.")
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="debug (every release), info, warning or error.")
    ] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Go on with a run that was interrupted or killed, and finish it as DIR.

    Without noise the model is the same, bit for bit. With noise, an attempt that was under way
    stays charged and is redone with fresh keys, noise and sample (--spare-attempts), or the run
    ends one round short.

    Example:

      feddiff-secure resume runs/houston.partial
    """
    # Imported here: it loads torch.
    from feddiff_secure.report.unfinished_run import take_up, unfinished  # noqa: PLC0415

    found = unfinished(directory)
    if found.is_attested:  # every file was written; only the name is missing
        metrics, privacy = found.record("metrics.json"), found.record("privacy.json")
        found.complete()
    else:
        with log_to(log_file, log_level, "resume"), disk_errors(directory):
            settings, saved = take_up(found)
            if settings.engine == "flare":
                require_flare()
                from feddiff_secure.deployment.one_machine import resume_flare  # noqa: PLC0415

                with StageProgress(quiet=quiet) as progress:
                    metrics, privacy = resume_flare(settings, found, saved, progress=progress)
            else:
                metrics, privacy = execute_private(settings, found, quiet=quiet, saved=saved)
    if as_json:
        print_json({**metrics, "out": str(found.out), "privacy": privacy})
    else:
        print_summary(metrics, privacy, found.out)
