"""The settings of a coordinator: one TOML file in the server's kit, `local/coordinator.toml`.

    version = 1
    identity = "identity.key"       # the coordinator's own, mode 0600: the key of every run's log
    registry = "registry.json"      # the pinned identities of owners and coordinator
    runs = "../runs"                # folder of the run directories
    test = "public_test.h5"         # optional: a file that is public, for metrics
    plan_patience_s = 3600          # optional: how long owners' people may look at a plan

Paths are relative to the file. No job changes any of it.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.keys import IdentityKey, Registry
from feddiff_crypto.protected_file import WRITABLE_BY_OTHERS, read_protected
from feddiff_crypto.registry_file import RegistryFile, read_registry
from feddiff_secure.errors import UsageError
from feddiff_secure.transcript.files import COORDINATOR

SETTINGS_FILE: Final = "coordinator.toml"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 16  # of the file
DEFAULT_PLAN_PATIENCE: Final = 600  # seconds
MOST_PLAN_PATIENCE: Final = 7 * 24 * 3600
_KEYS: Final = ("version", "identity", "registry", "runs", "test", "plan_patience_s")
_HINT: Final = "see docs/deploy.md for the coordinator's settings"


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """What a coordinator is, knows and keeps.

    Attributes:
        path: the file these settings are from.
        identity: file of its identity key. registry: file of the pinned identities.
        runs: folder of the run directories.
        test: a public test file; None for runs without metrics.
        plan_patience: seconds in which every owner has to accept a plan.
    """

    path: Path
    identity: Path
    registry: Path
    runs: Path
    test: Path | None
    plan_patience: float

    @classmethod
    def load(cls, path: Path) -> CoordinatorSettings:
        """Read a settings file.

        Raises:
            UsageError: missing, writable by others, an unknown key, a wrong type or value.
        """
        values = _read(path)
        for key in values:
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"keys: {', '.join(_KEYS)}"
                raise UsageError(f"{path}: unknown key {key!r}", hint)
        if values.get("version") != VERSION:
            raise UsageError(f"{path}: version is not {VERSION}", _HINT)
        patience = values.get("plan_patience_s", DEFAULT_PLAN_PATIENCE)
        if type(patience) is not int or not 1 <= patience <= MOST_PLAN_PATIENCE:
            raise UsageError(f"{path}: plan_patience_s is not 1..{MOST_PLAN_PATIENCE}", _HINT)
        folder = path.absolute().parent
        paths = {key: _path(values, key, path) for key in ("identity", "registry", "runs", "test")}
        for key in ("identity", "registry", "runs"):
            if paths[key] is None:
                raise UsageError(f"{path}: no key {key}", _HINT)
        test = paths["test"]
        return cls(
            path=path,
            identity=folder / str(paths["identity"]),
            registry=folder / str(paths["registry"]),
            runs=folder / str(paths["runs"]),
            test=None if test is None else folder / test,
            plan_patience=float(patience),
        )

    def key(self) -> IdentityKey:
        """The coordinator's identity.

        Raises:
            UsageError: it cannot be read, is of another party or not the pinned one.
        """
        try:
            stored = read_identity(self.identity)
            key = stored.open()
        except CryptoError as error:
            raise UsageError(f"{self.path}: identity: {error}", _HINT) from error
        if stored.party != COORDINATOR or self._known().parties.get(COORDINATOR) != key.public:
            raise UsageError(
                f"{self.path}: the registry does not pin {COORDINATOR} to the identity's key",
                "pin it with: feddiff-secure node registry add",
            )
        return key

    def owners(self, names: tuple[str, ...]) -> Registry:
        """The pinned identities of a run's owners, in their order.

        Raises:
            UsageError: one that is not pinned, or the coordinator itself.
        """
        if COORDINATOR in names:
            raise UsageError(f"{COORDINATOR} is no owner", "name the owners of the run")
        try:
            return self._known().pinned(names)
        except CryptoError as error:
            raise UsageError(f"{self.registry}: {error}", "pin it first") from error

    def _known(self) -> RegistryFile:
        try:
            return read_registry(self.registry)
        except CryptoError as error:
            raise UsageError(f"{self.path}: registry: {error}", _HINT) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_protected(path, forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_BYTES)
        return tomllib.loads(raw.decode("utf-8"))
    except CryptoError as error:
        raise UsageError(str(error), _HINT) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", _HINT) from error


def _path(values: dict[str, Any], key: str, path: Path) -> str | None:
    value = values.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise UsageError(f"{path}: {key} is no path", _HINT)
    return value
