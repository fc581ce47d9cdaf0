"""`--help`, completion and the nearest name: what a newcomer meets first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from feddiff_secure.cli.main import app, run_cli


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path, groups left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli([*path, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Example" in shown
    assert f"feddiff-secure {' '.join(path)}" in shown.partition("Example")[2]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_option_of_an_example_exists(path: tuple[str, ...]) -> None:
    command = EVERY[path]
    known = {name for parameter in command.params for name in parameter.opts}
    known |= {name for parameter in command.params for name in parameter.secondary_opts}
    examples = (command.help or "").partition("Example")[2].split()
    used = {word for word in examples if word.startswith("--")}
    assert used <= known | {"--help"}


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_offers_json(path: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in EVERY[path].params)


def test_options_of_run_are_shown_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    run_cli(["run", "--help"])
    shown = capsys.readouterr().out
    groups = [line[:-1] for line in shown.splitlines() if line.endswith(":") and line[0] != " "]
    assert groups == ["Data", "Privacy", "Owners", "Run", "General"]
    assert shown.index("Privacy:") < shown.index("--epsilon <float>") < shown.index("Owners:")


def test_commands_are_shown_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("Train and predict:") < shown.index("  run ")
    assert shown.index("  run ") < shown.index("Check and account:") < shown.index("  budget ")
    assert "..." not in shown.partition("\n")[2]  # no help is cut off in the middle


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_the_shells(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with pytest.raises(SystemExit) as ended:  # the library ends the process itself
        run_cli(["--show-completion", shell])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    assert "feddiff-secure" in script
    assert "_FEDDIFF_SECURE_COMPLETE" in script


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        (["run", "--epsilom", "8"], "--epsilon"),
        (["run", "--ownres", "4"], "--owners"),
        (["rum"], "run"),
        (["audit", "verifi", "x"], "verify"),
        (["bugdet"], "budget"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(
    wrong: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(wrong) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert near in lines[0]
    page = "feddiff-secure run" if wrong[0] == "run" else "feddiff-secure"
    assert lines[1].startswith(f"hint: see {page}")
