"""`feddiff-secure node`: an organisation's identity key at rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_crypto.errors import FileRefusedError
from feddiff_crypto.identity_file import (
    StoredIdentity,
    read_identity,
    write_identity,
)
from feddiff_crypto.keys import IdentityKey, is_party_name
from feddiff_crypto.protected_file import PRIVATE_MODE, PUBLIC_MODE, write_new
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.rotation import Rotation, parse_rotation
from feddiff_secure.cli.console import print_json
from feddiff_secure.cli.crypto_errors import as_user_errors
from feddiff_secure.cli.node_service_command import register
from feddiff_secure.cli.passphrase import read_passphrase
from feddiff_secure.cli.registry_command import registry_app
from feddiff_secure.errors import UsageError

node_app = typer.Typer(
    help="An organisation's identity key, and the registry that pins everyone's.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
node_app.add_typer(registry_app, name="registry")
register(node_app)

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_Passphrase = Annotated[
    Path | None,
    typer.Option(help="File (mode 0600) whose one line is the passphrase of the key."),
]


@node_app.callback()
def _node() -> None:
    """An organisation's identity key, and the registry that pins everyone's."""


@node_app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the organisation in the registry.")],
    out: Annotated[Path, typer.Option(help="File of the new key; never overwritten.")] = Path(
        "identity.key"
    ),
    passphrase_file: _Passphrase = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="Also write the node's settings, commented, into this new file."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make an identity key, write it with mode 0600, and print its fingerprint.

    Example:

      feddiff-secure node init agency --out agency.key --passphrase-file passphrase.txt
    """
    if not is_party_name(name):
        raise UsageError(f"{name!r} is not a party name", "use 1 to 64 letters, digits, . _ -")
    for path in (out, *([] if settings is None else [settings])):
        _refuse_existing(path)
    with as_user_errors():
        random = SecureRandom()
        passphrase = read_passphrase(passphrase_file)
        _write(out, name, IdentityKey.generate(random), passphrase, random)
        described = _described(read_identity(out), out)
        if settings is not None:
            _write_settings(settings, out, passphrase_file)
            described["settings"] = str(settings)
        _print(described, as_json)


@node_app.command()
def show(
    path: Annotated[Path, typer.Argument(help="Identity file.")] = Path("identity.key"),
    as_json: _Json = False,
) -> None:
    """Print the name, public key and fingerprint of an identity file; no passphrase is needed.

    Example:

      feddiff-secure node show agency.key
    """
    with as_user_errors():
        _print(_described(read_identity(path), path), as_json)


@node_app.command()
def rotate(
    out: Annotated[Path, typer.Option(help="File of the new key; never overwritten.")],
    statement: Annotated[
        Path, typer.Option(help="File of the signed statement to send to everyone.")
    ],
    identity: Annotated[Path, typer.Option(help="File of the old key.")] = Path("identity.key"),
    passphrase_file: _Passphrase = None,
    as_json: _Json = False,
) -> None:
    """Make a new identity key and a statement, signed by the old one, that it takes over.

    The passphrase opens the old key and seals the new one.

    Example:

      feddiff-secure node rotate --identity agency.key --out new.key --statement rotation.json
    """
    for path in (out, statement):
        _refuse_existing(path)
    with as_user_errors():
        random = SecureRandom()
        passphrase = read_passphrase(passphrase_file)
        stored = read_identity(identity)
        old, new = stored.open(passphrase), IdentityKey.generate(random)
        rotation = Rotation.sign(stored.party, old, new)
        _write(out, stored.party, new, passphrase, random)
        write_new(statement, rotation.to_bytes(), mode=PUBLIC_MODE, check=parse_rotation)
        described = _described(read_identity(out), out)
        _print(described | {"statement": str(statement)}, as_json)


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists and is not overwritten", "give another path")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path.parent} is no folder", "make the folder first")


def _write(
    path: Path, name: str, key: IdentityKey, passphrase: bytes | None, random: SecureRandom
) -> None:
    try:
        write_identity(path, name, key, passphrase, random)
    except FileRefusedError as error:  # the option's value is at fault, not a data file
        raise UsageError(str(error), "give another path") from error


def _write_settings(path: Path, identity: Path, passphrase_file: Path | None) -> None:
    from feddiff_secure.node.settings_text import settings_text  # noqa: PLC0415

    folder = path.absolute().parent
    named = [
        None if one is None else os.path.relpath(one.absolute(), folder)
        for one in (identity, passphrase_file)
    ]
    assert named[0] is not None
    text = settings_text(named[0], named[1])
    write_new(path, text.encode(), mode=PRIVATE_MODE, check=bytes.decode)


def _described(stored: StoredIdentity, path: Path) -> dict[str, Any]:
    return {
        "name": stored.party,
        "public": stored.public.raw.hex(),
        "fingerprint": stored.public.fingerprint,
        "sealed": stored.is_sealed,
        "file": str(path),
    }


def _print(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        typer.echo(f"{name}: {value}")
