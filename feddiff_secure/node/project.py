"""The project of a federation: who runs the coordinator, who submits, who the sites are.

One public TOML file, the same at every organisation. The name of a site is the name of its owner
in the registry of identities.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from feddiff_secure.config.bounds import MOST_OWNERS
from feddiff_secure.errors import UsageError
from feddiff_secure.node.settings_fields import Field, checked

Kind = Literal["server", "site", "admin"]
MOST_BYTES: Final = 1 << 16
VERSION: Final = 1
ADMIN_ROLE: Final = "lead"
# FLARE takes `y`, `no` or `1e5` on a command line for a truth value or a number: so a letter leads,
# and the words are refused.
_WORDS: Final = r"(?!(?:y|yes|t|true|on|n|no|f|false|off|none|nan|inf|infinity)\Z)"
_NAME: Final = re.compile(_WORDS + r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII | re.IGNORECASE)
_ORGANISATION: Final = re.compile(_WORDS + r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII | re.IGNORECASE)
_WANTED: Final = "1 to 64 letters, digits and _, a letter first, not yes or no"
_WANTED_NAME: Final = "1 to 63 letters, digits, _ and -, a letter first, not yes or no"
_HOST: Final = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)
_ADMIN: Final = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Member:
    """One party of the transport.

    Attributes:
        name: common name of its certificate.
        organisation: letters, digits and `_`.
        kind: `server`, `site` or `admin`.
    """

    name: str
    organisation: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Project:
    """A federation.

    Attributes:
        name: letters, digits and `_`.
        host: where sites and admin reach the server, and the server's name.
        port: the one TCP port that they reach.
        organisation: who runs the server.
        admin: who submits jobs, as an e-mail address.
        sites: name → organisation.
    """

    name: str
    host: str
    port: int
    organisation: str
    admin: str
    sites: Mapping[str, str]

    @property
    def members(self) -> tuple[Member, ...]:
        """The server, the admin and the sites."""
        return (
            Member(self.host, self.organisation, "server"),
            Member(self.admin, self.organisation, "admin"),
            *(Member(name, org, "site") for name, org in self.sites.items()),
        )

    def member(self, name: str) -> Member:
        """The member of a name.

        Raises:
            UsageError: there is none.
        """
        for one in self.members:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.members)
        raise UsageError(f"{name[:80]!r} is not in project {self.name}", f"use one of: {known}")

    @property
    def is_local(self) -> bool:
        """Whether the server listens on this machine's loopback interface only."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load_project(path: Path) -> Project:
    """Read a project file.

    Raises:
        UsageError: missing, an unknown key, a wrong type or value; names file, key and bound.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES} bytes", "give a project file")
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give a project file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", "see docs/deploy.md") from error
    found = checked(values, _FIELDS, str(path), "")
    found.pop("version")
    return Project(**found)


def _text(pattern: re.Pattern[str], wanted: str) -> Field:
    def check(value: object) -> str:
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            raise ValueError(wanted)
        return value

    return Field(check)


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1024 <= value <= 65535:
        raise ValueError("a port from 1024 to 65535")
    return value


def _version(value: object) -> int:
    if value != VERSION or isinstance(value, bool):
        raise ValueError(f"version = {VERSION}")
    return VERSION


def _sites(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not 2 <= len(value) <= MOST_OWNERS:
        raise ValueError(f"a table of 2 to {MOST_OWNERS} sites, name = organisation")
    for name, organisation in value.items():
        if _NAME.fullmatch(name) is None or name == "server":
            raise ValueError(f"another name than {name[:80]!r}: {_WANTED_NAME}")
        if not isinstance(organisation, str) or _ORGANISATION.fullmatch(organisation) is None:
            raise ValueError(f"{name} an organisation of {_WANTED}")
    if len({name.casefold() for name in value}) != len(value):
        raise ValueError("sites names that differ in more than case")
    return dict(value)


_FIELDS: Final[dict[str, Field]] = {
    "version": Field(_version),
    "name": _text(_ORGANISATION, _WANTED),
    "host": _text(_HOST, "a host name or an IPv4 address of at most 64 characters"),
    "port": Field(_port),
    "organisation": _text(_ORGANISATION, _WANTED),
    "admin": _text(_ADMIN, "an e-mail address"),
    "sites": Field(_sites),
}
