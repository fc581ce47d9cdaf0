"""Startup kits for a federation on this machine: loopback only, mutual TLS, our components only.

Certificates are FLARE's own, made for this federation and gone with its folder. They secure the
transport; who speaks in the protocol is decided by the identity keys of `feddiff_crypto`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nvflare.lighter.entity import Project
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.impl.signature import SignatureBuilder
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provisioner import Provisioner

SERVER: Final = "localhost"
ADMIN: Final = "submitter@localhost.org"
_PROJECT: Final = "feddiff"
_ROLE: Final = "lead"
_RIGHTS: Final = ("submit_job", "manage_job", "view")
_ALL_RIGHTS: Final = (
    *_RIGHTS,
    "clone_job",
    "download_job",
    "operate",
    "shell_commands",
    "byoc",
    "server-predeployed-flwr",
)


@dataclass(frozen=True, slots=True)
class Kits:
    """Folders of the startup kits.

    Attributes:
        server: the server's. admin: the submitter's. sites: name → that site's.
    """

    server: Path
    admin: Path
    sites: Mapping[str, Path]


def make_local_kits(
    folder: Path, sites: Sequence[str], *, port: int, components: Sequence[str], quick: bool = True
) -> Kits:
    """Provision a server on 127.0.0.1, an admin, and one site a name.

    Args:
        folder: where; made by this.
        sites: names.
        port: of the server.
        components: dotted names of the classes that a job may name.
        quick: look for jobs every second, for a federation that waits for one.
    """
    project = Project(_PROJECT, "feddiff-secure on one machine")
    project.set_server(SERVER, "coordinator", {"fed_learn_port": port, "admin_port": port})
    for name in sites:
        project.add_client(name, "owner", {})
    project.add_admin(ADMIN, "coordinator", {"role": _ROLE})
    builders = [WorkspaceBuilder(), StaticFileBuilder(), CertBuilder(), SignatureBuilder()]
    Provisioner(str(folder), builders).provision(project, logger=_Quiet())
    made = folder / _PROJECT / "prod_00"
    kits = Kits(made / SERVER, made / ADMIN, {name: made / name for name in sites})
    for kit in (kits.server, *kits.sites.values()):
        _harden(kit, components)
    _server_resources(kits.server, 1.0 if quick else 10.0)
    return kits


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _harden(kit: Path, components: Sequence[str]) -> None:
    local = kit / "local"
    resources = _read(local / "resources.json.default")
    resources["class_list_enforcement_mode"] = "enforce"
    resources["class_allow_list"] = list(components)
    resources["allow_log_streaming"] = False
    resources["components"] = [
        part for part in resources["components"] if part["id"] not in {"site_log_streamer"}
    ]
    _write(local / "resources.json", resources)
    rights = {right: "any" if right in _RIGHTS else "none" for right in _ALL_RIGHTS}
    _write(local / "authorization.json", {"format_version": "1.0", "permissions": {_ROLE: rights}})


def _server_resources(kit: Path, interval: float) -> None:
    """Keep the server's stores inside its kit; FLARE's default is a folder all kits share."""
    path = kit / "local" / "resources.json"
    resources = _read(path)
    storage = resources["snapshot_persistor"]["args"]["storage"]["args"]
    storage["root_dir"] = str(kit / "snapshots")
    for part in resources["components"]:
        if part["id"] == "job_manager":
            part["args"]["uri_root"] = str(kit / "jobs")
        if part["id"] == "job_scheduler":
            part["args"] |= {"min_schedule_interval": interval, "max_schedule_interval": 10.0}
    _write(path, resources)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


class _Quiet:
    """FLARE's provisioner tells its progress to this."""

    def debug(self, message: str) -> None:
        """Nothing."""

    def info(self, message: str) -> None:
        """Nothing."""

    def warning(self, message: str) -> None:
        """Nothing."""

    def error(self, message: str) -> None:
        """An error of the provisioner ends it.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(message)
