"""docs/deploy.md lists every key of a node's settings, every reason of a policy, and commands that
are there."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from feddiff_secure.cli.main import app
from feddiff_secure.node.project import load_project
from feddiff_secure.node.settings_fields import NODE_FIELDS, POLICY_FIELDS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
POLICY = (REPOSITORY / "feddiff_secure" / "node" / "policy.py").read_text(encoding="utf-8")


def test_every_key_of_the_settings_is_on_the_page() -> None:
    part = PAGE.split("## 3.")[1].split("## 4.")[0]
    rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)} - {"inf", "plain"}
    assert named == set(NODE_FIELDS) | set(POLICY_FIELDS)


def test_every_reason_of_a_policy_is_on_the_page_or_follows_from_its_key() -> None:
    fixed = set(re.findall(r'Reason\("(\w+)"', POLICY))
    assert len(fixed) == 4
    bounds = {
        f"{name}_{side}_policy"
        for side, names in {
            "over": ("epsilon", "delta", "colluders", "dropouts", "rounds"),
            "under": ("owners", "colluders", "tile"),
        }.items()
        for name in names
    }
    for code in fixed | bounds:
        assert f"`{code}" in PAGE, code


def test_the_example_project_is_one(tmp_path: Path) -> None:
    text, _ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "project.toml"
    path.write_text(text)
    assert set(load_project(path).sites) == {"ann", "ben", "cem"}


def test_every_command_on_the_page_is_there() -> None:
    command = typer.main.get_command(app)
    named = set(re.findall(r"feddiff-secure ((?:[a-z]+ ?){1,3})", PAGE))
    assert len(named) > 10
    for words in named:
        found = command
        for word in words.split():
            known = getattr(found, "commands", {})
            if word not in known:
                break
            found = known[word]
        assert found is not command, words
