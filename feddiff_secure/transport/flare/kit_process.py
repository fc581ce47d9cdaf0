"""The program of a site or of the server: FLARE's own, without what a server should not ask of one.

    python -m feddiff_secure.transport.flare.kit_process site KIT NAME ORGANISATION
    python -m feddiff_secure.transport.flare.kit_process server KIT NAME ORGANISATION

Whether a command from the server is authorized is decided in FLARE 2.9 by flags, names and roles
that the server's message carries. So a site of ours does not have the commands at all: no shell, no
restart, no change of logging, no listing of its environment or of a job's statistics.

The process holds a lock on `KIT/process.lock`, with its number inside, for as long as it lives.
"""

from __future__ import annotations

import fcntl
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Final

from nvflare.private.fed.client.client_req_processors import ClientRequestProcessors
from nvflare.private.fed.client.scheduler_cmds import (
    CancelResourceProcessor,
    CheckResourceProcessor,
    ReportResourcesProcessor,
    ReportVersionProcessor,
    StartJobProcessor,
)
from nvflare.private.fed.client.training_cmds import (
    AbortAppProcessor,
    AbortTaskProcessor,
    ClientStatusProcessor,
    DeployProcessor,
    NotifyJobStatusProcessor,
)

LOCK: Final = "process.lock"
ALREADY_RUNNING: Final = 3  # exit code
_PATIENCE: Final = 2.0  # seconds: whoever asks whether a kit runs holds its lock for a moment
_KEPT: Final = (
    AbortAppProcessor,
    AbortTaskProcessor,
    CancelResourceProcessor,
    CheckResourceProcessor,
    ClientStatusProcessor,
    DeployProcessor,
    NotifyJobStatusProcessor,
    ReportResourcesProcessor,
    ReportVersionProcessor,
    StartJobProcessor,
)
_PROGRAM: Final = {
    "site": ("nvflare.private.fed.app.client.client_train", "fed_client.json"),
    "server": ("nvflare.private.fed.app.server.server_train", "fed_server.json"),
}


def keep_needed_commands() -> None:
    """Leave a site the commands that a run needs, and no other."""
    known = ClientRequestProcessors.request_processors
    known[:] = [one for one in known if type(one) in _KEPT]


def take_lock(kit: Path) -> int | None:
    """Lock a kit and write this process's number into it; None where another process runs it."""
    descriptor = os.open(kit / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def main() -> None:
    """Run FLARE's program of the kit's kind until it ends."""
    kind, kit, name, organisation = sys.argv[1:]
    if take_lock(Path(kit)) is None:
        sys.exit(ALREADY_RUNNING)
    keep_needed_commands()
    module, settings = _PROGRAM[kind]
    values = ["secure_train=true", f"org={organisation}", "config_folder="]
    if kind == "site":
        values.append(f"uid={name}")
    sys.argv = [module, "-m", kit, "-s", settings, "--set", *values]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
