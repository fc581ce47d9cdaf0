"""Real nodes of a FLARE server that has turned every guard of its own off, and its submitter.

The server lets any code in and allows its admin everything; what holds is what the nodes do for
themselves. One federation for all tests.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.errors import FeddiffError, ProtocolAbortedError
from feddiff_secure.node import service
from feddiff_secure.node.components import SERVER_COMPONENTS, SITE_COMPONENTS
from feddiff_secure.node.hardening import check_kit
from feddiff_secure.node.provisioning import Kits, provision
from tests.support.kits import PROJECT, edited

pytest.importorskip("nvflare")
from nvflare.fuel.flare_api.flare_api import new_secure_session

from feddiff_secure.transport.flare import submission
from feddiff_secure.transport.flare.submission import JobState

pytestmark = pytest.mark.slow

PATIENCE = 90.0  # seconds
SECRET = "the-path-of-my-data"
LAUNCHER = "nvflare.app_common.launchers.subprocess_launcher.SubprocessLauncher"


@dataclass
class Running:
    """The federation under way."""

    kits: Kits
    eve: Path
    folder: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def turn_off_guards(server: Path) -> None:
    """What a hostile coordinator would do to its own kit."""

    def resources(values: dict[str, Any]) -> None:
        values["class_allow_list"] = ["*"]
        del values["app_validator"]

    edited(server / "local/resources.json", resources)
    everything = {"format_version": "1.0", "permissions": {"lead": "any"}}
    (server / "local/authorization.json").write_text(json.dumps(everything))


def start_hostile(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a server whose kit `service.start` would refuse, by leaving that check out."""
    assert check_kit(server)
    with monkeypatch.context() as without:
        without.setattr(service, "require_safe", lambda _kit: "server")
        service.start(server, "server")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("federation")
    project = replace(PROJECT, port=free_port())
    kits = provision(project, folder / "kits", key_bits=2048)
    others = replace(project, sites={"eve": "eve_org", "ann": "ann_org"})
    eve = provision(others, folder / "foreign", key_bits=2048).sites["eve"]
    turn_off_guards(kits.server)
    (kits.sites["ann"] / "local/notes.json").write_text(json.dumps({"data": SECRET}))
    processes = [*kits.sites.values(), eve, kits.server]
    try:
        start_hostile(kits.server, pytest.MonkeyPatch())
        for site in (*kits.sites.values(), eve):
            service.start(site, "site")
        until = time.monotonic() + PATIENCE
        while connected(kits.admin) != ["ann", "ben"]:
            assert time.monotonic() < until, "the sites do not connect"
            time.sleep(0.5)
        yield Running(kits, eve, folder)
    finally:
        for kit in processes:
            service.stop(kit)


def connected(admin: Path) -> list[str]:
    try:
        return submission.connected(admin)
    except ProtocolAbortedError:  # it is starting
        return []


def job(folder: Path, executor: str = SITE_COMPONENTS[0], *, custom: str | None = None) -> Path:
    """A job of our form, but for what is asked for."""
    config = folder / "app/config"
    config.mkdir(parents=True)
    meta = {
        "name": folder.name,
        "resource_spec": {},
        "min_clients": 2,
        "deploy_map": {"app": ["server", "ann", "ben"]},
    }
    empty = {"task_data_filters": [], "task_result_filters": [], "components": []}
    named = {"tasks": ["none"], "executor": {"path": executor, "args": {}}}
    workflow = {"id": "coordinator", "path": SERVER_COMPONENTS[0], "args": {}}
    files: dict[str, dict[str, Any]] = {
        "meta.json": meta,
        "app/config/config_fed_client.json": {"format_version": 2, **empty, "executors": [named]},
        "app/config/config_fed_server.json": {
            "format_version": 2,
            **empty,
            "server": {},
            "workflows": [workflow],
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    if custom is not None:
        (folder / "app/custom").mkdir()
        (folder / "app/custom/owner.py").write_text(custom)
    return folder


SETTINGS = """\
version = 1
data = "data.h5"
holding = "plots"
ledger = "ledger"
identity = "identity.key"
registry = "registry.json"
[policy]
largest_epsilon = 4
lifetime_epsilon = 16
show_bounds = true
"""


def outcome(running: Running, made: Path) -> JobState:
    number = submission.submit(running.kits.admin, made)
    until = time.monotonic() + PATIENCE
    while not (state := submission.job_state(running.kits.admin, number)).is_over:
        assert time.monotonic() < until, state
        time.sleep(0.5)
    return state


def nothing_ran(running: Running) -> bool:
    """No job was unpacked at a site, no job process started, no ledger written."""
    sites = running.kits.sites.values()
    return not any([*site.glob("*/app_*")] or [*site.rglob("*.jsonl")] for site in sites)


def test_a_job_with_code_is_refused_by_the_nodes_and_the_submitter_sees_why(
    running: Running,
) -> None:
    mark = running.folder / "the-code-ran"
    code = f"open({str(mark)!r}, 'w').close()\n"
    made = job(running.folder / "code", "owner.Owner", custom=code)
    state = outcome(running, made)
    assert "server: OK" in state.said  # the server let it in
    assert "ann: job_refused: foreign_file custom" in state.said
    assert state.status == "FINISHED:FAILED_TO_RUN"
    assert not mark.exists()
    assert nothing_ran(running)


def test_a_job_over_policy_is_refused_by_the_nodes_and_the_submitter_sees_why(
    running: Running,
) -> None:
    for site in running.kits.sites.values():
        (site / "local/node.toml").write_text(SETTINGS)
    made = job(running.folder / "greedy")
    (made / "app/config/feddiff").mkdir()
    (made / "app/config/feddiff/config.toml").write_text("epsilon = 8\n")
    state = outcome(running, made)
    reason = "job_refused: policy_refused: epsilon_over_policy: 8 > 4"
    assert {f"ann: {reason}", f"ben: {reason}"} <= set(state.said)
    assert nothing_ran(running)


def test_a_job_of_another_component_is_refused_by_the_nodes(running: Running) -> None:
    """A class of FLARE's own that starts programs: no code is brought, so `byoc` does not apply."""
    state = outcome(running, job(running.folder / "component", LAUNCHER))
    assert f"ann: job_refused: foreign_component {LAUNCHER}" in state.said
    assert nothing_ran(running)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("cat_target", {"file": "local/notes.json"}),
        ("head_target", {"file": "local/notes.json"}),
        ("grep_target", {"pattern": "data", "file": "local/notes.json"}),
        ("ls_target", {"path": "local"}),
        ("get_working_directory", {}),
    ],
)
def test_an_admin_who_may_everything_at_the_server_reads_nothing_at_a_node(
    running: Running, command: str, arguments: dict[str, str]
) -> None:
    admin = running.kits.admin
    with redirect_stdout(StringIO()):
        session = new_secure_session(admin.name, str(admin), timeout=10.0)
        try:
            said = str(getattr(session, command)("ann", **arguments))
        except Exception as error:  # noqa: BLE001  # FLARE raises many kinds; what it says counts
            said = str(error)
        finally:
            session.close()
    assert "invalid_request" in said
    assert SECRET not in said
    assert "notes.json" not in said
    assert str(running.kits.sites["ann"]) not in said


def test_a_node_stays_up_whatever_the_servers_admin_asks(running: Running) -> None:
    admin = running.kits.admin
    with redirect_stdout(StringIO()):
        session = new_secure_session(admin.name, str(admin), timeout=10.0)
        for ask in ("restart client ann", "shutdown client ann", "sys_info client ann"):
            with suppress(Exception):  # refused in one way or another
                session.api.do_command(ask)
        session.close()
    time.sleep(3.0)
    assert all(service.running(site) for site in running.kits.sites.values())


def test_a_foreign_certificate_is_refused(running: Running) -> None:
    """Eve's kit is well made, for the same address, of another root."""
    assert connected(running.kits.admin) == ["ann", "ben"]
    said = (running.eve / service.LOG).read_text(errors="replace")
    assert "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said
    assert "Successfully registered" not in said


def test_a_node_that_runs_is_not_started_twice(running: Running) -> None:
    with pytest.raises(FeddiffError, match="running already"):
        service.start(running.kits.sites["ann"], "site")


def test_a_node_tells_the_server_nothing_of_its_settings(running: Running) -> None:
    said = (running.kits.server / service.LOG).read_text(errors="replace")
    assert "registered with site_config keys: ['allow_log_streaming']" in said
    assert SECRET not in said
