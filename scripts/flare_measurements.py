"""What a federation over FLARE costs on this machine: start, a phase, memory, large messages.

    python -m scripts.flare_measurements [--sites 3 8] [--json]

Sites are processes of this machine, connected by mutual TLS over 127.0.0.1; each holds a party that
answers at once, so the numbers are the transport's alone. Prints one row a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from feddiff_secure.transport.exchange import Message, Party
from feddiff_secure.transport.flare.controller import CoordinatorController
from feddiff_secure.transport.flare.exchange import FlareExchange
from feddiff_secure.transport.flare.executor import PartyExecutor
from feddiff_secure.transport.flare.job import JobParts, make_job
from feddiff_secure.transport.flare.local_kits import free_port, make_local_kits
from feddiff_secure.transport.flare.processes import FlareProcesses
from feddiff_secure.transport.flare.session import AdminSession, is_over

WAIT = 180.0  # seconds
PHASES = 50  # small messages of one phase each
SMALL = 4096  # bytes
LARGE = (1, 50)  # MiB, to each site and back
OUTCOME = "FEDDIFF_MEASUREMENTS"
NAMES = "FEDDIFF_SITES"
SMALL_ROWS, LARGE_ROWS = "small.json", "large.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    name: str
    sites: int
    value: float
    unit: str


class Echo:
    """A party that sends back what it gets."""

    def handle(self, phase: str, message: Message) -> Message:  # noqa: ARG002  # every phase
        """The same message."""
        return message


class EchoExecutor(PartyExecutor):
    """The sites' component."""

    def make_party(self, name: str, local: Path) -> Party:  # noqa: ARG002  # one for all
        """A party without state."""
        return Echo()


class MeasuringController(CoordinatorController):
    """The server's component: measures, and writes rows into the file that the starter named."""

    def parties(self, job: Path) -> tuple[str, ...]:  # noqa: ARG002  # no public files
        """The sites, from the starter."""
        return tuple(os.environ[NAMES].split(","))

    def coordinate(
        self,
        exchange: FlareExchange,
        local: Path,  # noqa: ARG002  # no settings
        job: Path,  # noqa: ARG002  # no public files
    ) -> None:
        """Measure."""
        names = exchange.parties()
        began = time.time()
        while len(exchange.exchange("first", {name: {} for name in names}, 2.0)) < len(names):
            time.sleep(0.05)
        rows = [("first", time.time()), ("began", began)]

        def timed(size: int) -> float:
            blob = os.urandom(size)
            start = time.perf_counter()
            replies = exchange.exchange("echo", {name: {"b": blob} for name in names}, WAIT)
            took = time.perf_counter() - start
            if any(reply["b"] != blob for reply in replies.values()) or len(replies) < len(names):
                raise RuntimeError("a message did not come back")
            return took

        small = sorted(timed(SMALL) for _ in range(PHASES))
        rows += [("median", statistics.median(small)), ("slowest", small[-1])]
        folder = Path(os.environ[OUTCOME])
        _publish(folder / SMALL_ROWS, rows)
        time.sleep(3)  # memory is read now
        _publish(folder / LARGE_ROWS, [(f"large {size}", timed(size << 20)) for size in LARGE])
        time.sleep(3)  # and now


def _publish(path: Path, rows: list[tuple[str, float]]) -> None:
    path.with_suffix(".new").write_text(json.dumps(dict(rows)))
    path.with_suffix(".new").rename(path)


def measure(sites: int) -> Iterator[Row]:
    """Start a federation of so many sites, measure, and end it."""
    names = [f"owner-{i:03d}" for i in range(1, sites + 1)]
    components = [f"scripts.flare_measurements.{kind.__name__}" for kind in _COMPONENTS]
    with tempfile.TemporaryDirectory(prefix="flare-") as folder:
        work = Path(folder)
        os.environ |= {OUTCOME: str(work), NAMES: ",".join(names)}
        began = time.time()
        kits = make_local_kits(work / "kits", names, port=free_port(), components=components)
        yield Row("certificates and kits", sites, time.time() - began, "s")
        parts = JobParts("measure", names, sites, components[0], components[1], {})
        job = make_job(work / "job", parts)
        with FlareProcesses(work / "logs") as processes:
            started = time.time()
            processes.start_server(kits.server)
            for name, kit in kits.sites.items():
                processes.start_site(name, kit)
            with AdminSession(kits.admin, WAIT) as session:
                session.wait_for(names, WAIT)
                yield Row("start of server and sites", sites, time.time() - started, "s")
                submitted = time.time()
                job_id = session.submit(job)
                rows = _wait_for(work / SMALL_ROWS, lambda: is_over(session.status(job_id)))
                yield Row("job to first phase", sites, rows["first"] - submitted, "s")
                yield Row("a phase, 4 KiB, median", sites, rows["median"], "s")
                yield Row("a phase, 4 KiB, slowest of 50", sites, rows["slowest"], "s")
                yield from _memory(processes, sites, "")
                rows = _wait_for(work / LARGE_ROWS, lambda: is_over(session.status(job_id)))
                for size in LARGE:
                    yield Row(f"a phase, {size} MiB", sites, rows[f"large {size}"], "s")
                yield from _memory(processes, sites, ", after 50 MiB")


def _wait_for(path: Path, is_lost: Callable[[], bool]) -> dict[str, float]:
    until = time.monotonic() + WAIT
    while not path.exists():
        if time.monotonic() > until or is_lost():
            raise RuntimeError("the job ended without measurements; see the logs")
        time.sleep(0.5)
    rows: dict[str, float] = json.loads(path.read_text())
    return rows


def _memory(processes: FlareProcesses, sites: int, when: str) -> Iterator[Row]:
    """Largest resident memory by kind of process."""
    found: dict[str, float] = {}
    for name, process in processes.running.items():
        top = psutil.Process(process.pid)
        kind = "server" if name == "server" else "site"
        for label, one in ((kind, top), *((f"{kind}'s job", c) for c in top.children())):
            found[label] = max(found.get(label, 0.0), one.memory_info().rss / 2**20)
    for label, value in found.items():
        yield Row(f"memory, {label}{when}", sites, value, "MiB")


@contextmanager
def _importable() -> Iterator[None]:
    """Let the processes of the federation import this file and the package beside it."""
    root = Path(__file__).parents[1]
    before = os.environ.get("PYTHONPATH")
    roots = [str(root), str(root / "crypto"), str(root / "privacy")]
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, *([before] if before else [])])
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with _importable():
        for sites in chosen.sites:
            for row in measure(sites):
                if chosen.json:
                    print(json.dumps(asdict(row)), flush=True)
                else:
                    print(
                        f"{row.sites:3} sites  {row.name:36} {row.value:9.3f} {row.unit}",
                        flush=True,
                    )


_COMPONENTS = (MeasuringController, EchoExecutor)

if __name__ == "__main__":
    main()
