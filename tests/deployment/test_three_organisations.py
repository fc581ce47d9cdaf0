"""docs/deploy.md from end to end: three owners, a coordinator and an analyst, by commands alone.

One federation on loopback for all tests; every organisation has a folder, a kit, keys and a
registry of its own.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from feddiff_crypto.registry_file import read_registry
from feddiff_privacy.ledger.reading import Reading, read_ledger
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.cli.main import run_cli
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.deployment.outcome import Outcome
from feddiff_secure.errors import FeddiffError, ProtocolAbortedError
from scripts.make_tiny_table import tiny_table

pytest.importorskip("nvflare")
from feddiff_secure.transport.flare import submission

pytestmark = pytest.mark.slow

OWNERS = ("ann", "ben", "cem")
PATIENCE = 150.0  # seconds
RUN = "epsilon = 8\nrounds = 2\nnominal_tiles = 150\ntile = 1\ndelta = 1e-4\ncentring = false\n"


def call(*arguments: object) -> dict[str, Any]:
    """Run a command; the object that it prints."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_cli([*map(str, arguments), "--json"])
    assert code == 0, err.getvalue()
    printed: dict[str, Any] = json.loads(out.getvalue())
    return printed


def wait_for(what: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.5)
    return found


@dataclass
class Organisations:
    """The folders, as docs/deploy.md leaves them."""

    folder: Path

    def kit(self, name: str) -> Path:
        return self.folder / "kits" / name

    @property
    def admin(self) -> Path:
        return self.kit("analyst@forest.org")

    def change(self, name: str, old: str, new: str) -> None:
        path = self.kit(name) / "local/node.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def submit(self, run: str = RUN) -> str:
        config = self.folder / "run.toml"
        config.write_text(run)
        like = self.kit("ann") / "local/data.h5"
        printed = call(
            "submit", "--admin", self.admin, "--config", config, "--like", like,
            "--owners", ",".join(OWNERS),
        )  # fmt: skip
        return str(printed["job"])

    def ended(self, job: str) -> dict[str, Any]:
        """The state of a job once it is over."""

        def over() -> dict[str, Any] | None:
            (state,) = call("status", job, "--admin", self.admin)["jobs"]
            return state if state["is_over"] else None

        found: dict[str, Any] = wait_for(over)
        return found

    def outcome(self, job: str) -> FeddiffError:
        """The error in the coordinator's folder of runs."""
        work = self.folder / "runs" / f"{job}.outcome"
        outcome = wait_for(lambda: Outcome.read(work))
        with pytest.raises(FeddiffError) as error:
            outcome.results()
        return error.value

    def readings(self) -> dict[str, Reading]:
        return {
            name: read_ledger(self.kit(name) / f"local/ledger/{name}.default.jsonl")
            for name in OWNERS
        }


def settle(made: Organisations) -> None:
    """Sections 2 and 3 of the page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sites = "".join(f'{name} = "{name}_office"\n' for name in OWNERS)
    project = made.folder / "project.toml"
    project.write_text(
        f'version = 1\nname = "forest"\nhost = "localhost"\nport = {port}\n'
        f'organisation = "forest_lab"\nadmin = "analyst@forest.org"\n[sites]\n{sites}'
    )
    call("provision", "--project", project, "--out", made.folder / "kits")
    keys = {}
    for seed, name in enumerate(OWNERS):
        local = made.kit(name) / "local"
        init = ["node", "init", name, "--out", local / "identity.key"]
        keys[name] = call(*init, "--settings", local / "node.toml")["public"]
        write_scene(local / "data.h5", tiny_table(pixels=50, bands=6, seed=seed))
        made.change(name, "largest_delta = 1e-5", "largest_delta = 1e-4")
        made.change(name, "review = true", "review = false")
        made.change(name, "show_bounds = false", "show_bounds = true")
    server = made.kit("localhost") / "local"
    keys["coordinator"] = call("node", "init", "coordinator", "--out", server / "identity.key")[
        "public"
    ]
    for holder in (*OWNERS, "localhost"):
        registry = made.kit(holder) / "local/registry.json"
        for name, public in keys.items():
            call("node", "registry", "add", name, public, "--registry", registry)
    (server / "coordinator.toml").write_text(
        f'version = 1\nidentity = "identity.key"\nregistry = "registry.json"\n'
        f'runs = "{made.folder / "runs"}"\n'
    )


@pytest.fixture(scope="module")
def organisations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Organisations]:
    made = Organisations(tmp_path_factory.mktemp("organisations"))
    settle(made)
    try:
        call("coordinator", "start", made.kit("localhost"))
        for name in OWNERS:
            call("node", "start", made.kit(name))

        def connected() -> bool:
            with suppress(ProtocolAbortedError):  # it is starting
                return submission.connected(made.admin) == list(OWNERS)
            return False

        wait_for(connected)
        yield made
    finally:
        for name in OWNERS:
            call("node", "stop", made.kit(name))
        call("coordinator", "stop", made.kit("localhost"))


def test_a_model_is_trained_once_a_person_approved_and_its_transcript_verifies(
    organisations: Organisations,
) -> None:
    organisations.change("cem", "review = false", "review = true")
    node = organisations.kit("cem")
    try:
        job = organisations.submit()
        waiting = wait_for(lambda: call("node", "pending", "--node", node)["pending"])
        (digest,) = waiting
        assert read_ledger(node / "local/ledger/cem.default.jsonl").entries == 1
        call("node", "approve", digest, "--node", node)
        assert organisations.ended(job)["status"] == "FINISHED:COMPLETED"
    finally:
        organisations.change("cem", "review = true", "review = false")
    run = organisations.folder / "runs" / job
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["owners"], metrics["oa"], metrics["n_test"]) == (3, None, 0)
    assert not (run / "map.png").exists()
    for reading in organisations.readings().values():
        assert reading.attempts == 2
        assert 7.9 < reading.spent <= 8.0
    pins = read_registry(organisations.kit("ben") / "local/registry.json")
    verdict = verify_run(run, pins=pins)
    assert verdict.verified, verdict.to_lines()


def test_a_job_over_one_nodes_policy_is_refused_and_the_submitter_sees_why(
    organisations: Organisations,
) -> None:
    before = {name: reading.head for name, reading in organisations.readings().items()}
    organisations.change("ben", "largest_epsilon = 8.0", "largest_epsilon = 4.0")
    try:
        state = organisations.ended(organisations.submit())
    finally:
        organisations.change("ben", "largest_epsilon = 4.0", "largest_epsilon = 8.0")
    assert "ben: job_refused: policy_refused: epsilon_over_policy: 8 > 4" in state["said"]
    assert state["status"] == "FINISHED:FAILED_TO_RUN"
    assert {name: reading.head for name, reading in organisations.readings().items()} == before


@contextmanager
def stolen(organisations: Organisations, machine: str, name: str) -> Iterator[None]:
    """A machine is taken over, with its kit and certificate: its identity is another's."""
    local = organisations.kit(machine) / "local"
    kept = {one: (local / one).read_bytes() for one in ("identity.key", "registry.json")}
    (local / "identity.key").unlink()
    public = call("node", "init", name, "--out", local / "identity.key")["public"]
    call(
        "node", "registry", "add", name, public, "--replace",
        "--registry", local / "registry.json",
    )  # fmt: skip
    try:
        yield
    finally:
        for one, raw in kept.items():
            (local / one).write_bytes(raw)


def failure(organisations: Organisations) -> str:
    """What a job submitted now ends in."""
    job = organisations.submit()
    organisations.ended(job)
    return str(organisations.outcome(job))


def test_a_node_with_a_right_certificate_and_another_identity_takes_part_in_nothing(
    organisations: Organisations,
) -> None:
    spent = {name: reading.attempts for name, reading in organisations.readings().items()}
    with stolen(organisations, "ben", "ben"):
        error = failure(organisations)
    assert "SignatureInvalidError" in error or "refused" in error, error
    assert {n: reading.attempts for n, reading in organisations.readings().items()} == spent


def test_a_coordinator_with_another_identity_gets_no_plan_accepted(
    organisations: Organisations,
) -> None:
    """The server is taken over: address, certificate and admin, but not the pinned identity."""
    attempts = {name: reading.attempts for name, reading in organisations.readings().items()}
    with stolen(organisations, "localhost", "coordinator"):
        error = failure(organisations)
    assert "plan_unsigned" in error
    readings = organisations.readings()
    assert {name: reading.attempts for name, reading in readings.items()} == attempts
    assert all(reading.open_plans == 0 for reading in readings.values())
