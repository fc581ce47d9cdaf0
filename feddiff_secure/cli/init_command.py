"""`feddiff-secure init`: a configuration file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feddiff_secure.cli.console import print_json, stderr
from feddiff_secure.cli.output import written
from feddiff_secure.config.commented import commented_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError


def init(
    out: Annotated[Path, typer.Option(help="File to write, new.")] = Path("feddiff.toml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a configuration file with every key, its default, its bounds and what it means.

    Examples:

      feddiff-secure init

      feddiff-secure init --out houston.toml
    """
    if out.exists():
        raise UsageError(f"out: {out} exists", "give another --out, or remove it")
    with written(out), out.open("x", encoding="utf-8") as file:
        file.write(commented_config(RunConfig()))
    if as_json:
        print_json({"out": str(out)})
    else:
        typer.echo(str(out))
        stderr.print(f"edit it, then: feddiff-secure run --config {out}")
