"""Open what a node's settings name: the keys that speak for it, the registry, the ledger.

The coordinator's identity, which signs the log that owners follow, is pinned in the same registry
under the name `coordinator`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto.errors import CryptoError, RegistryRefusedError
from feddiff_crypto.identity_file import (
    MAX_PASSPHRASE_BYTES,
    StoredIdentity,
    read_identity,
)
from feddiff_crypto.keys import IdentityKey, IdentityPublic, Registry
from feddiff_crypto.protected_file import READABLE_BY_OTHERS, read_protected
from feddiff_crypto.registry_file import RegistryFile, read_registry
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.ledgers import ledger_errors
from feddiff_secure.node.settings import NodeSettings
from feddiff_secure.transcript.files import COORDINATOR


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Whom this node is, and whom it knows.

    Attributes:
        name: of this owner in the registry.
        identity: its signing key.
        known: the pinned registry.
        custodians: pinned custodians; None where this node accepts none.
    """

    name: str
    identity: IdentityKey
    known: RegistryFile
    custodians: Registry | None

    @property
    def pinned(self) -> tuple[str, ...]:
        """Names of all owners that this node pins."""
        return tuple(name for name in self.known.parties if name != COORDINATOR)

    def owners(self, names: Sequence[str]) -> Registry:
        """The pinned identities of a run's owners, in their order.

        Raises:
            UsageError: one that is not pinned, or was revoked.
        """
        try:
            return self.known.pinned(names)
        except RegistryRefusedError as error:
            raise UsageError(str(error), "pin it with: feddiff-secure node registry add") from error

    def coordinator(self) -> IdentityPublic:
        """The pinned identity of the coordinator.

        Raises:
            UsageError: none is pinned.
        """
        return self.owners([COORDINATOR]).identity(COORDINATOR)


def open_keys(settings: NodeSettings) -> NodeKeys:
    """Read identity and registries.

    Raises:
        UsageError: a file is missing, open to others or wrong; the registry pins another key for
            this node. Names the settings file, its key and the file.
    """
    with _named(settings, "identity", settings.identity):
        stored = read_identity(settings.identity)
    passphrase = _passphrase(settings, stored)
    with _named(settings, "identity", settings.identity):
        identity = stored.open(passphrase)
    with _named(settings, "registry", settings.registry):
        known = read_registry(settings.registry)
    custodians = None
    if settings.custodians is not None:
        with _named(settings, "custodians", settings.custodians):
            custodians = read_registry(settings.custodians).pinned()
    if known.parties.get(stored.party) != identity.public:
        raise UsageError(
            f"{settings.path}: registry: {settings.registry} does not pin {stored.party} to the "
            f"key of {settings.identity}, {identity.public.fingerprint}",
            "pin your own key with: feddiff-secure node registry add",
        )
    return NodeKeys(stored.party, identity, known, custodians)


def ledger_path(settings: NodeSettings, name: str) -> Path:
    """The file of this owner's ledger of its holding."""
    return settings.ledger / f"{name}.{settings.holding}.jsonl"


def open_ledger(settings: NodeSettings, name: str, tiles: bytes) -> Ledger:
    """Open the ledger, or make it with the policy's lifetime ε and δ.

    Args:
        settings: of the node.
        name: of the owner.
        tiles: SHA-256 of the tiles it holds now.

    Raises:
        UsageError: the folder cannot be made or is open to others; the ledger is in use, or has
            another lifetime.
        DataError: a damaged ledger, or another owner's.
    """
    folder = settings.ledger
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = folder.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"{settings.path}: ledger: {folder}: {error.strerror}", "give a folder of your own"
        ) from error
    if mode & 0o022:
        raise UsageError(
            f"{settings.path}: ledger: {folder}: mode {mode & 0o777:04o} lets others write",
            f"use: chmod 700 {folder}",
        )
    with ledger_errors():
        return Ledger.open(
            ledger_path(settings, name),
            owner=name,
            holding=settings.holding,
            lifetime_epsilon=settings.policy.lifetime_epsilon,
            delta=settings.policy.largest_delta,
            tiles=tiles,
        )


def _passphrase(settings: NodeSettings, stored: StoredIdentity) -> bytes | None:
    path = settings.passphrase_file
    if path is None:
        return None
    if not stored.is_sealed:
        raise UsageError(
            f"{settings.path}: passphrase_file: {settings.identity} is not sealed",
            "leave out passphrase_file",
        )
    with _named(settings, "passphrase_file", path):
        raw = read_protected(
            path, forbidden_mode=READABLE_BY_OTHERS, max_bytes=MAX_PASSPHRASE_BYTES + 2
        )
    return raw.removesuffix(b"\n").removesuffix(b"\r")


@contextmanager
def _named(settings: NodeSettings, key: str, path: Path) -> Iterator[None]:
    """Name the settings file and the key in what is wrong with a file they name."""
    try:
        yield
    except CryptoError as error:
        text = str(error)
        where = "" if str(path) in text else f"{path}: "
        raise UsageError(
            f"{settings.path}: {key}: {where}{text}",
            "a key has mode 0600, a registry is writable by its owner only",
        ) from error
