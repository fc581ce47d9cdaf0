"""`feddiff-secure cache`: the descriptors that `run --cache` keeps."""

from __future__ import annotations

from typing import Annotated

import typer

from feddiff_secure.cli.console import print_json

cache_app = typer.Typer(
    help="Descriptors kept by run --cache.", no_args_is_help=True, rich_markup_mode=None
)


@cache_app.callback()
def _cache() -> None:
    """Descriptors kept by run --cache."""


@cache_app.command()
def clear(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Remove every kept descriptor, and say where they were and how large.

    Example:

      feddiff-secure cache clear
    """
    # Imported here: the numbers' packages take time that --help need not wait for.
    from feddiff_secure.federation.descriptor_cache import DescriptorCache  # noqa: PLC0415

    cache = DescriptorCache.default()
    files, size = cache.clear()
    if as_json:
        print_json({"folder": str(cache.folder), "files": files, "bytes": size})
    else:
        typer.echo(f"{cache.folder}: {files} files, {size} bytes removed")
