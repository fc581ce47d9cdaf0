"""`feddiff-secure audit verify`, `prove`, `check-proof` and `prune`: what a transcript shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_crypto.registry_file import RegistryFile, read_registry
from feddiff_secure.cli.console import print_json, stderr
from feddiff_secure.cli.crypto_errors import as_user_errors, as_verification
from feddiff_secure.errors import UsageError, VerificationError

_Run = Annotated[Path, typer.Argument(help="Run directory.")]
_Registry = Annotated[
    Path | None,
    typer.Option(help="Registry of pinned identities. Default: those the log names, unpinned."),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_HINT = "do not rely on this run; docs/audit.md says what each step means"


def verify(
    run: _Run,
    registry: _Registry = None,
    ledgers: Annotated[
        Path | None,
        typer.Option(help="Folder of the owners' ledgers. Default: in the run directory."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Repeat a run from its transcript: signatures, log, sums, model, epsilon, ledgers, files.

    Needs neither data nor keys, and no network. Exit code 6 names the first step that fails.

    Example:

      feddiff-secure audit verify runs/first --registry registry.json
    """
    # Imported here: the accountant takes a second that --help need not wait.
    from feddiff_secure.audit.verify import verify_run  # noqa: PLC0415

    verdict = verify_run(run, pins=_pins(registry), ledgers=ledgers)
    if as_json:
        print_json({"run": str(run), **verdict.to_json()})
    else:
        typer.echo("\n".join(verdict.to_lines()))
    failed = verdict.failed
    if failed is not None:
        raise VerificationError(
            f"{run}: step {failed.number} ({failed.name}): {failed.detail}", _HINT
        )


def prove(  # noqa: PLR0917  # one parameter an option, given by name
    run: _Run,
    owner: Annotated[str, typer.Option(help="The owner.")],
    round_: Annotated[int, typer.Option("--round", help="The round, from 0.", min=0)],
    out: Annotated[Path, typer.Option(help="Proof to write, new: .tlog-proof.")],
    phase: Annotated[
        str, typer.Option(help="The phase of the round: train, mean or count.")
    ] = "train",
    as_json: _Json = False,
) -> None:
    """Write one file that shows whether an owner's vector is in a round's sum.

    Example:

      feddiff-secure audit prove runs/first --owner owner-001 --round 3 --out in.tlog-proof
    """
    from feddiff_secure.audit.prove import (  # noqa: PLC0415
        check_contribution,
        make_contribution,
    )

    if not run.is_dir():
        raise UsageError(f"{run} is not a directory", "give the --out directory of a run")
    if out.exists():
        raise UsageError(f"out: {out} exists", "give another --out, or remove it")
    with as_verification(str(run), _HINT):
        proof = make_contribution(run, owner=owner, phase=phase, round_index=round_)
        shown = check_contribution(proof, None)  # what is handed out has to verify
    try:
        out.write_bytes(proof.to_bytes())
    except OSError as error:
        raise UsageError(
            f"out: {out}: {error.strerror}", "give a path that can be written"
        ) from error
    if as_json:
        print_json({"proof": str(out), **shown.to_json()})
    else:
        typer.echo("\n".join(shown.to_lines()))
    stderr.print(f"{out} ({len(proof.to_bytes())} bytes); check it with audit check-proof")


def check_proof(
    proof: Annotated[Path, typer.Argument(help="File that audit prove wrote.")],
    registry: _Registry = None,
    as_json: _Json = False,
) -> None:
    """Check a proof offline, without the run directory. Exit code 6 if it shows nothing.

    Example:

      feddiff-secure audit check-proof in.tlog-proof --registry registry.json
    """
    from feddiff_secure.audit.prove import (  # noqa: PLC0415
        MAX_CONTRIBUTION_BYTES,
        check_contribution,
        parse_contribution,
    )
    from feddiff_secure.transcript.files import read_bytes  # noqa: PLC0415

    if not proof.is_file():
        raise UsageError(f"{proof}: no such file", "give a file that audit prove wrote")
    pins = _pins(registry)
    with as_verification(str(proof), _HINT):
        data = read_bytes(proof, MAX_CONTRIBUTION_BYTES)
        shown = check_contribution(parse_contribution(data), pins)
    if as_json:
        print_json({"proof": str(proof), **shown.to_json()})
    else:
        typer.echo("\n".join(shown.to_lines()))


def prune(run: _Run, as_json: _Json = False) -> None:
    """Remove the masked vectors and opened secrets of a verified run; their hashes stay.

    Sums and model can no longer be recomputed afterwards, and verify says so.

    Example:

      feddiff-secure audit prune runs/first
    """
    from feddiff_secure.audit.history import read_history  # noqa: PLC0415
    from feddiff_secure.audit.pruned import prune as prune_run  # noqa: PLC0415
    from feddiff_secure.audit.roster import first_leaf, read_run  # noqa: PLC0415

    if not run.is_dir():
        raise UsageError(f"{run} is not a directory", "give the --out directory of a run")
    with as_verification(str(run), _HINT):
        history = read_history(run, read_run(first_leaf(run), None))
        removed = prune_run(run, history.manifest)
    if as_json:
        print_json({"run": str(run), "removed": bool(removed)})
    stderr.print(
        f"{run}: {'vectors and opened secrets removed' if removed else 'nothing to prune'}"
    )


def _pins(path: Path | None) -> RegistryFile | None:
    if path is None:
        return None
    with as_user_errors():
        return read_registry(path)
