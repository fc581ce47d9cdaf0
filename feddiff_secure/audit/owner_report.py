"""`audit report`: what one data owner can know of a run, as one JSON object.

1. The verifier runs: its verdict stands first, and a run that fails it is reported all the same.
2. The messages between the owner and the coordinator, from the log.
3. Budget, from the owner's ledger; who could learn what, from the statement; attacks, from their
   files.

Where something cannot be read the report says why, and shows nothing in its place. No torch, no
network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.keys import IdentityPublic, is_party_name
from feddiff_crypto.registry_file import RegistryFile
from feddiff_crypto.tlog.log import parse_leaf
from feddiff_privacy.errors import PrivacyError
from feddiff_secure.audit.attack_results import AttackResult, read_picture
from feddiff_secure.audit.history import History, read_history
from feddiff_secure.audit.message_totals import totalled
from feddiff_secure.audit.owner_budget import owner_budget
from feddiff_secure.audit.owner_messages import owner_messages
from feddiff_secure.audit.roster import Run, first_leaf, read_config, read_run
from feddiff_secure.audit.stated_privacy import stated_privacy
from feddiff_secure.audit.verdict import StepFailedError
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.errors import FeddiffError, UsageError
from feddiff_secure.transcript.leaves import RunLeaf
from feddiff_secure.version import __version__

T = TypeVar("T")
FORMAT: Final = "feddiff-secure owner report"
VERSION: Final = 1
MAP: Final = "map.png"
_MOST_PICTURE_BYTES: Final = 2_400_000  # in all: of the 5 MB that a page may have

NOT_CLAIMED: Final = (
    "that the other owners' inputs were honest: an owner can send any vector within its bounds",
    "that noise was drawn: nobody can see that in a masked sum; it rests on the owners' own nodes",
    "that a ledger is its owner's only one, or its tiles what it says",
    "that the run was not simulated: its deployment is as stated",
    "test metrics, maps and pictures: they are hashed, not recomputed, and lie outside epsilon",
    "anything outside the log: the ground grid of a split run, predictions, what a transport adds",
    "when something happened: the times in cosignatures are the witnesses' own clocks",
    "privacy by a failed attack: an attack that finds nothing is no proof",
)


@dataclass(frozen=True, slots=True)
class OwnerReport:
    """A report.

    Attributes:
        content: the object of `report.json`.
        pictures: name in `content` → PNG.
    """

    content: dict[str, Any]
    pictures: dict[str, bytes]

    @property
    def verified(self) -> bool:
        """Whether no step of the verifier failed."""
        return bool(self.content["verdict"]["verified"])


def owner_report(
    directory: Path,
    owner: str,
    *,
    pins: RegistryFile | None = None,
    ledgers: Path | None = None,
    attacks: Sequence[AttackResult] = (),
) -> OwnerReport:
    """Report on a run directory.

    Args:
        directory: of a finished run.
        owner: whom the report is for.
        pins: identities that the owner knows; None to believe those in the log.
        ledgers: folder with the owner's ledger; None for the one in the run directory.
        attacks: results of `audit attack`.

    Raises:
        UsageError: no directory, or no owner of this run.
    """
    verdict = verify_run(directory, pins=pins, ledgers=ledgers)
    _check_owner(directory, owner)
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "code_version": __version__,
        "owner": owner,
        "verdict": {**verdict.to_json(), "identities_pinned": pins is not None},
        "missing": {},
    }
    missing = content["missing"]
    read = _kept(missing, "run", lambda: _read(directory, pins))
    content |= (
        dict.fromkeys(("run", "log", "messages", "budget"))
        if read is None
        else _from_log(directory, *read, owner=owner, ledgers=ledgers, missing=missing)
    )
    content["privacy"] = _kept(missing, "privacy", lambda: stated_privacy(directory))
    content["attacks"] = [attack.to_json() for attack in attacks]
    content["not_claimed"] = list(NOT_CLAIMED)
    shown = _pictures(directory, attacks)
    content["pictures"] = [
        {"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(shown.items())
    ]
    return OwnerReport(content, shown)


def _from_log(
    directory: Path,
    run: Run,
    history: History,
    *,
    owner: str,
    ledgers: Path | None,
    missing: dict[str, str],
) -> dict[str, Any]:
    state = history.log.checkpoint(run.leaf.origin)
    return {
        "run": described(run, owner),
        "log": {"origin": state.origin, "size": state.size, "root": state.root.hex()},
        "messages": _kept(
            missing,
            "messages",
            lambda: totalled(owner_messages(directory, run, history, owner), history, owner),
        ),
        "budget": _kept(
            missing,
            "budget",
            lambda: owner_budget(
                directory,
                run,
                history,
                config=read_config(directory, run.plan),
                owner=owner,
                folder=ledgers,
            ),
        ),
    }


def described(run: Run, owner: str) -> dict[str, Any]:
    """What the signed plan says, of the run and of this owner."""
    plan = run.plan
    holds = "both" if plan.holds is None else plan.holds[plan.owners.index(owner)]
    return {
        "session": plan.session,
        "owners": list(plan.owners),
        "key": IdentityPublic(run.leaf.owners[owner]).fingerprint,
        "signed_plan": owner in run.leaf.signatures,
        "topology": plan.topology,
        "holds": holds,
        "aggregation": plan.aggregation,
        "key_agreement": plan.key_agreement,
        "noise": plan.noise,
        "epsilon_target": plan.epsilon,
        "delta": plan.delta,
        "rounds": plan.rounds,
        "parameters": plan.classes * plan.features,
        "threshold": plan.policy.threshold,
        "colluders": plan.colluders,
        "dropouts": plan.dropouts,
    }


def _check_owner(directory: Path, owner: str) -> None:
    """Refuse a name that is none of the run's owners, where the run can be read.

    Raises:
        UsageError: naming the owners.
    """
    if not is_party_name(owner):
        raise UsageError(f"owner: {owner[:64]!a} is no party name", "give one of the run's owners")
    try:
        owners = RunLeaf.from_json(parse_leaf(first_leaf(directory), "leaf 0")).owners
    except (CryptoError, StepFailedError, FeddiffError):
        return  # the verdict says what is wrong with it
    if owner not in owners:
        raise UsageError(
            f"owner: {owner!r} is not in this run", f"one of {', '.join(sorted(owners))}"
        )


def _pictures(directory: Path, attacks: Sequence[AttackResult]) -> dict[str, bytes]:
    """The map and the pictures of attacks, as many as a page has room for."""
    found = {MAP: read_picture(directory / MAP, _MOST_PICTURE_BYTES)}
    found |= {attack.name: attack.picture for attack in attacks}
    shown: dict[str, bytes] = {}
    for name, picture in found.items():
        room = _MOST_PICTURE_BYTES - sum(map(len, shown.values()))
        if picture is not None and len(picture) <= room:
            shown[name] = picture
    return shown


def _read(directory: Path, pins: RegistryFile | None) -> tuple[Run, History]:
    run = read_run(first_leaf(directory), pins)
    return run, read_history(directory, run)


def _kept(missing: dict[str, str], name: str, make: Callable[[], T]) -> T | None:
    """What `make` gives; where it fails, None, and the reason under `name`."""
    try:
        return make()
    except StepFailedError as error:
        missing[name] = str(error)
    except (CryptoError, FeddiffError, PrivacyError) as error:
        missing[name] = f"{type(error).__name__}: {error}"
    return None
