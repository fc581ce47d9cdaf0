"""Take up the directory of an interrupted run: its configuration and how far it had come."""

from __future__ import annotations

from pathlib import Path

from feddiff_secure.config.load import config_digest, load_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.transcript.files import PARTIAL


def unfinished(partial: Path) -> RunDirectory:
    """The directory `DIR.partial`.

    Raises:
        UsageError: no such directory, or `DIR` exists.
    """
    if not partial.name.endswith(PARTIAL) or partial.name == PARTIAL:
        raise UsageError(
            f"{partial} is not the directory of an interrupted run", f"its name ends in {PARTIAL}"
        )
    return RunDirectory(partial.with_name(partial.name.removesuffix(PARTIAL)), resumed=True)


def take_up(directory: RunDirectory) -> tuple[RunConfig, RunCheckpoint]:
    """The configuration and the checkpoint of a run that can go on; the directory is locked then.

    Raises:
        UsageError: the run keeps nothing to go on from, or another process is at it.
        DataError: what it keeps is damaged, or of another configuration.
    """
    partial = directory.partial
    config = load_config(partial / "config.toml", {})
    if config.profile == "paper":
        raise UsageError(
            f"{partial}: a run of profile paper keeps nothing to go on from", "start it again"
        )
    if config.aggregation == "encrypted":
        raise UsageError(
            f"{partial}: in a run of aggregation encrypted the owners hold the model, in memory "
            "alone, so it cannot go on",
            "start a new run; what its ledgers say stays charged",
        )
    if not directory.can_go_on:
        raise UsageError(
            f"{partial}: the run stopped before anything could be released", "start it again"
        )
    directory.lock()
    try:
        saved = ResumeFolder(partial).checkpoint.read()
        if saved.plan.config_digest != config_digest(config):
            raise DataError(
                f"{partial / 'config.toml'}: not the configuration that the run began with",
                "restore it, or start a new run",
            )
        directory.cut_log(saved.completed)
    except BaseException:
        directory.release()
        raise
    return config, saved
