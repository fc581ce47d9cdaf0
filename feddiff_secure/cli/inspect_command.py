"""`feddiff-secure data inspect`: what the tool understands of a file, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from feddiff_secure.cli.console import print_json

data_app = typer.Typer(help="Look at data files.", no_args_is_help=True, rich_markup_mode=None)


@data_app.callback()
def _data() -> None:
    """Look at data files."""


@data_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="HDF5 or MAT file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what was understood: bands, wavelengths, classes, regions, what is ignored.

    Example:

      feddiff-secure data inspect scene.h5
    """
    from feddiff_secure.data.inspect import describe  # noqa: PLC0415  # reads with h5py
    from feddiff_secure.data.read import read_dataset  # noqa: PLC0415

    described = describe(read_dataset(path, require_labels=False), path)
    if as_json:
        print_json(described)
    else:
        _print_tree(described, 0)


def _print_tree(value: dict[str, Any], depth: int) -> None:
    for name, item in value.items():
        pad = "  " * depth
        if isinstance(item, dict):
            typer.echo(f"{pad}{name}:")
            _print_tree(item, depth + 1)
        elif isinstance(item, list):
            typer.echo(f"{pad}{name}: {', '.join(map(str, item)) if item else 'none'}")
        else:
            typer.echo(f"{pad}{name}: {'unknown' if item is None else item}")
