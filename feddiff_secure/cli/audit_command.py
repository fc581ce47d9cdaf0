"""`feddiff-secure audit`: check a run's claims, from its transcript and by attacking it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import StageProgress, print_json, stderr
from feddiff_secure.cli.report_command import report
from feddiff_secure.cli.transcript_commands import check_proof, prove, prune, verify
from feddiff_secure.errors import VerificationError

audit_app = typer.Typer(
    help="Check what a run claims.", no_args_is_help=True, rich_markup_mode=None
)


audit_app.command()(verify)
audit_app.command()(prove)
audit_app.command("check-proof")(check_proof)
audit_app.command()(prune)
audit_app.command()(report)


@audit_app.callback()
def _audit() -> None:
    """Check what a run claims."""


@audit_app.command()
def attack(  # noqa: PLR0917  # one parameter an option, given by name
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[
        Path, typer.Option(help="Results to write, new: .json, outside the run; a .png beside it.")
    ],
    canaries: Annotated[
        int, typer.Option(help="Canary tiles in the rerun, at least 20.", min=0)
    ] = 1000,
    shadows: Annotated[
        int, typer.Option(help="Shadow models of membership inference, even; 0 for none.", min=0)
    ] = 16,
    data: Annotated[
        str | None, typer.Option(help="Where the run's data lies now. Default: where it lay.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of canaries and halves; never of noise.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Rerun the recorded configuration with canaries, and attack its model.

    Exit code 6 if a lower bound on epsilon exceeds the claim. An estimate never does.

    Example:

      feddiff-secure audit attack runs/first --out first-audit.json
    """
    # Imported here: torch takes seconds that --help and a wrong option need not wait.
    from feddiff_secure.attack.attack_run import attack_run  # noqa: PLC0415
    from feddiff_secure.attack.audit_report import (  # noqa: PLC0415
        PRIVATE_NOTE,
        check_output,
        picture_path,
        write_report,
    )
    from feddiff_secure.attack.picture import write_picture  # noqa: PLC0415
    from feddiff_secure.attack.rerun import read_run  # noqa: PLC0415

    check_output(out, run)
    recorded = read_run(run, data)
    with StageProgress(quiet=quiet) as progress:
        report = attack_run(
            recorded, canaries=canaries, shadows=shadows, seed=seed, progress=progress
        )
    write_picture(report, picture_path(out))
    write_report(report, out)
    if as_json:
        print_json({**report.to_json(), "out": str(out)})
    else:
        typer.echo("\n".join(report.to_lines()))
        stderr.print(f"{out} and {picture_path(out)}\n{PRIVATE_NOTE}")
    if report.refuted_by:
        worst = max(report.refuted_by, key=lambda bound: bound.epsilon)
        raise VerificationError(
            f"{run}: epsilon is at least {worst.epsilon:.3f} ({worst.method}, "
            f"{worst.confidence:.0%}), {recorded.epsilon:.3f} is claimed",
            "repeat with another --seed; if it stands, the mechanism is weaker than its statement",
        )
