"""`feddiff-secure node registry`: the file that pins whose key speaks for whom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_crypto.errors import FileRefusedError
from feddiff_crypto.keys import IdentityPublic
from feddiff_crypto.protected_file import read_protected
from feddiff_crypto.registry_file import RegistryFile, read_registry, write_registry
from feddiff_crypto.rotation import MAX_FILE_BYTES, parse_rotation
from feddiff_secure.cli.console import print_json
from feddiff_secure.cli.crypto_errors import as_user_errors
from feddiff_secure.errors import UsageError, VerificationError

registry_app = typer.Typer(
    help="Pin, show, rotate and revoke identities.", no_args_is_help=True, rich_markup_mode=None
)

_Registry = Annotated[Path, typer.Option("--registry", help="The registry file.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_DEFAULT = Path("registry.json")


@registry_app.callback()
def _registry() -> None:
    """Pin, show, rotate and revoke identities."""


@registry_app.command()
def add(  # noqa: PLR0917  # one parameter an option, given by name
    name: Annotated[str, typer.Argument(help="Name of the organisation.")],
    public: Annotated[str, typer.Argument(help="Its public key, 64 hex digits.")],
    registry: _Registry = _DEFAULT,
    fingerprint: Annotated[
        str | None,
        typer.Option(help="The fingerprint its people read to you; refused if it differs."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a pinned key on your own word.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Pin an organisation's key; makes the file if there is none.

    Example:

      feddiff-secure node registry add agency "$KEY" --fingerprint "$HEARD"
    """
    key = _public(public)
    if fingerprint is not None and "".join(fingerprint.split()) != key.fingerprint.replace(" ", ""):
        raise VerificationError(
            f"the fingerprint of {name} is {key.fingerprint}, not {fingerprint!r}",
            "do not pin this key; ask the organisation on another channel",
        )
    with as_user_errors():
        known = _read_or_empty(registry)
        _write(registry, known.put(name, key, replace=replace))
    _print({"name": name, "fingerprint": key.fingerprint, "registry": str(registry)}, as_json)


@registry_app.command()
def show(registry: _Registry = _DEFAULT, as_json: _Json = False) -> None:
    """List names and fingerprints, to be compared with each organisation by voice.

    Example:

      feddiff-secure node registry show
    """
    with as_user_errors():
        known = read_registry(registry)
    shown: dict[str, Any] = {
        "registry": str(registry),
        "sha256": known.digest().hex(),
        "parties": {name: key.fingerprint for name, key in known.parties.items()},
        "revoked": [
            {
                "name": key.name,
                "fingerprint": IdentityPublic(key.public).fingerprint,
                "reason": key.reason,
            }
            for key in known.revoked
        ],
    }
    if as_json:
        print_json(shown)
        return
    typer.echo(f"{registry} sha256 {shown['sha256']}")
    for name, fingerprint in shown["parties"].items():
        typer.echo(f"{fingerprint}  {name}")
    for key in shown["revoked"]:
        typer.echo(f"{key['fingerprint']}  {key['name']}  revoked: {key['reason']}")


@registry_app.command()
def rotate(
    statement: Annotated[Path, typer.Argument(help="The statement that node rotate made.")],
    registry: _Registry = _DEFAULT,
    as_json: _Json = False,
) -> None:
    """Replace a key by the one that it signed for; the old key is revoked.

    Example:

      feddiff-secure node registry rotate rotation.json
    """
    with as_user_errors():
        known = read_registry(registry)
        rotation = parse_rotation(
            read_protected(statement, forbidden_mode=0, max_bytes=MAX_FILE_BYTES)
        )
        _write(registry, known.rotate(rotation))
    fingerprint = rotation.new.fingerprint
    _print({"name": rotation.party, "fingerprint": fingerprint, "registry": str(registry)}, as_json)


@registry_app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the organisation.")],
    reason: Annotated[str, typer.Option(help="Why, in a few words; shown to whoever asks.")],
    registry: _Registry = _DEFAULT,
    as_json: _Json = False,
) -> None:
    """Take an organisation's key out of use for good.

    Example:

      feddiff-secure node registry revoke agency --reason "laptop lost"
    """
    with as_user_errors():
        known = read_registry(registry)
        revoked = known.revoke(name, reason)
        _write(registry, revoked)
    fingerprint = known.parties[name].fingerprint
    _print({"name": name, "fingerprint": fingerprint, "revoked": reason}, as_json)


def _public(text: str) -> IdentityPublic:
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        raise UsageError(f"{text[:80]!r} is not a public key", "give its 64 lower-case hex digits")
    return IdentityPublic(bytes.fromhex(text))


def _read_or_empty(path: Path) -> RegistryFile:
    if not path.exists() and not path.is_symlink():
        return RegistryFile({})
    return read_registry(path)


def _write(path: Path, registry: RegistryFile) -> None:
    try:
        write_registry(path, registry)
    except FileRefusedError as error:  # the option's value is at fault, not a data file
        raise UsageError(str(error), "give another --registry") from error


def _print(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        typer.echo(f"{name}: {value}")
