"""`feddiff-secure node start|stop|status` and `approve|reject|pending`: a node at work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feddiff_secure.cli.console import print_json
from feddiff_secure.cli.federation_commands import require_flare
from feddiff_secure.errors import UsageError

if TYPE_CHECKING:
    from feddiff_secure.node.review import Decision
    from feddiff_secure.node.settings import NodeSettings

_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
_Kit = Annotated[Path, typer.Argument(help="The node's folder: its startup kit.")]
_Digest = Annotated[str, typer.Argument(help="Digest of the plan, 64 hex digits.")]
_Node = Annotated[Path, typer.Option("--node", help="The node's folder.")]
_HERE = Path()


def settings_of(kit: Path) -> NodeSettings:
    """The settings in a node's kit: `KIT/local/node.toml`."""
    # Imported here: the accountant takes a second that --help need not wait for.
    from feddiff_secure.node.settings import SETTINGS_FILE, NodeSettings  # noqa: PLC0415

    return NodeSettings.load(kit / "local" / SETTINGS_FILE)


def start(
    kit: _Kit,
    review: Annotated[
        bool,
        typer.Option("--review", help="A person approves every plan; node.toml cannot undo it."),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Check kit, settings and keys, and start the node's process. Nothing is read of the data.

    Example:

      feddiff-secure node start kits/university
    """
    from feddiff_secure.node.hardening import require_safe  # noqa: PLC0415
    from feddiff_secure.node.opening import open_keys  # noqa: PLC0415
    from feddiff_secure.node.service import member_of  # noqa: PLC0415
    from feddiff_secure.node.service import start as start_process  # noqa: PLC0415
    from feddiff_secure.node.settings import REVIEW_VARIABLE  # noqa: PLC0415

    require_flare()
    member = member_of(kit)
    require_safe(kit)
    settings = settings_of(kit)
    keys = open_keys(settings)
    if keys.name != member.name:
        raise UsageError(
            f"{settings.path}: identity: {settings.identity} is of {keys.name}, and the kit's "
            f"certificate is of {member.name}",
            "an owner has one name: in the registry and in the project",
        )
    if settings.data is not None and not settings.data.is_file():
        raise UsageError(f"{settings.path}: data: {settings.data} is no file", "name your data")
    variables = {REVIEW_VARIABLE: "1"} if review else {}
    found = start_process(kit, "site", variables=variables)
    shown = {
        "name": member.name,
        "process": found.process,
        "log": str(found.log),
        "review": settings.review or review,
    }
    _print(shown, as_json)


def stop(kit: _Kit, as_json: _Json = False) -> None:
    """End the node's process; what a run has charged stays charged.

    Example:

      feddiff-secure node stop kits/university
    """
    from feddiff_secure.node.service import stop as stop_process  # noqa: PLC0415

    _print({"stopped": stop_process(kit)}, as_json)


def status(kit: _Kit, as_json: _Json = False) -> None:
    """Whether the node runs, whether its kit is safe, and which plans wait.

    Example:

      feddiff-secure node status kits/university
    """
    from feddiff_secure.node.hardening import check_kit  # noqa: PLC0415
    from feddiff_secure.node.review import pending as pending_plans  # noqa: PLC0415
    from feddiff_secure.node.service import member_of, running  # noqa: PLC0415

    settings = settings_of(kit)
    shown = {
        "name": member_of(kit).name,
        "process": running(kit),
        "unsafe": [str(finding) for finding in check_kit(kit)],
        "pending": pending_plans(settings.pending),
        "holding": settings.holding,
        "ledger": str(settings.ledger),
    }
    _print(shown, as_json)


def pending(node: _Node = _HERE, as_json: _Json = False) -> None:
    """List the plans that wait for a decision, with the page that says what each would release.

    Example:

      feddiff-secure node pending --node kits/university
    """
    from feddiff_secure.node.review import pending as pending_plans  # noqa: PLC0415

    folder = settings_of(node).pending
    shown = {digest: str(folder / f"{digest}.md") for digest in pending_plans(folder)}
    if as_json:
        print_json({"pending": shown})
        return
    for page in shown.values():
        typer.echo(Path(page).read_text(encoding="utf-8"))
    if not shown:
        typer.echo("no plan waits")


def approve(digest: _Digest, node: _Node = _HERE, as_json: _Json = False) -> None:
    """Approve a plan that waits: it is reserved and takes part.

    Example:

      feddiff-secure node approve DIGEST --node kits/university
    """
    _decide(digest, node, "approve", as_json)


def reject(digest: _Digest, node: _Node = _HERE, as_json: _Json = False) -> None:
    """Reject a plan that waits: nothing is reserved, nothing leaves.

    Example:

      feddiff-secure node reject DIGEST --node kits/university
    """
    _decide(digest, node, "reject", as_json)


def register(app: typer.Typer) -> None:
    """Add the commands to `feddiff-secure node`."""
    for command in (start, stop, status, pending, approve, reject):
        app.command()(command)


def _decide(digest: str, node: Path, decision: Decision, as_json: bool) -> None:
    from feddiff_secure.node.review import decide  # noqa: PLC0415

    decide(settings_of(node).pending, digest, decision)
    _print({"plan": digest, "decision": decision}, as_json)


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        if isinstance(value, list):
            typer.echo(f"{name}: {'; '.join(value) or 'none'}")
        else:
            typer.echo(f"{name}: {'no' if value is None else value}")
