"""`feddiff-secure report diff`: two benchmarks or two runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_secure.cli.console import print_json
from feddiff_secure.errors import UsageError

reports_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Work with the results of benchmarks and runs.",
)


@reports_app.callback()
def _group() -> None:
    """Keep `diff` a command of its own."""


@reports_app.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(help="Folder or bench.json of a benchmark, or a run.")],
    b: Annotated[Path, typer.Argument(help="Another of the same kind.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML page to write, new. Default: none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Compare B with A: every point that both have, and what changed.

    Example:

      feddiff-secure report diff bench/before bench/after --out diff.html
    """
    # Imported here: plotting takes a second that --help need not wait.
    from feddiff_secure.bench.comparison import compared, read_side  # noqa: PLC0415

    if out is not None and out.exists():
        raise UsageError(f"out: {out} exists", "give another --out, or remove it")
    found = compared(read_side(a), read_side(b))
    if out is not None:
        from feddiff_secure.bench.record import write_whole  # noqa: PLC0415
        from feddiff_secure.report.diff_page import diff_page  # noqa: PLC0415

        write_whole(out, diff_page(found).encode())
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    typer.echo(f"A: {found['a']}\nB: {found['b']}")
    for row in found["rows"]:
        epsilon = "∞" if row["epsilon"] == "inf" else f"{row['epsilon']:g}"
        typer.echo(
            f"{row['data']}: {row['kind']}, {row['topology']}, {row['aggregation']}, "
            f"{row['noise']} noise, {row['owners']} owners, ε {epsilon}"
        )
        for name in ("oa", "aa", "kappa"):
            metric = row[name]
            change, spread = metric["change"]["mean"], metric["change"]["sd"]
            more = "" if spread is None else f" ± {spread:.3f}"
            typer.echo(f"  {name:<6} {metric['a']:.3f} → {metric['b']:.3f}   {change:+.3f}{more}")
    for setting in found["settings"]:
        typer.echo(f"setting {setting['name']}: {setting['a']} → {setting['b']}")
    for name, key in (("A", "only_a"), ("B", "only_b")):
        if found[key]:
            typer.echo(f"only in {name}: {len(found[key])} points")
