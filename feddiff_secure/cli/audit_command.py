"""`feddiff-secure audit`: check a run's claims, from its transcript and by attacking it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feddiff_secure.cli.console import StageProgress, print_json, stderr
from feddiff_secure.cli.report_command import check_report, report
from feddiff_secure.cli.transcript_commands import check_proof, prove, prune, verify
from feddiff_secure.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from feddiff_secure.attack.rerun import RecordedRun

KINDS = ("canary", "inversion")

audit_app = typer.Typer(
    help="Check what a run claims.", no_args_is_help=True, rich_markup_mode=None
)


audit_app.command()(verify)
audit_app.command()(prove)
audit_app.command("check-proof")(check_proof)
audit_app.command()(prune)
audit_app.command()(report)
audit_app.command("check-report")(check_report)


@audit_app.callback()
def _audit() -> None:
    """Check what a run claims."""


@audit_app.command()
def attack(  # noqa: PLR0917  # one parameter an option, given by name
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    out: Annotated[
        Path, typer.Option(help="Results to write, new: .json, outside the run; a .png beside it.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="canary (canaries and membership inference), or inversion (tiles reconstructed "
            "from updates, or from the features of profile paper). Default: canary; inversion "
            "for profile paper."
        ),
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(help="Canary tiles in the rerun, at least 20. Default: 1000.", min=0),
    ] = None,
    shadows: Annotated[
        int | None,
        typer.Option(
            help="Shadow models of membership inference, even; 0 for none. Default: 16.", min=0
        ),
    ] = None,
    attempts: Annotated[
        int | None,
        typer.Option(
            help="With inversion: tiles to attack, for each kind of observation. Default: 200.",
            min=0,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the run's data lies now. Default: where it lay.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of canaries, halves and targets; never of noise.", min=0)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Attack a recorded run: rerun it with canaries, or invert what left its owners.

    Exit code 6 if a lower bound on epsilon exceeds the claim. An estimate or an inversion never
    does.

    Examples:

      feddiff-secure audit attack runs/first --out first-audit.json

      feddiff-secure audit attack runs/first --kind inversion --out first-inversion.json
    """
    # Imported here: torch takes seconds that --help and a wrong option need not wait.
    from feddiff_secure.attack.audit_report import check_output  # noqa: PLC0415
    from feddiff_secure.attack.rerun import read_run  # noqa: PLC0415

    check_output(out, run)
    recorded = read_run(run, data)
    wanted = _kind(kind, recorded.config.profile)
    show = _Shown(out, as_json=as_json, quiet=quiet)
    if wanted == "inversion":
        _refuse_others("inversion", canaries=canaries, shadows=shadows)
        _inversion(recorded, 200 if attempts is None else attempts, seed, show)
    else:
        _refuse_others("canary", attempts=attempts)
        counts = (1000 if canaries is None else canaries, 16 if shadows is None else shadows)
        _canary(recorded, counts, seed, show)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Where results go, and how."""

    out: Path
    as_json: bool
    quiet: bool

    def show(self, found: dict[str, Any], lines: list[str]) -> None:
        """Write the JSON file and print the same, or the table."""
        from feddiff_secure.attack.audit_report import (  # noqa: PLC0415
            PRIVATE_NOTE,
            picture_path,
            write_report,
        )

        write_report(found, self.out)
        if self.as_json:
            print_json({**found, "out": str(self.out)})
        else:
            typer.echo("\n".join(lines))
            stderr.print(f"{self.out} and {picture_path(self.out)}\n{PRIVATE_NOTE}")


def _kind(kind: str | None, profile: str) -> str:
    """The kind of attack, checked against the profile of the run."""
    wanted = kind or ("inversion" if profile == "paper" else "canary")
    if wanted not in KINDS:
        raise UsageError(f"kind is {wanted[:40]!r}", f"use one of: {', '.join(KINDS)}")
    if wanted == "canary" and profile == "paper":
        raise UsageError(
            "kind canary with a run of profile paper: it claims no epsilon to refute",
            "use --kind inversion",
        )
    return wanted


def _refuse_others(kind: str, **given: int | None) -> None:
    """Refuse options that belong to the other kind."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{name} with kind {kind}: it would have no effect", f"leave out --{name}"
            )


def _inversion(run: RecordedRun, attempts: int, seed: int, shown: _Shown) -> None:
    from feddiff_secure.attack.audit_report import picture_path  # noqa: PLC0415
    from feddiff_secure.attack.inversion_picture import write_inversion_picture  # noqa: PLC0415
    from feddiff_secure.attack.inversion_run import inversion_run  # noqa: PLC0415

    with StageProgress(quiet=shown.quiet) as progress:
        report = inversion_run(run, attempts=attempts, seed=seed, progress=progress)
    write_inversion_picture(report, picture_path(shown.out))
    shown.show(report.to_json(), report.to_lines())


def _canary(run: RecordedRun, counts: tuple[int, int], seed: int, shown: _Shown) -> None:
    from feddiff_secure.attack.attack_run import attack_run  # noqa: PLC0415
    from feddiff_secure.attack.audit_report import picture_path  # noqa: PLC0415
    from feddiff_secure.attack.picture import write_picture  # noqa: PLC0415

    canaries, shadows = counts
    with StageProgress(quiet=shown.quiet) as progress:
        report = attack_run(run, canaries=canaries, shadows=shadows, seed=seed, progress=progress)
    write_picture(report, picture_path(shown.out))
    shown.show(report.to_json(), report.to_lines())
    if report.refuted_by:
        worst = max(report.refuted_by, key=lambda bound: bound.epsilon)
        raise VerificationError(
            f"{run.directory}: epsilon is at least {worst.epsilon:.3f} ({worst.method}, "
            f"{worst.confidence:.0%}), {run.epsilon:.3f} is claimed",
            "repeat with another --seed; if it stands, the mechanism is weaker than its statement",
        )
