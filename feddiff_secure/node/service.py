"""Start a kit's process, see whether it runs, and stop it.

The process keeps a lock on `KIT/process.lock` for as long as it lives, with its number inside. So a
number of a process that is long over is never taken for the node's. POSIX only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from feddiff_crypto.protected_file import PUBLIC_MODE, replace
from feddiff_secure.errors import UsageError
from feddiff_secure.node.certificates import read_certificates
from feddiff_secure.node.hardening import require_safe
from feddiff_secure.node.kit import CERTIFICATE, kit_kind, server_resources
from feddiff_secure.node.project import Kind, Member

LOCK: Final = "process.lock"
LOG: Final = "process.txt"
_PROGRAM: Final = "feddiff_secure.transport.flare.kit_process"
_STARTING: Final = 60.0  # seconds in which a process has to take its lock
_ENDING: Final = 15.0  # seconds between asking a process to end and ending it
_POLL: Final = 0.1


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started.

    Attributes:
        process: its number.
        log: file of what it prints.
    """

    process: int
    log: Path


def member_of(kit: Path) -> Member:
    """Whose kit this is, as its certificate says.

    Raises:
        UsageError: no kit, or one without a readable certificate.
    """
    kind = kit_kind(kit)
    if kind is None:
        raise UsageError(f"{kit} is no startup kit", "make one with: feddiff-secure provision")
    path = kit / "startup" / f"{CERTIFICATE[kind]}.crt"
    try:
        (certificate,) = read_certificates(path.read_bytes(), most=1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "make the kit again") from error
    name, organisation = (
        _one(certificate.subject, oid) for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    )
    return Member(name, organisation, kind)


def start(kit: Path, kind: Kind, *, variables: Mapping[str, str] | None = None) -> Running:
    """Start the process of a safe kit and return once it holds its lock.

    Args:
        kit: the startup kit.
        kind: `site` or `server`; any other kit is refused.
        variables: for its environment.

    Raises:
        UsageError: not such a kit, not a safe one, already running, or it ended at once.
    """
    kit = kit.absolute()
    member = member_of(kit)
    if member.kind != kind:
        raise UsageError(f"{kit} is the kit of a {member.kind}, not of a {kind}", "give another")
    if kind == "server":
        place_stores(kit)
    require_safe(kit)
    if (number := running(kit)) is not None:
        raise UsageError(f"{kit} is running already, as process {number}", "stop it first")
    (kit / "transfer").mkdir(mode=0o700, exist_ok=True)
    log = kit / LOG
    command = [sys.executable, "-u", "-m", _PROGRAM, kind, str(kit), member.name]
    with log.open("ab") as output:
        started = subprocess.Popen(  # noqa: S603  # our interpreter, a fixed module
            [*command, member.organisation],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**_environment(), **(variables or {})},
        )
    until = time.monotonic() + _STARTING
    while running(kit) != started.pid:
        if started.poll() is not None or time.monotonic() > until:
            raise UsageError(f"{kit}: its process ended as it started", f"see {log}")
        time.sleep(_POLL)
    return Running(started.pid, log)


def running(kit: Path) -> int | None:
    """The number of the process that runs a kit; None for none."""
    path = kit / LOCK
    if not path.exists():
        return None
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 32).decode("ascii", "replace").strip()
            return int(text) if text.isdecimal() else None
    return None


def stop(kit: Path) -> bool:
    """End the process of a kit, asking first; whether there was one.

    Raises:
        UsageError: it cannot be ended.
    """
    number = running(kit)
    if number is None:
        return False
    for one in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(number, one)
        except ProcessLookupError:
            return True
        except PermissionError as error:
            raise UsageError(
                f"{kit}: process {number} is another user's", "stop it as that user"
            ) from error
        until = time.monotonic() + _ENDING
        while time.monotonic() < until:
            if running(kit) != number:
                return True
            time.sleep(_POLL)
    raise UsageError(f"{kit}: process {number} does not end", "see the system's log")


def place_stores(kit: Path) -> None:
    """Let a server's kit that was moved keep its stores inside itself.

    Only a file that is ours but for the place is written; `require_safe` finds any other.
    """
    path = kit / "local" / "resources.json"
    try:
        found = json.loads(path.read_bytes())
        before = Path(found["snapshot_persistor"]["args"]["storage"]["args"]["root_dir"]).parent
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    if before != kit and found == server_resources(before):
        raw = (json.dumps(server_resources(kit), indent=1) + "\n").encode()
        replace(path, raw, mode=PUBLIC_MODE, check=json.loads)


def _environment() -> dict[str, str]:
    """This process's environment without what would override a kit's settings."""
    prefixes = ("NVFLARE_", "NVFL_")
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def _one(subject: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = [str(one.value) for one in subject.get_attributes_for_oid(oid)]
    if len(found) != 1:
        raise UsageError(f"a certificate of {subject.rfc4514_string()[:80]}", "make the kit again")
    return found[0]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
