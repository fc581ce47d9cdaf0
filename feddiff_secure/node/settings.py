"""The settings of one node: one TOML file, read strictly, that never leaves the owner's machine.

Paths in it are relative to the file. It names what the node holds (data, ledger, keys) and what its
owner agrees to (`[policy]`); the coordinator neither sends nor sees any of it.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feddiff_crypto.errors import FileRefusedError
from feddiff_crypto.protected_file import WRITABLE_BY_OTHERS, read_protected
from feddiff_secure.errors import UsageError
from feddiff_secure.node.policy import NodePolicy
from feddiff_secure.node.settings_fields import NODE_FIELDS, POLICY_FIELDS, checked

MOST_BYTES = 1 << 16  # of a settings file
VERSION = 1
SETTINGS_FILE = "node.toml"
"""In a node's kit, in the folder `local`."""
REVIEW_VARIABLE = "FEDDIFF_NODE_REVIEW"
"""Set to 1 in the environment it turns review on, whatever the file says; nothing turns it off."""
_PART = re.compile(r"([1-9][0-9]{0,2}) of ([1-9][0-9]{0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a simulated dealing this node holds.

    Attributes:
        index: from 0. owners: number of parts.
    """

    index: int
    owners: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """What a node holds and agrees to.

    Attributes:
        path: the file these settings are from.
        data: HDF5 or MAT file of this owner; None only with `part`: the built-in simulated scene.
        lidar_data: file of the LiDAR where `data` holds none.
        part: for a federation on one machine: this node holds its part of the dealing of `data`.
        holding: name of the data that the budget belongs to.
        ledger: folder of the ledger.
        identity: file of the identity key, mode 0600.
        passphrase_file: file of the passphrase that seals it; None where it is not sealed.
        registry: file of the pinned identities of the owners and of the coordinator.
        custodians: file of the pinned identities of custodians; None accepts no custodian.
        review: whether a person approves every plan before anything is released.
        pending: folder of plans that wait for approval.
        review_timeout: seconds that a plan waits; then it is refused.
        policy: what the owner agrees to.
    """

    path: Path
    data: Path | None
    lidar_data: Path | None
    part: Part | None
    holding: str
    ledger: Path
    identity: Path
    passphrase_file: Path | None
    registry: Path
    custodians: Path | None
    review: bool
    pending: Path
    review_timeout: float
    policy: NodePolicy

    @classmethod
    def load(cls, path: Path) -> NodeSettings:
        """Read a settings file.

        Raises:
            UsageError: missing, writable by others, an unknown key, a wrong type or value; names
                the file, the key and the bound.
        """
        values = read_settings(path)
        policy = values.pop("policy", None)
        if not isinstance(policy, dict):
            raise UsageError(f"{path}: no table [policy]", "see node init --settings for one")
        source = str(path)
        node = checked(values, NODE_FIELDS, source, "")
        bounds = checked(policy, POLICY_FIELDS, source, "policy.")
        return _settings(path, node, bounds)


def read_settings(path: Path) -> dict[str, Any]:
    """The keys of a settings file of this version, as they stand in it.

    Raises:
        UsageError: missing, writable by others, too large, not TOML, or of another version.
    """
    try:
        raw = read_protected(path, forbidden_mode=WRITABLE_BY_OTHERS, max_bytes=MOST_BYTES)
        values: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except FileRefusedError as error:
        hint = "give the settings file, writable by its owner only"
        raise UsageError(str(error), hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", "see docs/deploy.md") from error
    version = values.pop("version", None)
    if version != VERSION or isinstance(version, bool):
        raise UsageError(f"{path}: version is {version!r}", f"give version = {VERSION}")
    return values


def _settings(path: Path, node: dict[str, Any], bounds: dict[str, Any]) -> NodeSettings:
    folder = path.absolute().parent

    def found(key: str) -> Path | None:
        return None if node[key] is None else folder / node[key]

    part = None if node["part"] is None else _part(node["part"], path)
    if node["data"] is None and part is None:
        raise UsageError(f"{path}: no key data", "name the file that this node holds")
    policy = NodePolicy(**bounds)
    if policy.least_colluders > policy.most_colluders:
        raise UsageError(
            f"{path}: policy.least_colluders is {policy.least_colluders}, above "
            f"policy.most_colluders, {policy.most_colluders}",
            "no plan could meet both",
        )
    ledger, identity, registry, pending = (
        folder / node[key] for key in ("ledger", "identity", "registry", "pending")
    )
    return NodeSettings(
        path=path,
        data=found("data"),
        lidar_data=found("lidar_data"),
        part=part,
        holding=node["holding"],
        ledger=ledger,
        identity=identity,
        passphrase_file=found("passphrase_file"),
        registry=registry,
        custodians=found("custodians"),
        review=node["review"] or os.environ.get(REVIEW_VARIABLE) == "1",
        pending=pending,
        review_timeout=float(node["review_timeout_s"]),
        policy=policy,
    )


def _part(text: str, path: Path) -> Part:
    found = _PART.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise UsageError(f"{path}: part is {text[:40]!r}", 'give it as "2 of 4"')
    return Part(int(found[1]) - 1, int(found[2]))
