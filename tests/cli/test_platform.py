"""Where files cannot be locked and protected, nothing runs, and the refusal says why."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import feddiff_secure
from feddiff_secure.cli.entry import main
from feddiff_secure.errors import UsageError
from feddiff_secure.platform_check import missing_features, require_platform

REPOSITORY = Path(__file__).resolve().parents[2]


def test_this_platform_has_everything() -> None:
    assert missing_features() == []
    require_platform()


@pytest.mark.parametrize("call", ["O_NOFOLLOW", "fchmod", "geteuid"])
def test_a_platform_without_protected_files_is_refused_in_two_lines(
    call: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(os, call)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: platform {sys.platform}: no os.{call}")
    assert hint.startswith("hint: use Linux")


def test_a_platform_without_locks_is_refused_by_the_library_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fcntl" else find(name)
    )
    for call in (
        lambda: feddiff_secure.run(out=tmp_path / "r"),
        lambda: feddiff_secure.predict(tmp_path, tmp_path, tmp_path / "m.png"),
        lambda: feddiff_secure.verify(tmp_path),
    ):
        with pytest.raises(UsageError, match="no fcntl"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_the_refusal_needs_no_module_that_such_a_platform_lacks() -> None:
    """As on Windows: `import fcntl` fails, and the two lines still come."""
    code = (
        "import sys, importlib.util as u; sys.modules['fcntl'] = None; find = u.find_spec;"
        "u.find_spec = lambda name: None if name == 'fcntl' else find(name);"
        "from feddiff_secure.cli.entry import main\n"
        "try: main()\n"
        "finally: assert 'feddiff_secure.cli.main' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
