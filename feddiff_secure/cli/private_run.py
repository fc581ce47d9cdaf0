"""What `run` and `resume` share: the run of profile private, its end, and what is printed then."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from feddiff_secure.cli.console import StageProgress, stderr
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import InterruptedRunError

if TYPE_CHECKING:
    from feddiff_secure.federation.checkpoint import RunCheckpoint
    from feddiff_secure.report.run_directory import RunDirectory


def execute_private(
    settings: RunConfig,
    directory: RunDirectory,
    *,
    quiet: bool,
    cache: bool = False,
    saved: RunCheckpoint | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a configuration, or go on with it; `metrics.json` and `privacy.json` as objects.

    Args:
        settings: the configuration.
        directory: of the run; locked already where it goes on.
        quiet: show no progress.
        cache: keep descriptors of tiles for later runs.
        saved: the checkpoint to go on from; None for a new run.

    Raises:
        InterruptedRunError: the user stopped it, and it can go on.
        FeddiffError: as `simulate`.
    """
    # Imported here: torch and opacus take seconds that --help and a wrong option need not wait.
    from feddiff_secure.federation.descriptor_cache import DescriptorCache  # noqa: PLC0415
    from feddiff_secure.federation.examples import describe  # noqa: PLC0415
    from feddiff_secure.report.execution import execute  # noqa: PLC0415

    describer = DescriptorCache.default() if cache else describe
    with StageProgress(quiet=quiet) as progress:
        try:
            return execute(settings, directory, progress=progress, describer=describer, saved=saved)
        except KeyboardInterrupt:
            _say_how_to_go_on(directory)
            raise


def _say_how_to_go_on(directory: RunDirectory) -> None:
    """End an interrupted run, where it can go on, with the command that does."""
    from feddiff_secure.federation.resume_folder import ResumeFolder  # noqa: PLC0415

    if directory.can_go_on:
        saved = ResumeFolder(directory.partial).checkpoint.read()
        raise InterruptedRunError(
            f"stopped after round {saved.model.round_index} of {saved.plan.rounds}",
            f"go on with: feddiff-secure resume {directory.partial}",
        )


def print_summary(metrics: dict[str, Any], privacy: dict[str, Any], out: Path) -> None:
    """The run in a few lines."""
    typer.echo(
        f"OA {metrics['oa']:.3f}   AA {metrics['aa']:.3f}   kappa {metrics['kappa']:.3f}   "
        f"({metrics['n_test']} test pixels, {metrics['test']})"
    )
    if privacy["epsilon_target"] is None:
        typer.echo(f"no privacy guarantee: {privacy.get('profile', 'non-private')} baseline")
    else:
        typer.echo(
            f"epsilon {privacy['epsilon']:.3f} (target {privacy['epsilon_target']:g}) at delta "
            f"{privacy['delta']:g} for one {privacy['unit']}, deployment {privacy['deployment']}"
        )
        for row in privacy["adversaries"]:
            value = math.inf if row["epsilon"] is None else row["epsilon"]
            typer.echo(f"  {row['name']:<27} {value:8.3f}")
    seconds = sum(metrics["seconds"].values())
    typer.echo(f"{out}   ({seconds:.0f} s, {metrics['communication_parameters']} parameters)")
    stderr.print(f"read {out / 'privacy.md'} and look at {out / 'report.html'}")
