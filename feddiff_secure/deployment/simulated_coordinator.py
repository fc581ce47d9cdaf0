"""The coordinator of a federation on one machine, with the metrics and the map of a simulation.

It has the data too, as everybody on this machine, and uses it for the test part and the map, as a
simulation does. Training reaches the owners' data through their processes only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.registry_file import read_registry
from feddiff_privacy.ledger.chain import MOST_FILE_BYTES, parse_chain
from feddiff_privacy.ledger.reading import spent_epsilon
from feddiff_privacy.statement import ONE_MACHINE
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.deployment.coordinate import GoingOn, coordinate
from feddiff_secure.deployment.job_files import JobFiles, read_job
from feddiff_secure.deployment.outcome import Outcome, ProgressWriter
from feddiff_secure.deployment.remote_federation import RemoteFederation
from feddiff_secure.errors import DataError
from feddiff_secure.federation.evaluation import describe_parts, painted, tested_labels
from feddiff_secure.federation.examples import describe
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.resume_folder import ResumeFolder
from feddiff_secure.federation.run import Clock, RunResult
from feddiff_secure.federation.secure_rounds import all_tiles
from feddiff_secure.report.run_directory import RunDirectory
from feddiff_secure.transcript.files import read_bytes
from feddiff_secure.transport.flare.controller import CoordinatorController
from feddiff_secure.transport.flare.exchange import FlareExchange

IDENTITY_FILE: Final = "identity.key"
REGISTRY_FILE: Final = "registry.json"
SETTINGS_FILE: Final = "simulated_coordinator.json"


@dataclass(frozen=True, slots=True)
class SimulatedCoordinator:
    """The settings of such a coordinator.

    Attributes:
        local: its own folder, with identity and registry.
        work: folder for its progress and outcome.
        out: the run directory.
        resumed: whether it goes on with what an earlier process left there.
    """

    local: Path
    work: Path
    out: Path
    resumed: bool = False

    def write(self) -> None:
        """Write the settings into the folder."""
        fields = {"work": str(self.work), "out": str(self.out), "resumed": self.resumed}
        (self.local / SETTINGS_FILE).write_text(json.dumps(fields) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, local: Path) -> SimulatedCoordinator:
        """The settings in a coordinator's folder.

        Raises:
            DataError: none, or not of their form.
        """
        path = local / SETTINGS_FILE
        try:
            found: Any = json.loads(path.read_text(encoding="utf-8"))
            return cls(local, Path(found["work"]), Path(found["out"]), found["resumed"] is True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: no settings of a simulated coordinator",
                "start it with run --engine flare",
            ) from error

    def run(self, exchange: FlareExchange, job: JobFiles) -> Outcome:
        """Run the job and write its run directory.

        Raises:
            FeddiffError: as `coordinate`.
        """
        directory = RunDirectory(self.out, resumed=self.resumed)
        ledgers = ledger_folder(job.config, directory)

        def on_ready(_plan: Plan) -> None:
            directory.open(job.config)
            directory.lock()
            ledgers.mkdir(mode=0o700, parents=True, exist_ok=True)

        with directory.kept_on_record(is_new=not self.resumed):
            result = self._result(exchange, job, directory, on_ready)
            metrics = directory.finish(result)
        return Outcome(metrics, result.statement.to_json())

    def _result(
        self,
        exchange: FlareExchange,
        job: JobFiles,
        directory: RunDirectory,
        on_ready: Callable[[Plan], None],
    ) -> RunResult:
        clock, progress = Clock(), ProgressWriter(self.work)
        prepared = prepare(job.config)
        kept = ResumeFolder(directory.partial)
        going_on = GoingOn(
            kept, all_tiles(prepared), kept.checkpoint.read() if self.resumed else None
        )
        if self.resumed:
            kept.check_data(going_on.tiles)
        clock.lap("data")
        known = read_registry(self.local / REGISTRY_FILE)
        key = read_identity(self.local / IDENTITY_FILE).open()
        folder = ledger_folder(job.config, directory)
        spent = lambda: _largest_spent(folder, prepared.names, job.config.holding)  # noqa: E731
        federation = RemoteFederation(
            exchange, exchange.traffic, known.pinned(prepared.names), key, spent
        )
        done = coordinate(
            job,
            federation,
            directory=directory.partial,
            on_ready=on_ready,
            log=directory.log,
            progress=progress,
            deployment=ONE_MACHINE,
            clock=clock,
            going_on=going_on,
        )
        _, evaluated = describe_parts(done.model.features, prepared, progress, describe)
        true, predicted = tested_labels(done.model, evaluated.test)
        maps = painted(done.model, evaluated.mapped)
        clock.lap("evaluate")
        return RunResult(
            config=job.config,
            plan=done.plan,
            prepared=prepared,
            model=done.model,
            trained=done.trained,
            statement=done.statement,
            test_true=true,
            test_predicted=predicted,
            maps=maps,
            seconds=clock.seconds,
            bytes_up=done.bytes_up,
            transcript=done.transcript,
        )


class SimulatedCoordinatorController(CoordinatorController):
    """FLARE's component at the server of a federation on one machine."""

    def parties(self, job: Path) -> tuple[str, ...]:
        """The owners that the job names."""
        return read_job(job).owners

    def coordinate(self, exchange: FlareExchange, local: Path, job: Path) -> None:
        """Run the job; the outcome is in the work folder, whatever it is.

        Raises:
            FeddiffError: the run failed.
        """
        settings = SimulatedCoordinator.read(local)
        try:
            outcome = settings.run(exchange, read_job(job))
        except Exception as error:
            Outcome.of_error(error).write(settings.work)
            raise
        outcome.write(settings.work)


def ledger_folder(config: RunConfig, directory: RunDirectory) -> Path:
    """Where the owners' ledgers are: the folder the configuration names, or the run directory."""
    return directory.ledgers if config.ledger is None else Path(config.ledger)


def _largest_spent(folder: Path, owners: Sequence[str], holding: str) -> float:
    """ε of everything in a ledger, the largest over owners: on one machine they can be read."""
    paths = [folder / f"{owner}.{holding}.jsonl" for owner in owners]
    chains = [parse_chain(read_bytes(path, MOST_FILE_BYTES), path) for path in paths]
    return max(spent_epsilon(chain.balance)[0] for chain in chains)
