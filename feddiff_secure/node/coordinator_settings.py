"""The settings of the coordinator's machine: one TOML file beside the server's startup kit.

    version = 1
    identity = "identity.key"      # of the party `coordinator`: it signs the log of every run
    registry = "registry.json"     # pins the owners and the coordinator
    runs = "../runs"               # folder of run directories
    # test = "test.h5"             # a public test file; without one no accuracy is measured

Paths are relative to the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.registry_file import RegistryFile, read_registry
from feddiff_secure.errors import UsageError
from feddiff_secure.node.settings import read_settings
from feddiff_secure.node.settings_fields import COORDINATOR_FIELDS, checked
from feddiff_secure.transcript.files import COORDINATOR

SETTINGS_FILE: Final = "coordinator.toml"


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """What the coordinator's machine holds.

    Attributes:
        identity: its signing key. known: the pinned registry.
        runs: folder of run directories.
        test: a public test file, or None.
    """

    identity: IdentityKey
    known: RegistryFile
    runs: Path
    test: Path | None

    @classmethod
    def load(cls, path: Path) -> CoordinatorSettings:
        """Read the settings and the files they name.

        Raises:
            UsageError: any of them missing, open to others, or wrong.
        """
        found = checked(read_settings(path), COORDINATOR_FIELDS, str(path), "")
        folder = path.absolute().parent
        try:
            stored = read_identity(folder / found["identity"])
            known = read_registry(folder / found["registry"])
            key = stored.open()
        except CryptoError as error:
            raise UsageError(f"{path}: {error}", "a key has mode 0600") from error
        if stored.party != COORDINATOR or known.parties.get(COORDINATOR) != key.public:
            raise UsageError(
                f"{path}: the registry does not pin {COORDINATOR} to the key of {stored.party}",
                f"make the key with: feddiff-secure node init {COORDINATOR}, and pin it",
            )
        test = None if found["test"] is None else folder / found["test"]
        if test is not None and not test.is_file():
            raise UsageError(f"{path}: test: {test} is no file", "name it, or leave out test")
        return cls(key, known, folder / found["runs"], test)

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners that are pinned, in roster order."""
        return tuple(name for name in self.known.parties if name != COORDINATOR)
