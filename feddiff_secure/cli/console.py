"""What the terminal shows: progress and words on stderr, results on stdout."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from feddiff_secure.public_log import PUBLIC_LOG

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


class StageProgress:
    """A bar a stage on a terminal; elsewhere a line a stage and every tenth of it.

    Quiet shows nothing. The log of public events gets the names of the stages, and not their sizes:
    a number of steps can be an owner's number of tiles.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars = Progress(
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=stderr,
            disable=quiet or not stderr.is_terminal,
        )
        self._task: Any = None
        self._name = ""
        self._done, self._total, self._tenths = 0, 0, 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""
        PUBLIC_LOG.info("%s begins", name)
        self._name, self._done, self._total, self._tenths = name, 0, total, 0
        if not self._quiet and not stderr.is_terminal:
            stderr.print(f"{name}: {total} steps")
        self._task = self._bars.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current stage are done."""
        self._bars.advance(self._task, steps)
        self._done += steps
        tenths = 10 * self._done // max(self._total, 1)
        if tenths > self._tenths:
            self._tenths = tenths
            if not self._quiet and not stderr.is_terminal:
                stderr.print(f"{self._name}: {self._done} of {self._total} steps")
            if self._done >= self._total:
                PUBLIC_LOG.info("%s ends", self._name)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_tree(value: dict[str, Any], depth: int = 0) -> None:
    """Nested values as indented lines on stdout."""
    for name, item in value.items():
        pad = "  " * depth
        if isinstance(item, dict):
            typer.echo(f"{pad}{name}:")
            print_tree(item, depth + 1)
        elif isinstance(item, list):
            typer.echo(f"{pad}{name}: {', '.join(map(str, item)) if item else 'none'}")
        else:
            typer.echo(f"{pad}{name}: {'unknown' if item is None else item}")


def print_error(message: str, hint: str) -> None:
    """The two lines of every error; a message is folded into one line.

    What a terminal would obey, not show, is replaced: names in a message can come from files.
    """
    for lead, text in (("error", message), ("hint", hint)):
        folded = " ".join(text.split())
        shown = "".join(letter if letter.isprintable() else "�" for letter in folded)
        typer.echo(f"{lead}: {shown}", err=True)
