"""An owner's report on disk: page, JSON and statement in a new folder, whole or not at all.

The statement is an in-toto Statement over the hashes of page and JSON. With the owner's identity it
is signed in a DSSE envelope; without, it is written as it is.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_crypto.attest.statement import AUDIT_PREDICATE, Statement
from feddiff_crypto.jcs import Json
from feddiff_crypto.keys import IdentityKey
from feddiff_secure.errors import UsageError
from feddiff_secure.report.owner_page import owner_page

PAGE: Final = "report.html"
JSON: Final = "report.json"
UNSIGNED: Final = "statement.json"
SIGNED: Final = "statement.dsse.json"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a report.

    Attributes:
        party: the owner. key: its identity.
    """

    party: str
    key: IdentityKey

    def to_json(self, log_key: str | None) -> dict[str, Json]:
        """What the report says of it.

        Args:
            log_key: fingerprint of the owner's key in the log; None where no log holds.
        """
        fingerprint = self.key.public.fingerprint
        return {
            "party": self.party,
            "fingerprint": fingerprint,
            "same_key_as_log": fingerprint == log_key,
        }


def check_output(out: Path, run: Path) -> None:
    """Refuse to write over anything, or into the run: its files are evidence.

    Raises:
        UsageError: a path inside the run directory, an existing one, or no folder for it.
    """
    if out.resolve().is_relative_to(run.resolve()):
        raise UsageError(
            f"out: {out} lies inside the run directory",
            "write elsewhere: the files of a run are not added to afterwards",
        )
    for path in (out, _partial(out)):
        if path.exists() or path.is_symlink():
            raise UsageError(f"out: {path} exists", "give another --out, or remove it")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"out: {out.parent} is not a directory", "make it first")


def write_report(
    content: dict[str, Any], pictures: Mapping[str, bytes], out: Path, signer: Signer | None
) -> dict[str, Path]:
    """Write the folder; name → file.

    Args:
        content: of the report; who signs is added to it.
        pictures: name → PNG.
        out: the folder, which `check_output` accepted.
        signer: the owner; None for an unsigned statement.

    Raises:
        UsageError: it cannot be written.
    """
    run = content["run"]
    log_key = None if run is None else run["key"]
    content = {**content, "signer": None if signer is None else signer.to_json(log_key)}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # The page shows what a reader of the JSON gets: floats and keys as they come back.
    files = {JSON: text.encode(), PAGE: owner_page(json.loads(text), pictures).encode()}
    statement = report_statement(content, files)
    if signer is None:
        files[UNSIGNED] = statement.to_bytes()
    else:
        files[SIGNED] = statement.sign({signer.party: signer.key}).to_bytes()
    partial = _partial(out)
    try:
        partial.mkdir()
        for name, data in files.items():
            (partial / name).write_bytes(data)
        partial.rename(out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(
            f"out: {out}: {error.strerror}", "give a path that can be written"
        ) from error
    return {name: out / name for name in files}


def report_statement(content: Mapping[str, Any], files: Mapping[str, bytes]) -> Statement:
    """The statement of a report: what was found, over the hashes of its files."""
    verdict, run = content["verdict"], content["run"]
    return Statement(
        {name: hashlib.sha256(data).digest() for name, data in files.items()},
        AUDIT_PREDICATE,
        {
            "report": {"format": content["format"], "version": content["version"]},
            "code_version": content["code_version"],
            "owner": content["owner"],
            "session": None if run is None else run["session"],
            "log": content["log"],
            "verified": verdict["verified"],
            "failed_step": verdict["failed_step"],
            "identities_pinned": verdict["identities_pinned"],
        },
    )


def _partial(out: Path) -> Path:
    return out.with_name(out.name + ".partial")
