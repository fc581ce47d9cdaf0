"""Step 1: who took part in which plan, under whose keys, with which configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from feddiff_crypto.keys import IdentityPublic, Registry
from feddiff_crypto.registry_file import RegistryFile
from feddiff_crypto.tlog.log import MAX_LEAF_BYTES, MAX_LOG_BYTES, parse_leaf
from feddiff_crypto.tlog.policy import LogPolicy
from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.config.load import config_digest, load_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_check import check_plan
from feddiff_secure.transcript.digests import RUN_LABEL
from feddiff_secure.transcript.files import COORDINATOR, LEAVES, file_digest, origin_of, read_bytes
from feddiff_secure.transcript.leaves import RunLeaf


@dataclass(frozen=True, slots=True)
class Run:
    """What the first leaf fixes.

    Attributes:
        leaf: it. plan: the plan in it. owners: the identities of the owners.
        policy: whose signatures make a checkpoint believed.
    """

    leaf: RunLeaf
    plan: Plan
    owners: Registry
    policy: LogPolicy


def read_run(data: bytes, pins: RegistryFile | None) -> Run:
    """The run that a first leaf names, its signatures verified.

    Args:
        data: the leaf's bytes.
        pins: identities that a reader knows; None to believe those in the leaf.

    Raises:
        CryptoError, StepFailedError: what does not hold.
    """
    leaf = RunLeaf.from_json(parse_leaf(data, "leaf 0"))
    plan = _plan(leaf)
    require(tuple(sorted(leaf.owners)) == plan.owners, "the plan is of other owners than the leaf")
    wanted = {plan.custodian} - {None}
    require(set(leaf.custodians) == wanted, "the leaf names another custodian than the plan")
    names = {**leaf.owners, **leaf.custodians, leaf.coordinator: leaf.log_key}
    require(leaf.coordinator == COORDINATOR, f"the coordinator is named {leaf.coordinator}")
    identities = _identities(names)
    if pins is not None:
        pinned = pins.pinned(sorted(names))
        for name, key in identities.items():
            require(
                pinned.identity(name) == key,
                f"{name} has the key {key.fingerprint}, pinned is "
                f"{pinned.identity(name).fingerprint}",
            )
    require(leaf.origin == origin_of(plan.session), "the log's origin is not that of the session")
    owners = Registry({name: identities[name] for name in leaf.owners})
    digest = leaf.signed_digest()
    for owner, signature in leaf.signatures.items():
        owners.verify(owner, signature, RUN_LABEL, digest)
    plan.policy.require("owners that signed the run", len(leaf.signatures))
    log_key = identities[leaf.coordinator]
    return Run(leaf, plan, owners, LogPolicy(leaf.origin, log_key, owners, plan.colluders))


def first_leaf(directory: Path) -> bytes:
    """The bytes of a log's first leaf.

    Raises:
        VerificationError: no log. StepFailedError: it has no whole leaf.
    """
    line, newline, _ = read_bytes(directory / LEAVES, MAX_LOG_BYTES).partition(b"\n")
    require(bool(newline) and len(line) <= MAX_LEAF_BYTES, f"{LEAVES} has no whole first leaf")
    return line


def read_config(directory: Path, plan: Plan) -> RunConfig:
    """The configuration of the run directory, if it is the plan's.

    Raises:
        UsageError, VerificationError: unreadable. StepFailedError: another one.
    """
    path = directory / "config.toml"
    file_digest(path)  # refuses links and special files
    config = load_config(path, {})
    found = config_digest(config)
    require(
        found == plan.config_digest,
        f"config.toml has digest {found}, the signed plan {plan.config_digest}",
    )
    return config


def _plan(leaf: RunLeaf) -> Plan:
    try:
        plan = Plan.from_json(leaf.plan_bytes())
        check_plan(plan)
    except (ValueError, ArithmeticError) as error:
        raise StepFailedError(f"the plan does not hold: {error}") from None
    return plan


def _identities(keys: Mapping[str, bytes]) -> dict[str, IdentityPublic]:
    identities = {name: IdentityPublic(raw) for name, raw in keys.items()}
    require(len(set(keys.values())) == len(keys), "one identity key under two names")
    return identities
