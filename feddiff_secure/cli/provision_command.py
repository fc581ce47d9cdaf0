"""`feddiff-secure provision`: startup kits of a federation, on one machine or by requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_secure.cli.console import print_json
from feddiff_secure.errors import UsageError

provision_app = typer.Typer(
    help="Startup kits of a federation across organisations.",
    rich_markup_mode=None,
)

_Project = Annotated[Path, typer.Option("--project", help="The project file (TOML).")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_PROJECT = Path("project.toml")


@provision_app.callback(invoke_without_command=True)
def provision(
    context: typer.Context,
    project: _Project = _PROJECT,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the root and the kits; must not exist.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make all kits on this machine, which then has seen every transport key.

    With request, sign and assemble, private keys stay where they are made. Identity keys, which
    decide who speaks in the protocol, are made by node init at each owner in either case.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise UsageError("no --out", "give the folder of the kits, or a subcommand: --help")
    from feddiff_secure.node.project import load_project  # noqa: PLC0415  # as below
    from feddiff_secure.node.provisioning import provision as make_kits  # noqa: PLC0415

    if out.exists():
        raise UsageError(f"{out} exists and is not overwritten", "give another --out")
    kits = make_kits(load_project(project), out)
    _print(
        {
            "flow": "all kits on one machine: it has seen every transport key, no identity key",
            "root": str(out / "root"),
            "server": str(kits.server),
            "admin": str(kits.admin),
            "sites": {name: str(kit) for name, kit in kits.sites.items()},
        },
        as_json,
    )


@provision_app.command()
def root(
    out: Annotated[Path, typer.Option(help="Folder of the root; must not exist.")],
    project: _Project = _PROJECT,
    as_json: _Json = False,
) -> None:
    """Make the root that signs a project's certificates; its key stays in the folder.

    Example:

      feddiff-secure provision root --out root
    """
    from feddiff_secure.node.certificates import certified_key, fingerprint  # noqa: PLC0415
    from feddiff_secure.node.project import load_project  # noqa: PLC0415
    from feddiff_secure.node.provisioning import make_root_files  # noqa: PLC0415

    made = make_root_files(load_project(project), out)
    _print({"root": str(out), "fingerprint": fingerprint(certified_key(made.certificate))}, as_json)


@provision_app.command()
def request(
    name: Annotated[str, typer.Option(help="Your name in the project: a site, host or admin.")],
    out: Annotated[Path, typer.Option(help="Folder of your key and request; must not exist.")],
    project: _Project = _PROJECT,
    as_json: _Json = False,
) -> None:
    """Make a transport key, which stays here, and the request to send to the root's holder.

    Example:

      feddiff-secure provision request --name university --out request
    """
    from feddiff_secure.node.project import load_project  # noqa: PLC0415
    from feddiff_secure.node.provisioning import request_files  # noqa: PLC0415

    found = request_files(load_project(project), name, out)
    _print(
        {
            "key": str(out / f"{name}.key"),
            "request": str(out / f"{name}.csr"),
            "fingerprint": found,
        },
        as_json,
    )


@provision_app.command()
def sign(  # noqa: PLR0917  # one parameter an option, given by name
    request: Annotated[Path, typer.Option(help="The request that you were sent.")],
    root: Annotated[Path, typer.Option(help="Folder of the root.")],
    out: Annotated[Path, typer.Option(help="File to send back; must not exist.")],
    project: _Project = _PROJECT,
    renew: Annotated[
        bool, typer.Option("--renew", help="The member may have a certificate already.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Certify a request. Compare the fingerprint with its sender by voice before you send it.

    Example:

      feddiff-secure provision sign --request university.csr --root root --out university.signed
    """
    from feddiff_secure.node.project import load_project  # noqa: PLC0415
    from feddiff_secure.node.provisioning import sign_file  # noqa: PLC0415

    member, found = sign_file(load_project(project), root, request, out, renew=renew)
    _print(
        {"name": member.name, "kind": member.kind, "fingerprint": found, "signed": str(out)},
        as_json,
    )


@provision_app.command()
def assemble(  # noqa: PLR0917  # one parameter an option, given by name
    name: Annotated[str, typer.Option(help="Your name in the project.")],
    key: Annotated[Path, typer.Option(help="Your transport key, of provision request.")],
    signed: Annotated[Path, typer.Option(help="What the root's holder sent back.")],
    out: Annotated[Path, typer.Option(help="Folder of the kit; must not exist.")],
    project: _Project = _PROJECT,
    as_json: _Json = False,
) -> None:
    """Make your startup kit. Compare the root's fingerprint with its holder by voice.

    Example:

      feddiff-secure provision assemble --name university --key request/university.key --signed
      university.signed --out kits/university
    """
    from feddiff_secure.node.project import load_project  # noqa: PLC0415
    from feddiff_secure.node.provisioning import assemble as make_kit  # noqa: PLC0415

    found = make_kit(load_project(project), name, key, signed, out)
    _print({"kit": str(out), "root fingerprint": found}, as_json)


def _print(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                typer.echo(f"{name} {key}: {inner}")
        else:
            typer.echo(f"{name}: {value}")
