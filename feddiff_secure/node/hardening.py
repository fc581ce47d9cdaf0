"""Whether a startup kit is as safe as we make them: a node does not start from any other.

A kit is files that somebody may have edited, or made with FLARE's own tools, whose defaults let a
submitter bring code and a server read logs. So every setting that matters is compared with what
`kit` writes, and nothing that FLARE would also read may lie beside it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_secure.errors import UsageError
from feddiff_secure.node.kit import CERTIFICATE, STARTUP, kit_kind, local_files, startup_config
from feddiff_secure.node.project import Kind, Member, Project

MOST_BYTES: Final = 1 << 20
LONGEST_SHOWN: Final = 60
_READ_BY_FLARE: Final = re.compile(
    r".*resources.*|authorization.*|log_config.*|privacy.*|comm_config.*|study_registry.*|custom"
    r"|.*\.py|signature.*",
    re.IGNORECASE,
)
_MISSING: Final = "<missing>"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in a kit that is not as it has to be.

    Attributes:
        file: inside the kit. field: dotted; empty for the file as a whole.
        found: what there is. wanted: what has to be.
    """

    file: str
    field: str
    found: str
    wanted: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{where} is {self.found}, not {self.wanted}"


def check_kit(kit: Path) -> list[Finding]:
    """Everything in a kit that is not so; empty for a safe one.

    Args:
        kit: its folder.

    Raises:
        UsageError: no kit, or more than one.
    """
    kind = kit_kind(kit)
    if kind is None:
        names = ", ".join(STARTUP.values())
        raise UsageError(
            f"{kit} is no startup kit: its folder startup has not exactly one of {names}",
            "make one with: feddiff-secure provision",
        )
    return [
        *_startup(kit, kind),
        *_local(kit, kind),
        *_strangers(kit, kind),
        *_modes(kit, kind),
    ]


def require_safe(kit: Path) -> Kind:
    """What a safe kit is the kit of.

    Raises:
        UsageError: naming the first file and field that is not so, and how many more there are.
    """
    findings = check_kit(kit)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise UsageError(
            f"{kit}/{findings[0]}{more}",
            "make the kit again with: feddiff-secure provision; do not edit it",
        )
    kind = kit_kind(kit)
    assert kind is not None  # check_kit refused others
    return kind


def startup_values(kit: Path, kind: Kind) -> dict[str, Any]:
    """The startup file of a kit.

    Raises:
        UsageError: missing or not JSON.
    """
    found = _read(kit / "startup" / STARTUP[kind])
    if not isinstance(found, dict):
        raise UsageError(f"{kit}/startup/{STARTUP[kind]}: not a JSON object", "make the kit again")
    return found


def _startup(kit: Path, kind: Kind) -> Iterator[Finding]:
    """The startup file is what `kit` writes for the project and name that it says."""
    name = f"startup/{STARTUP[kind]}"
    values = startup_values(kit, kind)
    try:
        project, member = said(values, kind)
    except (KeyError, IndexError, TypeError, ValueError):
        yield Finding(name, "", "of another form", "that of our kits")
        return
    yield from _equals(name, "", values, startup_config(project, member))


def said(values: dict[str, Any], kind: Kind) -> tuple[Project, Member]:
    """The project and the member that a startup file speaks of, as far as it says.

    Raises:
        KeyError, IndexError, TypeError, ValueError: a file of another form.
    """
    if kind == "admin":
        section = values["admin"]
        name, host, port = section["project_name"], section["host"], section["port"]
        own = section["username"]
    else:
        (server,) = values["servers"]
        name = server["name"]
        host, _, number = server["service"]["target"].rpartition(":")
        port = int(number)
        own = host if kind == "server" else values["client"]["fqsn"]
    if not all(isinstance(one, str) for one in (name, host, own)) or not isinstance(port, int):
        raise TypeError("names are text, a port is a number")
    return Project(name, host, port, "", own, {}), Member(own, "", kind)


def _local(kit: Path, kind: Kind) -> Iterator[Finding]:
    for name, wanted in local_files(kind, kit.absolute()).items():
        path = kit / "local" / name
        if not path.exists():
            yield Finding(f"local/{name}", "", _MISSING, "there")
            continue
        yield from _equals(f"local/{name}", "", _read(path), wanted)


def _strangers(kit: Path, kind: Kind) -> Iterator[Finding]:
    """Files beside ours that FLARE would read."""
    stem = CERTIFICATE[kind]
    startup = {STARTUP[kind], f"{stem}.crt", f"{stem}.key", "rootCA.pem"}
    for path in sorted((kit / "startup").iterdir()):
        if path.name not in startup:
            yield Finding(f"startup/{path.name}", "", "there", _MISSING)
    for name in sorted(startup):
        if not (kit / "startup" / name).is_file():
            yield Finding(f"startup/{name}", "", _MISSING, "there")
    ours = local_files(kind, kit.absolute())
    for path in sorted((kit / "local").iterdir()) if (kit / "local").is_dir() else ():
        if path.name not in ours and _READ_BY_FLARE.fullmatch(path.name):
            yield Finding(f"local/{path.name}", "", "there", _MISSING)


def _modes(kit: Path, kind: Kind) -> Iterator[Finding]:
    """The private key is its owner's alone; nobody else writes what the node starts from."""
    key = f"startup/{CERTIFICATE[kind]}.key"
    if (kit / key).exists():
        yield from _mode(kit, key, 0o077, "0600")
    for folder in (".", "startup", "local"):
        if (kit / folder).is_dir():
            yield from _mode(kit, folder, 0o022, "0700")
    for folder in ("startup", "local"):
        for path in sorted((kit / folder).glob("*.json")):
            yield from _mode(kit, f"{folder}/{path.name}", 0o022, "0644")


def _mode(kit: Path, name: str, forbidden: int, wanted: str) -> Iterator[Finding]:
    facts = (kit / name).lstat()
    if facts.st_uid != os.geteuid():
        yield Finding(name, "owner", str(facts.st_uid), str(os.geteuid()))
    if facts.st_mode & forbidden:
        yield Finding(name, "mode", f"{facts.st_mode & 0o7777:04o}", f"{wanted} or less")


def _equals(file: str, field: str, found: Any, wanted: Any) -> Iterator[Finding]:
    """Where `found` is not exactly `wanted`."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(found.keys() | wanted.keys()):
            name = f"{field}.{key}".lstrip(".")
            yield from _equals(file, name, found.get(key, _MISSING), wanted.get(key, _MISSING))
    elif isinstance(wanted, list) and isinstance(found, list) and len(found) == len(wanted):
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            yield from _equals(file, f"{field}.{index}", one, other)
    elif found != wanted or type(found) is not type(wanted):
        yield Finding(file, field, _shown(found), _shown(wanted))


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES} bytes", "make the kit again")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "make the kit again") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {str(error)[:80]}", "make the kit again") from error


def _shown(value: Any) -> str:
    text = value if value == _MISSING else json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"
