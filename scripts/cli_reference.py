"""Write docs/cli.md from the commands themselves: `python -m scripts.cli_reference`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from feddiff_secure.cli.main import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 92

_HEAD = """\
# Command line

Written by `python -m scripts.cli_reference` from the commands: what `--help` shows.

Every command takes `--json`: one object on stdout. Progress and words go to stderr. Exit codes:
0 ok, 1 a bug, 2 usage, 3 data, 4 protocol aborted, 5 budget refused, 6 verification failed, 130
interrupted. Every error is two lines, `error:` and `hint:`. `feddiff-secure --install-completion`
sets completion up for the shell that it is called from.
"""


def reference() -> str:
    """The page: one section a command, with its help."""
    root = typer.main.get_command(app)
    sections = [_HEAD]
    for names, command in _commands(root, ()):
        sections.append(f"## {' '.join(names)}\n\n```text\n{_help(command, names)}\n```\n")
    return "\n".join(sections)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _help(command: Any, names: tuple[str, ...]) -> str:
    shown = " ".join(("feddiff-secure", *names))
    context = typer.Context(command, info_name=shown, terminal_width=WIDTH)
    lines = command.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(PAGE)
