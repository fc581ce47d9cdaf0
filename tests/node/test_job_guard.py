"""Jobs that are not exactly one of ours are refused at the site, whoever is said to send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.node.components import SERVER_COMPONENTS, SITE_COMPONENTS
from feddiff_secure.transport.flare.job_guard import JobGuard

Change = Callable[[dict[str, Any]], object]
LAUNCHER = "nvflare.app_common.launchers.subprocess_launcher.SubprocessLauncher"


def app(folder: Path) -> Path:
    """A job's application as it is unpacked at a site."""
    config = folder / "config"
    (config / "feddiff").mkdir(parents=True)
    empty: dict[str, Any] = {
        "format_version": 2,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
    }
    executor = {"path": SITE_COMPONENTS[0], "args": {}}
    client = {**empty, "executors": [{"tasks": ["none"], "executor": executor}]}
    workflow = {"id": "coordinator", "path": SERVER_COMPONENTS[0], "args": {}}
    server = {**empty, "server": {"heart_beat_timeout": 600}, "workflows": [workflow]}
    (config / "config_fed_client.json").write_text(json.dumps(client))
    (config / "config_fed_server.json").write_text(json.dumps(server))
    (config / "feddiff" / "config.toml").write_text("epsilon = 8")
    (config / "feddiff" / "layout.json").write_text("{}")
    for place in (folder, config, config / "feddiff"):
        (place / ".__nvfl_sig.json").write_text("{}")
        (place / ".__nvfl_submitter.crt").write_text("")
    return folder


def said(folder: Path, side: str = "site") -> str:
    error, info = JobGuard(side).validate(str(folder))
    assert info == {}
    return error


def test_our_job_passes_on_both_sides(tmp_path: Path) -> None:
    folder = app(tmp_path)
    assert said(folder) == ""
    assert said(folder, "server") == ""


@pytest.mark.parametrize(
    "name",
    [
        "custom/code.py",
        "custom/__init__.py",
        "config/custom/code.py",
        "config/feddiff/code.py",
        "config/feddiff/deeper/config.toml",
        "config/config_fed_client.conf",
        "config/config_fed_client.yml",
        "config/feddiff/.hidden.toml",
        "config/feddiff/..toml",
        "code.so",
        "sitecustomize.py",
        "config/feddiff/model.pt",
    ],
)
def test_a_file_that_no_job_of_ours_has_is_refused(tmp_path: Path, name: str) -> None:
    path = app(tmp_path) / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("print()")
    assert said(tmp_path).startswith("job_refused: foreign_file ")


def test_an_empty_folder_of_code_is_refused_too(tmp_path: Path) -> None:
    (app(tmp_path) / "custom").mkdir()
    assert said(tmp_path) == "job_refused: foreign_file custom"


def test_a_link_is_refused(tmp_path: Path) -> None:
    folder = app(tmp_path / "app")
    (folder / "config/feddiff/more.toml").symlink_to("/etc/hostname")
    assert said(folder) == "job_refused: foreign_file config/feddiff/more.toml"
    folder = app(tmp_path / "other")
    (folder / "custom").symlink_to("/usr")
    assert said(folder) == "job_refused: foreign_file custom"


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (app(tmp_path) / "config/feddiff/layout.json").open("wb") as file:
        file.truncate((1 << 24) + 1)
    assert said(tmp_path) == "job_refused: too_large config/feddiff/layout.json"


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    app(tmp_path)
    for number in range(70):
        (tmp_path / f"config/feddiff/f{number}.json").write_text("{}")
    assert said(tmp_path) == "job_refused: too_large files"


EXECUTOR: list[Any] = ["executors", 0, "executor"]


def put(path: list[Any], value: object) -> Change:
    def change(values: dict[str, Any]) -> None:
        inner: Any = values
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (put([*EXECUTOR, "path"], LAUNCHER), f"foreign_component {LAUNCHER}"),
        (put([*EXECUTOR, "path"], SERVER_COMPONENTS[0]), "foreign_component"),
        (put([*EXECUTOR, "path"], SITE_COMPONENTS[0] + "X"), "foreign_component"),
        (put([*EXECUTOR, "path"], "{path}"), "foreign_component"),
        (put([*EXECUTOR, "path"], [SITE_COMPONENTS[0]]), "foreign_component"),
        (put([*EXECUTOR, "args"], {"settings": "/tmp/other.toml"}), "not_our_config"),
        (put([*EXECUTOR, "name"], "Executor"), "not_our_config"),
        (put([*EXECUTOR, "class_path"], LAUNCHER), "not_our_config"),
        (put(["components"], [{"id": "x", "path": LAUNCHER}]), "not_our_config"),
        (put(["task_data_filters"], [{"filters": [{"path": LAUNCHER}]}]), "not_our_config"),
        (put(["task_result_filters"], [{"filters": [{"path": LAUNCHER}]}]), "not_our_config"),
        (put(["handlers"], [{"path": LAUNCHER}]), "not_our_config"),
        (put(["default_task_fetch_interval"], LAUNCHER), "not_our_config"),
        (put(["executors"], []), "not_our_config"),
        (lambda v: v["executors"].append(v["executors"][0]), "not_our_config"),
    ],
)
def test_a_configuration_with_anything_else_in_it_is_refused(
    tmp_path: Path, change: Change, code: str
) -> None:
    path = app(tmp_path) / "config/config_fed_client.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    assert said(tmp_path).startswith(f"job_refused: {code}")


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Readers of JSON differ in which of the two they take."""
    path = app(tmp_path) / "config/config_fed_client.json"
    text = path.read_text()
    path.write_text(text.replace('{"format_version"', '{"components": [{}], "format_version"', 1))
    assert said(tmp_path) == "job_refused: not_our_config"


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"[" * 100_000, b"\xff\xfe"])
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    (app(tmp_path) / "config/config_fed_client.json").write_bytes(raw)
    assert said(tmp_path) == "job_refused: not_our_config"


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    (app(tmp_path) / "config/config_fed_client.json").unlink()
    assert said(tmp_path) == "job_refused: not_our_config"


def test_the_servers_side_takes_the_coordinators_component_only(tmp_path: Path) -> None:
    path = app(tmp_path) / "config/config_fed_server.json"
    values = json.loads(path.read_text())
    values["workflows"][0]["path"] = SITE_COMPONENTS[0]
    path.write_text(json.dumps(values))
    assert said(tmp_path, "server").startswith("job_refused: foreign_component")
    assert said(tmp_path) == ""
