"""`feddiff-secure budget`: what each holding has spent, and what is left of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from feddiff_secure.cli.console import print_json
from feddiff_secure.errors import DataError

if TYPE_CHECKING:
    from feddiff_privacy.ledger.reading import Reading

_RULES = {"none": "nothing spent", "pld": "one plan, PLD", "renyi": "Rényi filter"}
_HINT = "give a ledger file, a folder of ledgers, or a run directory"


def budget(
    path: Annotated[Path, typer.Argument(help="Ledger file, folder of ledgers, or run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show lifetime, spent and remaining ε of every ledger; changes nothing.

    Examples:

      feddiff-secure budget runs/first

      feddiff-secure budget /srv/ledger --json
    """
    # Imported here: the accountant takes a second that --help need not wait for.
    from feddiff_privacy.ledger.reading import read_ledger  # noqa: PLC0415
    from feddiff_secure.federation.ledgers import ledger_errors  # noqa: PLC0415

    with ledger_errors():
        readings = [read_ledger(file) for file in ledger_files(path)]
    if as_json:
        print_json({"path": str(path), "ledgers": [reading.to_json() for reading in readings]})
    else:
        _print_table(readings)


def ledger_files(path: Path) -> list[Path]:
    """The ledger files that a path means, by name.

    Raises:
        DataError: nothing there, or no ledger in it.
    """
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path}: does not exist", _HINT)
        return [path]
    folder = path / "ledger" if (path / "ledger").is_dir() else path
    found = sorted(file for file in folder.glob("*.jsonl") if not file.name.startswith("."))
    if (path / "config.toml").exists() and folder == path:
        raise DataError(
            f"{path}: its run kept its ledgers elsewhere",
            "look for the key ledger in its config.toml, and give that folder",
        )
    if not found:
        raise DataError(f"{path}: holds no ledger (*.jsonl)", _HINT)
    return found


def _print_table(readings: list[Reading]) -> None:
    table = Table(title="Privacy budget, for one tile", title_justify="left")
    for name in ("owner", "holding"):
        table.add_column(name, overflow="fold")
    for name in ("lifetime ε", "δ", "spent ε", "if planned", "left ε", "plans", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("spent is by")
    table.add_column("data changed")
    for one in readings:
        table.add_row(
            one.owner,
            one.holding,
            "no limit" if one.lifetime_epsilon is None else f"{one.lifetime_epsilon:g}",
            f"{one.delta:g}",
            f"{one.spent:.4g}",
            f"{one.epsilon_if_planned:.4g}",
            "no limit" if one.left is None else f"{one.left:.4g}",
            f"{one.plans}" + (f" (+{one.open_plans} open)" if one.open_plans else ""),
            str(one.attempts),
            _RULES[one.rule],
            _changes(one),
        )
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width: one line a ledger
        console = Console(highlight=False, width=200)
    console.print(table)


def _changes(one: Reading) -> str:
    if not one.changed_evidence:
        return "no"
    return f"{len(one.changed_evidence)} times, last at entry {one.changed_evidence[-1]}"
