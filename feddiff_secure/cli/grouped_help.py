"""`--help` in groups: options under the panel they name, commands under theirs.

Plain text, the same on a terminal, in a pipe and in docs/cli.md. The panels are those that typer's
`rich_help_panel` names.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

GENERAL = "General"
_SENTENCE = 200  # characters of a command's help that are shown in a list; it wraps


def _panel(item: Any, default: str) -> str:
    """The panel that an option or a command names; typer marks the absence by a placeholder."""
    named = getattr(item, "rich_help_panel", None)
    return named if isinstance(named, str) else default


def _write_groups(formatter: Any, groups: dict[str, list[tuple[str, str]]]) -> None:
    for title, rows in groups.items():
        with formatter.section(title):
            formatter.write_dl(rows)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Arguments first, then options by panel in the order of the function, the unnamed last."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            kind = "Arguments" if parameter.param_type_name == "argument" else GENERAL
            groups.setdefault(_panel(parameter, kind), []).append(record)
    first = {name: groups.pop(name) for name in ("Arguments",) if name in groups}
    last = {name: groups.pop(name) for name in (GENERAL,) if name in groups}
    _write_groups(formatter, {**first, **groups, **last})


class GroupedCommand(TyperCommand):
    """A command whose help shows its options by panel."""

    # The library's own types: which package holds them changes between its versions.
    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, panel by panel."""
        _write_options(self, ctx, formatter)


class GroupedCommands(TyperGroup):
    """A group whose help shows its commands by panel."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write options, then commands."""
        self.format_commands(ctx, formatter)
        _write_options(self, ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write commands, panel by panel, each with the first sentence of its help."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                row = (name, command.get_short_help_str(_SENTENCE))
                groups.setdefault(_panel(command, "Commands"), []).append(row)
        _write_groups(formatter, groups)


def group_help(app: typer.Typer) -> None:
    """Give an application, and every application in it, help in groups."""
    app.info.cls = GroupedCommands
    for command in app.registered_commands:
        command.cls = GroupedCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group_help(group.typer_instance)
