"""Whether a report that a data owner was handed is the one that its owner signed.

1. The statement is an envelope that the owner, by its pinned identity, signed; nothing of it is
   read before. Without an envelope there is only an unsigned statement, which anybody can write.
2. It is of an audit, and names exactly page and JSON; both are what it has the hashes of.
3. The owner it names is among those who signed.

What the report says of the run is the word of whoever signed it; `audit verify` repeats the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.attest.dsse import MAX_ENVELOPE_BYTES, parse_envelope
from feddiff_crypto.attest.statement import (
    AUDIT_PREDICATE,
    Statement,
    parse_statement,
    verify_attestation,
)
from feddiff_crypto.registry_file import RegistryFile
from feddiff_secure.errors import UsageError, VerificationError
from feddiff_secure.report.owner_files import JSON, PAGE, SIGNED, UNSIGNED
from feddiff_secure.transcript.files import file_digest, read_bytes

_FIELDS: Final = {
    "report", "code_version", "owner", "session", "log", "verified", "failed_step",
    "identities_pinned",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheckedReport:
    """What a report turned out to be.

    Attributes:
        owner: whom it is for.
        signed_by: parties whose pinned keys signed it; empty for an unsigned one.
        verified: whether it says that the run verified.
        failed_step: the step that failed, if it says that.
        session: of the run, in hex; None where the report could not tell.
        log: origin, size and root of the run's log, or None.
    """

    owner: str
    signed_by: tuple[str, ...]
    verified: bool
    failed_step: int | None
    session: str | None
    log: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """One object."""
        return {
            "owner": self.owner,
            "signed_by": list(self.signed_by),
            "verified": self.verified,
            "failed_step": self.failed_step,
            "session": self.session,
            "log": self.log,
        }

    def to_lines(self) -> list[str]:
        """The same for people."""
        run = "a run that it cannot name" if self.session is None else f"run {self.session[:16]}"
        found = "verified" if self.verified else f"FAILED at step {self.failed_step}"
        signed = ", ".join(self.signed_by)
        return [
            f"{PAGE}, {JSON}   as the statement says",
            f"signed by   {signed or 'nobody: anybody can have written it'}",
            f"says        for {self.owner}: {run} {found}",
        ]


def check_report(folder: Path, registry: RegistryFile | None) -> CheckedReport:
    """Check the folder that `audit report` wrote.

    Args:
        folder: with page, JSON and statement.
        registry: the pinned identities; needed for a signed report.

    Raises:
        UsageError: no folder with one statement, or a signed one and no registry.
        CryptoError: the statement is not signed by whom it should be, or none of ours.
        VerificationError: a file is missing or not the one that the statement is about.
    """
    statement, signed_by = _statement(folder, registry)
    if set(statement.subjects) != {PAGE, JSON}:
        raise _refused(folder, f"the statement is not about {PAGE} and {JSON}")
    for name, digest in statement.subjects.items():
        if file_digest(folder / name) != digest:
            raise _refused(folder, f"{name} is not the file that the statement has the hash of")
    said = statement.predicate
    if said.keys() != _FIELDS:
        raise _refused(folder, "the statement has other fields than an audit's")
    owner, verified, failed = said["owner"], said["verified"], said["failed_step"]
    if not isinstance(owner, str) or not isinstance(verified, bool):
        raise _refused(folder, "the statement names no owner, or no verdict")
    if (failed is None) is not verified:
        raise _refused(folder, "the statement's verdict contradicts itself")
    if signed_by and owner not in signed_by:
        raise _refused(folder, f"the report is for {owner[:64]}, who did not sign it")
    return CheckedReport(
        owner=owner,
        signed_by=signed_by,
        verified=verified,
        failed_step=failed if isinstance(failed, int) else None,
        session=said["session"] if isinstance(said["session"], str) else None,
        log=said["log"] if isinstance(said["log"], dict) else None,
    )


def _statement(folder: Path, registry: RegistryFile | None) -> tuple[Statement, tuple[str, ...]]:
    """The statement in the folder and who signed it; step 1 and the predicate's type."""
    found = [name for name in (SIGNED, UNSIGNED) if (folder / name).is_file()]
    if len(found) != 1:
        raise UsageError(
            f"{folder}: {'no' if not found else 'more than one'} statement of a report",
            "give the folder that audit report wrote",
        )
    data = read_bytes(folder / found[0], MAX_ENVELOPE_BYTES)
    if found == [UNSIGNED]:
        statement = parse_statement(data)
        if statement.predicate_type != AUDIT_PREDICATE:
            raise _refused(folder, "the statement is not of an audit")
        return statement, ()
    if registry is None:
        raise UsageError(
            f"{folder / SIGNED}: signed, and no key to check it with",
            "give --registry with the owner's pinned identity",
        )
    parties = tuple(sorted(parse_envelope(data).signatures))
    return verify_attestation(data, registry.pinned(parties), parties, AUDIT_PREDICATE), parties


def _refused(folder: Path, what: str) -> VerificationError:
    return VerificationError(f"{folder}: {what}", "ask whoever sent the report for it again")
