"""What the terminal shows: progress and words on stderr, results on stdout."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


class StageProgress:
    """A bar a stage on a terminal; one plain line a stage elsewhere; nothing when quiet.

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
        if not self._quiet and not stderr.is_terminal:
            stderr.print(f"{name}: {total} steps")
        self._task = self._bars.add_task(name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Some steps of the current stage are done."""
        self._bars.advance(self._task, steps)


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
    """The two lines of every error; a message is folded into one line."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    typer.echo(f"hint: {' '.join(hint.split())}", err=True)
