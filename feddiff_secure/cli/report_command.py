"""`feddiff-secure audit report`: for a data owner, what left the building and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.registry_file import read_registry
from feddiff_secure.cli.console import print_json, stderr
from feddiff_secure.cli.crypto_errors import as_user_errors, as_verification
from feddiff_secure.cli.passphrase import read_passphrase
from feddiff_secure.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from feddiff_secure.report.owner_files import Signer


def report(  # noqa: PLR0917  # one parameter an option, given by name
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    owner: Annotated[str, typer.Option(help="The owner that the report is for.")],
    out: Annotated[Path, typer.Option(help="Folder to write, new, outside the run.")],
    ledger: Annotated[
        Path | None,
        typer.Option(help="Folder with the owner's ledger. Default: in the run directory."),
    ] = None,
    attacks: Annotated[
        Path | None,
        typer.Option(help="Folder of results of audit attack (.json, .png). Default: none."),
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(help="Registry of pinned identities. Default: those the log names, unpinned."),
    ] = None,
    identity: Annotated[
        Path | None,
        typer.Option(help="The owner's identity file, to sign the report. Default: unsigned."),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File (mode 0600) whose one line is the passphrase of the key."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write one HTML page for a data owner: what left, what came in, budget, adversaries, verdict.

    Beside it report.json and a statement with the hashes of both. Exit code 6 if the run does not
    verify; the report is written all the same and says so.

    Example:

      feddiff-secure audit report runs/first --owner owner-001 --out first-report
    """
    # Imported here: accountant and plotting take a second that --help need not wait.
    from feddiff_secure.audit.attack_results import read_attacks  # noqa: PLC0415
    from feddiff_secure.audit.owner_report import owner_report  # noqa: PLC0415
    from feddiff_secure.report.owner_files import check_output, write_report  # noqa: PLC0415

    check_output(out, run)
    signer = None if identity is None else _signer(identity, owner, passphrase_file)
    with as_user_errors():
        pins = None if registry is None else read_registry(registry)
    found = owner_report(
        run,
        owner,
        pins=pins,
        ledgers=ledger,
        attacks=[] if attacks is None else read_attacks(attacks),
    )
    files = write_report(found.content, found.pictures, out, signer)
    verdict = found.content["verdict"]
    if as_json:
        summary = {name: found.content[name] for name in ("owner", "log")}
        print_json(
            {"run": str(run), **summary, **verdict, "files": {n: str(p) for n, p in files.items()}}
        )
    else:
        for path in files.values():
            typer.echo(str(path))
        stderr.print("unsigned: give --identity to sign it" if signer is None else "signed")
    if not found.verified:
        step = verdict["steps"][verdict["failed_step"] - 1]
        raise VerificationError(
            f"{run}: step {step['step']} ({step['name']}): {step['detail']}",
            f"the report in {out} says so; do not rely on this run",
        )


def check_report(
    folder: Annotated[Path, typer.Argument(help="Folder that audit report wrote.")],
    registry: Annotated[
        Path | None,
        typer.Option(help="Registry of pinned identities; needed for a signed report."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Check that a report is the one its owner signed, page and JSON; without the run directory.

    Exit code 6 if it is not. What it says of the run is the owner's word: audit verify repeats it.

    Example:

      feddiff-secure audit check-report first-report --registry registry.json
    """
    from feddiff_secure.report.signed_report import check_report as check  # noqa: PLC0415

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory", "give the folder that audit report wrote")
    with as_user_errors():
        pins = None if registry is None else read_registry(registry)
    with as_verification(str(folder), "ask whoever sent the report for it again"):
        found = check(folder, pins)
    if as_json:
        print_json({"report": str(folder), **found.to_json()})
    else:
        typer.echo("\n".join(found.to_lines()))


def _signer(path: Path, owner: str, passphrase_file: Path | None) -> Signer:
    from feddiff_secure.report.owner_files import Signer  # noqa: PLC0415

    with as_user_errors():
        stored = read_identity(path)
        if stored.party != owner:
            raise UsageError(
                f"identity: {path} is of {stored.party}, the report of {owner[:64]}",
                "give the owner's own identity file",
            )
        return Signer(owner, stored.open(read_passphrase(passphrase_file)))
