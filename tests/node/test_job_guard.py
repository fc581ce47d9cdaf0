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


SETTINGS = """\
version = 1
data = "data.h5"
holding = "plots"
ledger = "ledger"
identity = "identity.key"
registry = "registry.json"
[policy]
largest_epsilon = 8
lifetime_epsilon = 16
"""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> Path:
    """The node's settings, where a job unpacked into `tmp_path/job/app` finds them."""
    (tmp_path / "local").mkdir()
    path = tmp_path / "local" / "node.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A job's application as it is unpacked at a site."""
    return app(tmp_path / "job" / "app_ann")


def app(folder: Path) -> Path:
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


def test_our_job_passes_on_both_sides(unpacked: Path) -> None:
    folder = unpacked
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
def test_a_file_that_no_job_of_ours_has_is_refused(unpacked: Path, name: str) -> None:
    path = unpacked / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("print()")
    assert said(unpacked).startswith("job_refused: foreign_file ")


def test_an_empty_folder_of_code_is_refused_too(unpacked: Path) -> None:
    (unpacked / "custom").mkdir()
    assert said(unpacked) == "job_refused: foreign_file custom"


def test_a_link_is_refused(unpacked: Path) -> None:
    folder = unpacked
    (folder / "config/feddiff/more.toml").symlink_to("/etc/hostname")
    assert said(folder) == "job_refused: foreign_file config/feddiff/more.toml"
    folder = app(unpacked.parent / "app_ben")
    (folder / "custom").symlink_to("/usr")
    assert said(folder) == "job_refused: foreign_file custom"


def test_a_file_that_is_too_large_is_refused(unpacked: Path) -> None:
    with (unpacked / "config/feddiff/layout.json").open("wb") as file:
        file.truncate((1 << 24) + 1)
    assert said(unpacked) == "job_refused: too_large config/feddiff/layout.json"


def test_too_many_files_are_refused(unpacked: Path) -> None:
    for number in range(70):
        (unpacked / f"config/feddiff/f{number}.json").write_text("{}")
    assert said(unpacked) == "job_refused: too_large files"


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
        (put([*EXECUTOR, "args"], {"settings": "/elsewhere/other.toml"}), "not_our_config"),
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
    unpacked: Path, change: Change, code: str
) -> None:
    path = unpacked / "config/config_fed_client.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    assert said(unpacked).startswith(f"job_refused: {code}")


def test_a_key_that_stands_twice_is_refused(unpacked: Path) -> None:
    """Readers of JSON differ in which of the two they take."""
    path = unpacked / "config/config_fed_client.json"
    text = path.read_text()
    path.write_text(text.replace('{"format_version"', '{"components": [{}], "format_version"', 1))
    assert said(unpacked) == "job_refused: not_our_config"


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"[" * 100_000, b"\xff\xfe"])
def test_a_configuration_that_is_none_is_refused(unpacked: Path, raw: bytes) -> None:
    (unpacked / "config/config_fed_client.json").write_bytes(raw)
    assert said(unpacked) == "job_refused: not_our_config"


def test_a_missing_configuration_is_refused(unpacked: Path) -> None:
    (unpacked / "config/config_fed_client.json").unlink()
    assert said(unpacked) == "job_refused: not_our_config"


def test_the_servers_side_takes_the_coordinators_component_only(unpacked: Path) -> None:
    path = unpacked / "config/config_fed_server.json"
    values = json.loads(path.read_text())
    values["workflows"][0]["path"] = SITE_COMPONENTS[0]
    path.write_text(json.dumps(values))
    assert said(unpacked, "server").startswith("job_refused: foreign_component")
    assert said(unpacked) == ""


def test_a_configuration_over_the_policy_is_refused_as_the_job_is_deployed(
    unpacked: Path, settings: Path
) -> None:
    text = SETTINGS.replace("largest_epsilon = 8", "largest_epsilon = 4\nsmallest_owners = 5")
    settings.write_text(text)
    assert said(unpacked) == (
        "job_refused: policy_refused: epsilon_over_policy, owners_under_policy"
    )
    settings.write_text(text + "show_bounds = true\n")
    assert said(unpacked) == (
        "job_refused: policy_refused: epsilon_over_policy: 8 > 4, owners_under_policy: 4 < 5"
    )
    assert said(unpacked, "server") == ""


def test_a_node_without_usable_settings_takes_no_job(unpacked: Path, settings: Path) -> None:
    settings.write_text(SETTINGS.replace("largest_epsilon = 8", ""))
    assert said(unpacked) == "job_refused: settings_unusable"
    settings.unlink()
    assert said(unpacked) == "job_refused: settings_unusable"


@pytest.mark.parametrize("text", ["epsilom = 1", "epsilon = nan", "x", None])
def test_a_job_without_a_configuration_of_ours_is_refused(unpacked: Path, text: str | None) -> None:
    path = unpacked / "config/feddiff/config.toml"
    path.unlink() if text is None else path.write_text(text)
    assert said(unpacked) == "job_refused: not_our_config config.toml"
