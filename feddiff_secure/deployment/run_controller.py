"""The coordinator of a federation across organisations, as a component of FLARE's server job."""

from __future__ import annotations

import math
from pathlib import Path

from feddiff_privacy.statement import ACROSS
from feddiff_secure.deployment.coordinate import coordinate
from feddiff_secure.deployment.coordinator_settings import SETTINGS_FILE, CoordinatorSettings
from feddiff_secure.deployment.deployed_run import finish_deployed, read_test
from feddiff_secure.deployment.job_files import JobFiles, read_job
from feddiff_secure.deployment.outcome import Outcome, ProgressWriter
from feddiff_secure.deployment.remote_federation import RemoteFederation
from feddiff_secure.deployment.run_job import check_across
from feddiff_secure.federation.run import Clock
from feddiff_secure.node.plan_signature import SignedPlans
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.transport.flare.controller import CoordinatorController
from feddiff_secure.transport.flare.exchange import FlareExchange


class RunController(CoordinatorController):
    """Runs one job; its run directory is `RUNS/<job>`, its outcome `RUNS/<job>.outcome/`."""

    def parties(self, job: Path) -> tuple[str, ...]:
        """The owners that the job names; the registry decides whose keys they have."""
        return read_job(job).owners

    def patience(self, local: Path) -> dict[str, float]:
        """People at the owners' nodes may look at a plan before it is accepted."""
        return {"plan": CoordinatorSettings.load(local / SETTINGS_FILE).plan_patience}

    def coordinate(self, exchange: FlareExchange, local: Path, job: Path) -> None:
        """Run the job; the outcome is written, whatever it is.

        Raises:
            FeddiffError: the run failed.
        """
        settings = CoordinatorSettings.load(local / SETTINGS_FILE)
        settings.runs.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = RunDirectory(settings.runs / exchange.job)
        work = settings.runs / f"{exchange.job}.outcome"
        work.mkdir(mode=0o700)
        try:
            outcome = run_job(read_job(job), settings, exchange, directory, work)
        except Exception as error:
            Outcome.of_error(error).write(work)
            raise
        outcome.write(work)


def run_job(
    job: JobFiles,
    settings: CoordinatorSettings,
    exchange: FlareExchange,
    directory: RunDirectory,
    work: Path,
) -> Outcome:
    """Run a job and write its run directory.

    Raises:
        FeddiffError: as `coordinate`; settings or a test file that do not fit.
    """
    check_across(job.config)
    clock = Clock()
    test = None if settings.test is None else read_test(settings.test, job)
    key = settings.key()
    federation = RemoteFederation(
        SignedPlans(exchange, key),
        exchange.traffic,
        settings.owners(job.owners),
        key,
        lambda: math.inf,  # what owners have spent in all is known to them alone
    )
    clock.lap("data")
    with directory.kept_on_record():
        done = coordinate(
            job,
            federation,
            directory=directory.partial,
            on_ready=lambda _plan: directory.open(job.config),
            log=directory.log,
            progress=ProgressWriter(work),
            deployment=ACROSS,
            clock=clock,
        )
        metrics = finish_deployed(directory, job, done, test=test, seconds=clock.seconds)
    return Outcome(metrics, done.statement.to_json())
