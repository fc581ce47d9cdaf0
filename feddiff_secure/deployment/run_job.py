"""The job of a run across organisations, as a submitter makes it: public files and two names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from feddiff_secure.config.load import dump_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.read import read_dataset
from feddiff_secure.deployment.job_files import CONFIG_FILE, LAYOUT_FILE, MOST_BYTES, JobFiles
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.prepare import tile_side
from feddiff_secure.node.components import SERVER_COMPONENTS, SITE_COMPONENTS
from feddiff_secure.transcript.files import read_bytes
from feddiff_secure.transport.flare.job import JobParts, make_job

(CONTROLLER,) = SERVER_COMPONENTS
(EXECUTOR,) = SITE_COMPONENTS


def public_files(config: RunConfig, like: Path, owners: Sequence[str]) -> JobFiles:
    """What a job says to all.

    Args:
        config: the configuration; the paths in it are left out: data are the nodes' own.
        like: a `layout.json` of an earlier job, or a data file whose sensors, classes and kind the
            owners' files have; no value of it is used.
        owners: their names, in roster order.

    Raises:
        UsageError, DataError: a configuration that runs on one machine only, or a wrong file.
    """
    check_across(config)
    public = replace(config, data=None, test=None, lidar_data=None, ledger=None, engine="flare")
    if like.suffix == ".json":
        files = {
            CONFIG_FILE: dump_config(public).encode(),
            LAYOUT_FILE: read_bytes(like, MOST_BYTES),
        }
        return replace(JobFiles.from_files(files), owners=tuple(owners))
    dataset = read_dataset(like, require_labels=False)
    tile = tile_side(public, dataset)
    return JobFiles(public, dataset.layout, dataset.classes, tile, tuple(owners))


def make_run_job(folder: Path, files: JobFiles, name: str = "feddiff") -> Path:
    """Write the job's folder, which must not exist; returns it."""
    parts = JobParts(name, files.owners, files.threshold, CONTROLLER, EXECUTOR, files.to_files())
    return make_job(folder, parts)


def check_across(config: RunConfig) -> None:
    """Refuse what this version does not run across organisations.

    Raises:
        UsageError: naming the option.
    """
    if config.profile != "private":
        raise UsageError(f"profile {config.profile} shares features", "leave out --profile")
    if config.prior != "simulated":
        raise UsageError(
            f"prior {config.prior}: a job carries no network, and a path is another file elsewhere",
            "leave out prior: every node has the shipped one",
        )
    if config.aggregation == "encrypted":
        raise UsageError(
            "aggregation encrypted across organisations: the model would stay with the owners' "
            "nodes, and no run directory would have it",
            "use aggregation masked",
        )
    if config.topology == "split":
        raise UsageError(
            "topology split across organisations is not part of this version",
            "use topology paired or mixed",
        )
