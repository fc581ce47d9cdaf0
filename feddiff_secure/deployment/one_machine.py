"""`run --engine flare`: a whole federation on this machine, from certificates to the run directory.

A server and a site for each owner are processes of their own, connected over 127.0.0.1 by mutual
TLS. Whatever happens, they end with this.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import RegistryFile, write_registry
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.deployment.job_files import JobFiles
from feddiff_secure.deployment.outcome import Outcome, ProgressReader
from feddiff_secure.deployment.simulated_coordinator import (
    SimulatedCoordinator,
    SimulatedCoordinatorController,
    ledger_folder,
)
from feddiff_secure.deployment.simulated_site import (
    IDENTITY_FILE,
    REGISTRY_FILE,
    SimulatedOwnerExecutor,
    SimulatedSite,
)
from feddiff_secure.errors import (
    FeddiffError,
    InterruptedRunError,
    ProtocolAbortedError,
    UsageError,
)
from feddiff_secure.federation.checkpoint import RunCheckpoint
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.run import check_available, check_labelled
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.report.unfinished_run import take_up, unfinished
from feddiff_secure.transcript.files import COORDINATOR
from feddiff_secure.transport.flare.job import JobParts, make_job
from feddiff_secure.transport.flare.local_kits import Kits, free_port, make_local_kits
from feddiff_secure.transport.flare.processes import FlareProcesses
from feddiff_secure.transport.flare.session import AdminSession, is_over

START_PATIENCE: Final = 120.0  # seconds in which server and sites have to be there
_POLL: Final = 0.3  # seconds


def run_flare(
    config: RunConfig, out: Path, *, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run a federation of processes on this machine.

    Where a process of it is killed, the federation is started again and goes on from the last
    release, as long as releases are completed in between.

    Args:
        config: the configuration.
        out: the run directory, new.
        progress: receives stages and steps.

    Returns:
        The objects of `metrics.json` and `privacy.json`.

    Raises:
        UsageError, DataError, BudgetError: input that cannot be run; nothing was released.
        ProtocolAbortedError: FLARE did not start, or a round could not be completed. What the
            processes wrote is kept in `OUT.flare/logs`.
        InterruptedRunError: the user stopped it, and it can go on.
    """
    check_mode(config)
    check_available(config)
    directory = RunDirectory(out.absolute())
    config = with_absolute_paths(config)
    files = _files(config)
    return _until_done(files, directory, None, progress)


def resume_flare(
    config: RunConfig, directory: RunDirectory, saved: RunCheckpoint, *, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Go on with such a run.

    Args:
        config: of the run.
        directory: of the run, locked by this process.
        saved: its checkpoint.
        progress: receives stages and steps.

    Returns:
        As `run_flare`.

    Raises:
        FeddiffError: as `run_flare`.
    """
    try:
        files = _files(config)
    except FeddiffError:
        directory.release()
        raise
    return _until_done(files, directory, saved, progress)


def _files(config: RunConfig) -> JobFiles:
    prepared = prepare(config)
    check_labelled(prepared)
    dataset = prepared.dataset
    return JobFiles(config, dataset.layout, dataset.classes, prepared.tile, prepared.names)


def _until_done(
    files: JobFiles, directory: RunDirectory, saved: RunCheckpoint | None, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Start federations until one finishes the run, or completes no release."""
    work = directory.out.with_name(directory.out.name + ".flare")
    if saved is None and work.exists():
        raise UsageError(f"out: {work} exists", "give another --out, or remove it")
    held = None if saved is None else directory  # whose lock this process has
    try:
        while True:
            try:
                return _once(files, directory, saved, work, progress)
            except ProtocolAbortedError as error:
                if held is not None:
                    held.release()
                if not directory.can_go_on:
                    raise
                held = unfinished(directory.partial)
                before, saved = saved, take_up(held)[1]
                if saved.completed <= (0 if before is None else before.completed):
                    raise ProtocolAbortedError(
                        str(error), f"go on with: feddiff-secure resume {directory.partial}"
                    ) from error
    finally:
        if held is not None:
            held.release()


def _once(
    files: JobFiles,
    directory: RunDirectory,
    saved: RunCheckpoint | None,
    work: Path,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any]]:
    shutil.rmtree(work, ignore_errors=True)  # the logs of a federation before this one
    work.mkdir(parents=True, mode=0o700)
    try:
        results = _federate(files, directory, saved, work, progress)
    except FeddiffError as error:
        _keep_logs(work) if isinstance(error, ProtocolAbortedError) else shutil.rmtree(work)
        raise
    except BaseException as error:
        shutil.rmtree(work)
        if isinstance(error, KeyboardInterrupt) and directory.can_go_on:
            reached = ResumeFolder(directory.partial).checkpoint.read()
            raise InterruptedRunError(
                f"stopped after round {reached.model.round_index} of {reached.plan.rounds}",
                f"go on with: feddiff-secure resume {directory.partial}",
            ) from error
        if not directory.records_releases:
            directory.discard()
        raise
    shutil.rmtree(work)
    return results


def check_mode(config: RunConfig) -> None:
    """Refuse what this engine does not run.

    Raises:
        UsageError: naming the option.
    """
    if config.aggregation == "encrypted":
        raise UsageError(
            "aggregation encrypted with engine flare: the model stays with the owners' nodes, and "
            "this command would have none to write",
            "use --aggregation masked, or --engine local",
        )
    if config.topology == "split":
        raise UsageError(
            "topology split with engine flare is not part of this version",
            "use --topology paired or mixed, or --engine local",
        )


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """The configuration with every path made absolute: each process has a folder of its own."""
    return replace(
        config,
        data=_absolute(config.data),
        test=_absolute(config.test),
        lidar_data=_absolute(config.lidar_data),
        ledger=_absolute(config.ledger),
        prior=config.prior if config.prior == "simulated" else str(_absolute(config.prior)),
    )


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _federate(
    files: JobFiles,
    directory: RunDirectory,
    saved: RunCheckpoint | None,
    work: Path,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, Any]]:
    owners = files.owners
    progress.stage("start FLARE", 2 + len(owners))
    executor, controller = _name(SimulatedOwnerExecutor), _name(SimulatedCoordinatorController)
    kits = make_local_kits(
        work / "kits", owners, port=free_port(), components=[executor, controller]
    )
    _settle(kits, directory, saved, work, ledger_folder(files.config, directory))
    parts = JobParts("feddiff", owners, files.threshold, controller, executor, files.to_files())
    job = make_job(work / "job", parts)
    with FlareProcesses(work / "logs") as processes:
        processes.start_server(kits.server)
        for name, kit in kits.sites.items():
            processes.start_site(name, kit)
        with AdminSession(kits.admin, START_PATIENCE) as session:
            progress.advance()
            session.wait_for(
                owners, START_PATIENCE, check=lambda: processes.check_running(["server", *owners])
            )
            progress.advance(len(owners))
            job_id = session.submit(job)
            progress.advance()
            run_goes_on = partial(_check_running, processes, owners, files.threshold)
            return _follow(session, job_id, work, progress, run_goes_on)


def _check_running(processes: FlareProcesses, owners: Sequence[str], threshold: int) -> None:
    """Return if the run can go on: without the server, or with fewer sites than τ, it cannot.

    A site that ends is a dropout as long as enough are left, and the protocol's business.

    Raises:
        ProtocolAbortedError: naming who ended.
    """
    processes.check_running(["server"])
    if len(owners) - len(processes.ended(owners)) < threshold:
        processes.check_running(owners)


def _follow(
    session: AdminSession,
    job_id: str,
    work: Path,
    progress: Progress,
    check_running: Callable[[], None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Repeat the coordinator's progress until there is an outcome."""
    reader = ProgressReader(work, progress)
    while True:
        reader.catch_up()
        outcome = Outcome.read(work)
        if outcome is not None:
            reader.catch_up()
            return outcome.results()
        check_running()
        status = session.status(job_id)
        if is_over(status) and Outcome.read(work) is None:
            raise ProtocolAbortedError(f"FLARE ended the job: {status}", f"see {work / 'logs'}")
        time.sleep(_POLL)


def _settle(
    kits: Kits, directory: RunDirectory, saved: RunCheckpoint | None, work: Path, ledgers: Path
) -> None:
    """Give every party its identity, the pinned registry and its settings, in its own folder."""
    random = SecureRandom()
    folders = {name: kit / "local" for name, kit in kits.sites.items()}
    folders[COORDINATOR] = kits.server / "local"
    if saved is None:
        keys = {name: IdentityKey.generate(random) for name in folders}
    else:
        keys = ResumeFolder(directory.partial).identities(saved.plan)
    registry = RegistryFile({name: keys[name].public for name in sorted(keys)})
    for name, folder in folders.items():
        write_identity(folder / IDENTITY_FILE, name, keys[name], None, random)
        write_registry(folder / REGISTRY_FILE, registry)
    plan = b"" if saved is None else saved.plan.digest()
    for name in kits.sites:
        SimulatedSite(folders[name], ledgers, directory.partial, plan).write()
    resumed = saved is not None
    SimulatedCoordinator(folders[COORDINATOR], work, directory.out, resumed).write()


def _keep_logs(work: Path) -> None:
    """Remove certificates and keys, keep what the processes wrote."""
    for part in work.iterdir():
        if part.name != "logs":
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
