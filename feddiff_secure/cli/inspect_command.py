"""`feddiff-secure data inspect`: what the tool understands of a file, before anything is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import print_json, print_tree
from feddiff_secure.cli.import_command import import_data
from feddiff_secure.errors import UsageError

data_app = typer.Typer(
    help="Look at data files, and import rasters.", no_args_is_help=True, rich_markup_mode=None
)


@data_app.callback()
def _data() -> None:
    """Look at data files, and import rasters."""


data_app.command(name="import")(import_data)


@data_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="Data file, manifest or folder.")],
    picture: Annotated[
        Path | None, typer.Option(help="PNG to write, new: true colour, elevation, labels.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what was understood: bands, wavelengths, place, classes, gaps, what is ignored.

    Examples:

      feddiff-secure data inspect scene.toml --picture look.png
    """
    from feddiff_secure.data.inspect import describe  # noqa: PLC0415  # reads with h5py
    from feddiff_secure.data.read import read_dataset  # noqa: PLC0415

    if picture is not None:
        _check_picture(picture)
    dataset = read_dataset(path, require_labels=False)
    described = describe(dataset, path)
    if picture is not None:
        from feddiff_secure.report.scene_picture import write_scene_picture  # noqa: PLC0415

        write_scene_picture(picture, dataset)
        described["picture"] = str(picture)
    if as_json:
        print_json(described)
    else:
        print_tree(described)


def _check_picture(picture: Path) -> None:
    if picture.suffix != ".png":
        raise UsageError(f"picture: {picture} does not end in .png", "name a PNG")
    if picture.exists():
        raise UsageError(f"picture: {picture} exists", "give another name, or remove it")
    if not picture.parent.is_dir():
        raise UsageError(f"picture: {picture.parent} is no directory", "create it first")
