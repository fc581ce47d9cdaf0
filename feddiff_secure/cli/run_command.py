"""`feddiff-secure run`: train one private model over several owners."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_secure.cli.console import StageProgress, print_json, stderr
from feddiff_secure.cli.log_file import log_to
from feddiff_secure.cli.output import disk_errors
from feddiff_secure.cli.plan_view import plan_lines
from feddiff_secure.cli.private_run import execute_private, print_summary
from feddiff_secure.config.load import check_keys, config_digest, load_config
from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.public_log import PUBLIC_LOG
from feddiff_secure.report.tracking import check_tracker
from feddiff_secure.report.tracking import track as hand_on

_DATA, _PRIVACY, _OWNERS, _RUN = "Data", "Privacy", "Owners", "Run"
_NOT_KEYS = {
    "config", "out", "dry_run", "cache", "track", "log_file", "log_level", "as_json", "quiet",
}  # fmt: skip


def run(  # noqa: PLR0917  # one parameter an option, given by name
    data: Annotated[
        str | None,
        typer.Option(
            help="HDF5, MAT, GeoTIFF, ENVI, scene.toml or folder. Default: a simulated scene.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(help="Separate test file. Default: 20 % by region.", rich_help_panel=_DATA),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Target ε, or inf for a non-private baseline. Default: 8.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(help="δ. Default: 1e-5.", rich_help_panel=_PRIVACY)
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of privacy: tile or pixel. Default: tile.", rich_help_panel=_PRIVACY
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Side of a tile. Default: 1 for tables, 4 for rasters.", rich_help_panel=_PRIVACY
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="distributed, local, or none (with --epsilon inf). Default: distributed.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    nominal_tiles: Annotated[
        int | None,
        typer.Option(
            help="Public number of training tiles. Default: counted privately.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    owners: Annotated[
        int | None,
        typer.Option(help="Number of owners, at least 2. Default: 4.", rich_help_panel=_OWNERS),
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(
            help="iid, dirichlet:A, region or site. Default: iid.", rich_help_panel=_OWNERS
        ),
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(
            help="paired (each owner both modalities of its ground), mixed (some only one) or "
            "split (owners hold different modalities of one ground). Default: paired.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    holds: Annotated[
        str | None,
        typer.Option(
            help="With mixed or split: hsi, lidar or both for each owner, by commas; repeats. "
            "Default: hsi,lidar.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="With split: owners that hold labels, by commas, or all. Default: all.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    lidar_data: Annotated[
        str | None,
        typer.Option(
            help="With split: file of the LiDAR of the ground in --data, matched by georeference "
            "or row_col. Default: --data holds both.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    aggregation: Annotated[
        str | None,
        typer.Option(
            help="masked, encrypted (CKKS around the masks: the coordinator does not see the sum "
            "either), or plain. Default: masked.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    custodian: Annotated[
        bool | None,
        typer.Option(
            help="With encrypted: a party of its own decrypts. Default: the owners do.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    key_agreement: Annotated[
        str | None,
        typer.Option(
            help="x25519, or hybrid (X25519 and ML-KEM-768: recorded vectors stay masked unless "
            "both are broken). Default: x25519.",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            help="nearest or stochastic, onto the integer grid. Default: nearest.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    ring_bits: Annotated[
        int | None,
        typer.Option(help="32 or 64, of the masked integers. Default: 32.", rich_help_panel=_RUN),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(
            help="Owners who may collude with the coordinator. Default: 1 (0 for two owners).",
            rich_help_panel=_OWNERS,
        ),
    ] = None,
    dropouts: Annotated[
        int | None,
        typer.Option(
            help="Owners who may drop out of a round. Default: 0.", rich_help_panel=_OWNERS
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Training rounds. Default: 60.", rich_help_panel=_RUN)
    ] = None,
    spare_attempts: Annotated[
        int | None,
        typer.Option(
            help="Attempts beyond --rounds that the noise is sized for, so that an interrupted "
            "round can be redone. Default: 0.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    sampling_rate: Annotated[
        float | None,
        typer.Option(help="Chance of a tile to enter a round. Default: 1.", rich_help_panel=_RUN),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="private, or paper: FedDiff as published, a baseline without any privacy "
            "guarantee. Default: private.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            help="Diffusion branches: simulated (shipped), dp (the HSI one adapted to the owners' "
            "tiles within epsilon), or a file or folder of public ones.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    spectra: Annotated[
        str | None,
        typer.Option(
            help="How spectra are described: robust (survives noise), or fine (tells similar "
            "classes apart with --epsilon inf and --rounds 200). Default: robust.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of partition, simulated scene and public projections; never of keys or noise.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            help="Folder of the owners' ledgers. Default: new ones in the run directory.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    holding: Annotated[
        str | None,
        typer.Option(
            help="Name of the data that the budget belongs to. Default: default.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    lifetime_epsilon: Annotated[
        float | None,
        typer.Option(
            help="ε that all runs on the holding never exceed. Default: no limit.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where owners run: local (this process), or flare (a process each, on this "
            "machine, over NVIDIA FLARE). Default: local.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu (cuda: not in this version). Default: cpu.", rich_help_panel=_RUN),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of these options; options win over it.", rich_help_panel=_RUN),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Run directory, new. Default: runs/<time>.", rich_help_panel=_RUN),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            help="Hand the released numbers and final metrics to tensorboard or mlflow as well.",
            rich_help_panel=_RUN,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan and stop: owners, tiles, noise, ε by adversary, bytes, seconds. "
            "Nothing is released, charged or written.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    cache: Annotated[
        bool,
        typer.Option(
            help="Keep descriptors of tiles for later runs, in a folder of this user only (private "
            "data: see docs/cache.md). Default: not kept.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option(help="Append public events of the run to a file.")
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="debug (every release), info, warning or error.")
    ] = "info",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> None:
    """Train one land-cover model over several owners, with differential privacy.

    Examples:

      feddiff-secure run --epsilon 8

      feddiff-secure run --data pixels.h5 --epsilon 1 --owners 8 --partition region --json

      feddiff-secure run --config feddiff.toml --dry-run
    """
    given = {
        name: value
        for name, value in locals().items()
        if value is not None and name not in _NOT_KEYS
    }
    settings = _settings(config, given)
    if dry_run:
        _print_plan(settings, as_json=as_json)
        return
    if track is not None:
        check_tracker(track)
    directory_path = out or Path("runs") / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    if settings.profile == "paper":
        execute = _execute_paper
    else:
        execute = _execute_flare if settings.engine == "flare" else _execute
    with log_to(log_file, log_level, "run"), disk_errors(directory_path):
        PUBLIC_LOG.info("config digest %s", config_digest(settings))
        metrics, privacy = execute(settings, directory_path, quiet=quiet, cache=cache)
    if track is not None:
        stderr.print(f"tracked in {hand_on(track, directory_path, metrics, privacy['epsilon'])}")
    if as_json:
        print_json({**metrics, "out": str(directory_path), "privacy": privacy})
    else:
        print_summary(metrics, privacy, directory_path)


def _settings(config: Path | None, given: dict[str, Any]) -> RunConfig:
    if config is not None:
        return load_config(config, given)
    check_keys(given, "options")
    return RunConfig(**with_profile_defaults(given))


def _print_plan(settings: RunConfig, *, as_json: bool) -> None:
    from feddiff_secure.federation.foresight import foresee  # noqa: PLC0415  # loads torch

    seen = foresee(settings)
    if as_json:
        print_json(seen.to_json())
    else:
        typer.echo("\n".join(plan_lines(seen)))


def _execute(
    settings: RunConfig, out: Path, *, quiet: bool, cache: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    from feddiff_secure.report.run_directory import RunDirectory  # noqa: PLC0415  # loads torch

    return execute_private(settings, RunDirectory(out), quiet=quiet, cache=cache)


def _execute_flare(
    settings: RunConfig, out: Path, *, quiet: bool, cache: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    if cache:
        raise UsageError(
            "cache with engine flare: owners are processes that keep nothing for others",
            "leave out --cache",
        )
    try:
        from feddiff_secure.deployment.one_machine import run_flare  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"nvflare", "psutil"}:
            raise
        raise UsageError(
            "engine flare: NVIDIA FLARE is not installed",
            "install it with: pip install 'feddiff-secure[flare]', or leave out --engine",
        ) from error
    with StageProgress(quiet=quiet) as progress:
        return run_flare(settings, out, progress=progress)


def _execute_paper(
    settings: RunConfig, out: Path, *, quiet: bool, cache: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    from feddiff_secure.paper.disclosure import HEADLINE, privacy_json  # noqa: PLC0415
    from feddiff_secure.paper.paper_run import run_paper  # noqa: PLC0415  # loads torch
    from feddiff_secure.report.paper_directory import finish_paper  # noqa: PLC0415
    from feddiff_secure.report.run_directory import RunDirectory  # noqa: PLC0415

    if cache:
        raise UsageError(
            "cache with profile paper: it trains its branches anew in every run",
            "leave out --cache",
        )
    directory = RunDirectory(out)
    stderr.print(HEADLINE)  # with --quiet too: it is no progress
    with StageProgress(quiet=quiet) as progress:
        try:
            result = run_paper(
                settings,
                log=directory.log,
                progress=progress,
                on_ready=lambda: directory.open(settings),
            )
            metrics = finish_paper(directory, result)
        except BaseException:  # nothing in it is a record of a release that was accounted for
            directory.discard()
            raise
    return metrics, privacy_json(result)
