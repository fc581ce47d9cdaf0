"""`feddiff-secure data inspect`: what the tool understands of a file, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import print_json, print_tree
from feddiff_secure.cli.import_command import import_data

data_app = typer.Typer(
    help="Look at data files, and import rasters.", no_args_is_help=True, rich_markup_mode=None
)


@data_app.callback()
def _data() -> None:
    """Look at data files, and import rasters."""


data_app.command(name="import")(import_data)


@data_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="HDF5 or MAT file.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what was understood: bands, wavelengths, classes, regions, what is ignored."""
    from feddiff_secure.data.inspect import describe  # noqa: PLC0415  # reads with h5py
    from feddiff_secure.data.read import read_dataset  # noqa: PLC0415

    described = describe(read_dataset(path, require_labels=False), path)
    if as_json:
        print_json(described)
    else:
        print_tree(described)
