"""FLARE's server and sites as processes of this machine, started from their kits and always ended.

FLARE starts a job's processes as children in sessions of their own, so what is ended is the tree.
The processes also end with the one that started them, even where that was killed
(`watched_process`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from feddiff_secure.errors import ProtocolAbortedError

GRACE: Final = 3.0  # seconds between asking a process to end and ending it
_WATCHED: Final = "feddiff_secure.transport.flare.watched_process"
_SERVER: Final = ("nvflare.private.fed.app.server.server_train", "fed_server.json")
_SITE: Final = ("nvflare.private.fed.app.client.client_train", "fed_client.json")


@dataclass(slots=True)
class FlareProcesses:
    """The processes of one federation; the block's end is theirs.

    Attributes:
        logs: folder for what they print.
        running: name → process.
    """

    logs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_server(self, kit: Path) -> None:
        """Start the server from its kit."""
        self._start("server", kit, *_SERVER, {"secure_train": "true", "config_folder": ""})

    def start_site(self, name: str, kit: Path) -> None:
        """Start a site from its kit."""
        values = {"secure_train": "true", "uid": name, "config_folder": ""}
        self._start(name, kit, *_SITE, values)

    def ended(self, names: Iterable[str]) -> list[str]:
        """Those of these names whose processes do not run any more."""
        return [name for name in names if self.running[name].poll() is not None]

    def check_running(self, names: Iterable[str]) -> None:
        """Return if the processes of these names run.

        Raises:
            ProtocolAbortedError: one ended.
        """
        if ended := self.ended(names):
            raise ProtocolAbortedError(
                f"FLARE's process of {', '.join(ended)} ended", f"see its log in {self.logs}"
            )

    def stop(self) -> None:
        """End all processes and their children, asking first."""
        trees = [tree for process in self.running.values() for tree in _tree(process.pid)]
        for one in trees:
            _end(one, kill=False)
        _, alive = psutil.wait_procs(trees, timeout=GRACE)
        for one in alive:
            _end(one, kill=True)
        psutil.wait_procs(alive, timeout=GRACE)
        for process in self.running.values():
            process.wait()
        self.running.clear()

    def _start(
        self, name: str, kit: Path, module: str, settings: str, values: Mapping[str, str]
    ) -> None:
        (kit / "transfer").mkdir(exist_ok=True)
        command = [sys.executable, "-u", "-m", _WATCHED, module]
        command += ["-m", str(kit), "-s", settings, "--set"]
        with (self.logs / f"{name}.txt").open("ab") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603  # our interpreter, a fixed module
                [*command, *(f"{key}={value}" for key, value in values.items())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "4"},
            )


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, those first."""
    try:
        top = psutil.Process(pid)
        return [*top.children(recursive=True), top]
    except psutil.NoSuchProcess:
        return []


def _end(process: psutil.Process, *, kill: bool) -> None:
    try:
        process.kill() if kill else process.terminate()
    except psutil.NoSuchProcess:
        return
