"""A federation of processes on this machine, started as a user would and looked into by psutil."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from feddiff_privacy.ledger.chain import parse_chain
from feddiff_secure.data.hdf5_writer import write_scene
from scripts.make_tiny_table import tiny_table

REPOSITORY = Path(__file__).parents[2]
WAIT = 240.0  # seconds: sites compute features on a shared machine
# A shell starts what it puts into the background with SIGINT ignored, and children inherit that.
COMMAND = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from feddiff_secure.cli.main import main; main()"
)


def write_tiny(folder: Path) -> Path:
    """A table small enough for a run of seconds."""
    path = folder / "tiny.h5"
    write_scene(path, tiny_table(pixels=240, bands=20, seed=0))
    return path


def command(tiny: Path, out: Path, *more: object) -> list[str]:
    base = ["run", "--data", tiny, "--out", out, "--delta", 1e-4, "--json", *more]
    return [sys.executable, "-c", COMMAND, *map(str, base)]


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A run under way; it is killed, should the test fail before it ends."""
    roots = [REPOSITORY, REPOSITORY / "crypto", REPOSITORY / "privacy"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(arguments: list[str]) -> tuple[int, str, str]:
    with started(arguments) as process:
        out, err = process.communicate(timeout=WAIT)
        return process.returncode, out.decode(), err.decode()


def wait_for(what: Callable[[], Any], seconds: float = WAIT) -> Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.1)
    return found


def lines(out: Path) -> int:
    path = out.with_name(out.name + ".partial") / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def site(process: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    """The process of a site, or of the server, and its job process."""
    mark = "fed_server.json" if name == "server" else f"uid={name}"
    top = next(one for one in tree(process) if mark in one.cmdline())
    return [top, *top.children(recursive=True)]


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=15)[1]


def charged(path: Path) -> int:
    """Attempts spent in a ledger."""
    balance = parse_chain(path.read_bytes(), path).balance
    return sum(sum(one.spent.values()) for one in balance.reservations.values())
