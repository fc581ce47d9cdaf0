"""A run of profile private and its directory, from the first release to the last file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.examples import Describer, describe
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run import simulate
from feddiff_secure.report.run_directory import RunDirectory


def execute(
    settings: RunConfig,
    directory: RunDirectory,
    *,
    progress: Progress,
    describer: Describer = describe,
    saved: RunCheckpoint | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a configuration, or go on with it; `metrics.json` and `privacy.json` as objects.

    Args:
        settings: the configuration.
        directory: of the run; locked already where it goes on.
        progress: receives stages and steps.
        describer: computes the descriptors of tiles.
        saved: the checkpoint to go on from; None for a new run.

    Raises:
        FeddiffError: as `simulate`.
    """

    def begin(_plan: Plan) -> None:
        if saved is None:
            directory.open(settings)
            directory.lock()

    try:
        with directory.kept_on_record(is_new=saved is None):
            result = simulate(
                settings,
                log=directory.log,
                describer=describer,
                progress=progress,
                on_ready=begin,
                ledgers=directory.ledgers if settings.ledger is None else Path(settings.ledger),
                directory=directory.partial,
                saved=saved,
            )
            metrics = directory.finish(result)
    finally:
        directory.release()
    return metrics, result.statement.to_json()
