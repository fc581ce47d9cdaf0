"""`feddiff-secure node`: exit codes, two-line errors, a rotation handed from node to registry."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from feddiff_crypto.identity_file import read_identity
from feddiff_crypto.registry_file import read_registry
from feddiff_secure.cli.main import run_cli


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ok(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a command that succeeds prints as JSON."""
    assert run_cli(["node", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    printed: dict[str, Any] = json.loads(captured.out)
    return printed


def refused(capsys: pytest.CaptureFixture[str], code: int, words: str, *arguments: str) -> None:
    """A command that fails with `code` and two lines, of which the first has `words`."""
    assert run_cli(["node", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    error, hint = captured.err.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert hint.startswith("hint: ")


def passphrase_file(text: str, mode: int = 0o600) -> str:
    path = Path("passphrase")
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_init_writes_a_private_key_and_prints_its_fingerprint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = ok(capsys, "init", "ann", "--out", "ann.key")
    stored = read_identity(Path("ann.key"))
    assert printed["fingerprint"] == stored.public.fingerprint
    assert printed["public"] == stored.open().public.raw.hex()
    assert stat.S_IMODE(Path("ann.key").stat().st_mode) == 0o600
    assert ok(capsys, "show", "ann.key") == printed


def test_init_without_json_prints_the_fingerprint_and_never_the_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_cli(["node", "init", "ann"]) == 0
    printed = capsys.readouterr().out
    stored = read_identity(Path("identity.key"))
    assert stored.public.fingerprint in printed
    assert stored.open().raw.hex() not in printed


def test_init_with_a_passphrase_seals_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    words = passphrase_file("correct horse battery\n")
    assert ok(capsys, "init", "ann", "--passphrase-file", words)["sealed"] is True
    assert read_identity(Path("identity.key")).open(b"correct horse battery")


def test_init_refuses_what_it_cannot_do_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(capsys, 2, "'a b' is not a party name", "init", "a b")
    refused(capsys, 2, "is no folder", "init", "ann", "--out", "absent/ann.key")
    refused(capsys, 3, "cannot be opened", "init", "ann", "--passphrase-file", "absent")
    for text, words in (("short", "5 bytes"), ("one line\nanother line", "more than one line")):
        refused(capsys, 2, words, "init", "ann", "--passphrase-file", passphrase_file(text))
    open_to_others = passphrase_file("correct horse battery", 0o644)
    refused(capsys, 3, "0644", "init", "ann", "--passphrase-file", open_to_others)
    refused(capsys, 2, "Missing argument", "init")
    assert [path.name for path in Path().iterdir()] == ["passphrase"]


def test_init_does_not_overwrite(capsys: pytest.CaptureFixture[str]) -> None:
    first = ok(capsys, "init", "ann")
    refused(capsys, 2, "exists", "init", "ann")
    assert ok(capsys, "show")["public"] == first["public"]


def test_show_refuses_files_that_are_missing_open_or_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(capsys, 3, "cannot be opened", "show", "absent")
    ok(capsys, "init", "ann")
    Path("identity.key").chmod(0o640)
    refused(capsys, 3, "0640", "show")
    refused(capsys, 3, "identity file", "show", passphrase_file("not an identity"))


def test_a_key_is_pinned_shown_rotated_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    ann, bob = ok(capsys, "init", "ann"), ok(capsys, "init", "bob", "--out", "bob.key")
    ok(capsys, "registry", "add", "ann", ann["public"], "--fingerprint", ann["fingerprint"])
    ok(capsys, "registry", "add", "bob", bob["public"])
    shown = ok(capsys, "registry", "show")
    assert shown["parties"] == {"ann": ann["fingerprint"], "bob": bob["fingerprint"]}
    new = ok(capsys, "rotate", "--out", "new.key", "--statement", "rotation.json")
    rotated = ok(capsys, "registry", "rotate", "rotation.json")
    assert rotated["fingerprint"] == new["fingerprint"] != ann["fingerprint"]
    ok(capsys, "registry", "revoke", "bob", "--reason", "left")
    shown = ok(capsys, "registry", "show")
    assert shown["parties"] == {"ann": new["fingerprint"]}
    assert [(key["name"], key["reason"]) for key in shown["revoked"]] == [
        ("ann", "rotated by its owner"),
        ("bob", "left"),
    ]
    assert shown["sha256"] == read_registry(Path("registry.json")).digest().hex()
    assert run_cli(["node", "registry", "show"]) == 0
    assert f"{bob['fingerprint']}  bob  revoked: left" in capsys.readouterr().out


def test_the_registry_refuses_what_its_rules_forbid(capsys: pytest.CaptureFixture[str]) -> None:
    ann, bob = ok(capsys, "init", "ann"), ok(capsys, "init", "bob", "--out", "bob.key")
    add = ("registry", "add")
    refused(capsys, 3, "cannot be opened", "registry", "show")
    refused(capsys, 2, "is not a public key", *add, "ann", "xyz")
    wrong = ("--fingerprint", bob["fingerprint"])
    refused(capsys, 6, "the fingerprint of ann is", *add, "ann", ann["public"], *wrong)
    assert not Path("registry.json").exists()
    ok(capsys, *add, "ann", ann["public"])
    refused(capsys, 2, "already pinned", *add, "ann", bob["public"])
    refused(capsys, 2, "already that of ann", *add, "eve", ann["public"])
    refused(capsys, 2, "'bob' is not pinned", "registry", "revoke", "bob", "--reason", "left")
    ok(capsys, *add, "ann", bob["public"], "--replace")
    refused(capsys, 6, "is revoked", *add, "ann", ann["public"], "--replace")
    ok(capsys, "rotate", "--out", "new.key", "--statement", "rotation.json")
    refused(capsys, 6, "is revoked", "registry", "rotate", "rotation.json")
    Path("registry.json").chmod(0o666)
    refused(capsys, 3, "0666", "registry", "show")


def test_a_forged_rotation_is_exit_6(capsys: pytest.CaptureFixture[str]) -> None:
    ann = ok(capsys, "init", "ann")
    ok(capsys, "registry", "add", "ann", ann["public"])
    ok(capsys, "rotate", "--out", "new.key", "--statement", "rotation.json")
    statement = json.loads(Path("rotation.json").read_text())
    statement["old_signature"] = statement["new_signature"]
    forged = json.dumps(statement, indent=1, sort_keys=True) + "\n"
    Path("rotation.json").write_text(forged)
    refused(capsys, 6, "no valid signature", "registry", "rotate", "rotation.json")
    Path("rotation.json").write_text(forged + " ")
    refused(capsys, 3, "canonical", "registry", "rotate", "rotation.json")


def test_rotate_needs_the_passphrase_of_the_old_key(capsys: pytest.CaptureFixture[str]) -> None:
    words = passphrase_file("correct horse battery")
    ok(capsys, "init", "ann", "--passphrase-file", words)
    target = ("rotate", "--out", "new.key", "--statement", "rotation.json")
    refused(capsys, 2, "needs a passphrase", *target)
    wrong = passphrase_file("another passphrase")
    refused(capsys, 2, "does not open", *target, "--passphrase-file", wrong)
    assert not Path("new.key").exists()
