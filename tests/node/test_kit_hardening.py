"""A kit in which one setting is turned back is not started; of real kits, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feddiff_secure.errors import UsageError
from feddiff_secure.node.hardening import check_kit, require_safe
from tests.support.kits import copied, edited, kits

RESOURCES, AUTHORIZATION = "local/resources.json", "local/authorization.json"
CLIENT, SERVER = "startup/fed_client.json", "startup/fed_server.json"
Change = Callable[[dict[str, Any]], object]


def put(*path: str | int, value: object) -> Change:
    def change(values: dict[str, Any]) -> None:
        inner: Any = values
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def drop(*path: str | int) -> Change:
    def change(values: dict[str, Any]) -> None:
        inner: Any = values
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


def add_component(path: str) -> Change:
    part = {"id": "more", "path": path, "args": {}}
    return lambda values: values["components"].append(part)


STREAMER = "nvflare.app_common.logging.site_log_streamer.SiteLogStreamer"
LAUNCHER = "nvflare.app_common.launchers.subprocess_launcher.SubprocessLauncher"
TURNED: list[tuple[str, str, Change, str]] = [
    ("site", AUTHORIZATION, put("permissions", "lead", "byoc", value="any"), "lead.byoc"),
    ("site", AUTHORIZATION, put("permissions", "project_admin", value="any"), "project_admin"),
    ("site", AUTHORIZATION, drop("permissions", "lead", "byoc"), "lead.byoc"),
    ("site", AUTHORIZATION, put("permissions", "lead", value="any"), "permissions.lead"),
    (
        "site",
        AUTHORIZATION,
        put("permissions", "lead", "shell_commands", value="o:site"),
        "lead.shell_commands",
    ),
    ("site", AUTHORIZATION, put("permissions", "lead", "operate", value="any"), "lead.operate"),
    ("site", AUTHORIZATION, put("permissions", "lead", "manage_job", value="any"), "manage_job"),
    ("site", RESOURCES, put("class_allow_list", value=["*"]), "class_allow_list.0"),
    ("site", RESOURCES, put("class_allow_list", value=["nvflare."]), "class_allow_list.0"),
    ("site", RESOURCES, lambda v: v["class_allow_list"].append(LAUNCHER), "class_allow_list"),
    ("site", RESOURCES, drop("class_allow_list"), "class_allow_list"),
    (
        "site",
        RESOURCES,
        put("class_list_enforcement_mode", value="warn"),
        "class_list_enforcement_mode",
    ),
    ("site", RESOURCES, put("allow_log_streaming", value=True), "allow_log_streaming"),
    ("site", RESOURCES, drop("allow_log_streaming"), "allow_log_streaming"),
    ("site", RESOURCES, drop("client", "site_config"), "client.site_config"),
    ("site", RESOURCES, drop("app_validator"), "app_validator"),
    ("site", RESOURCES, put("app_validator", "args", "side", value="server"), "args.side"),
    ("site", RESOURCES, put("app_validator", "path", value="x.Y"), "app_validator.path"),
    ("site", RESOURCES, add_component(STREAMER), "components"),
    ("site", RESOURCES, put("decomposer_module", value="os"), "decomposer_module"),
    ("site", CLIENT, put("require_signed_jobs", value=False), "require_signed_jobs"),
    ("site", CLIENT, put("require_signed_jobs", value=1), "require_signed_jobs"),
    ("site", CLIENT, put("client", "connection_security", value="tls"), "connection_security"),
    ("site", CLIENT, put("client", "ssl_root_cert", value="other.pem"), "client.ssl_root_cert"),
    ("site", CLIENT, put("app_validator", value={"path": "x.Y"}), "app_validator"),
    ("site", CLIENT, put("servers", value=[]), "another form"),
    ("site", "local/log_config.json", put("handlers", "all", "class", value="x.Http"), "all.class"),
    ("server", AUTHORIZATION, put("permissions", "lead", "byoc", value="any"), "lead.byoc"),
    ("server", RESOURCES, put("class_allow_list", value=["*"]), "class_allow_list.0"),
    ("server", RESOURCES, drop("app_validator"), "app_validator"),
    (
        "server",
        RESOURCES,
        put("snapshot_persistor", "args", "storage", "args", "root_dir", value="/elsewhere/shared"),
        "root_dir",
    ),
    ("server", SERVER, put("require_signed_jobs", value=False), "require_signed_jobs"),
    ("server", SERVER, put("servers", 0, "connection_security", value="clear"), "servers.0"),
]


@pytest.mark.parametrize(
    ("kind", "file", "change", "field"),
    TURNED,
    ids=[f"{i}-{kind}-{field}" for i, (kind, _, _, field) in enumerate(TURNED)],
)
def test_a_setting_that_is_turned_back_is_found_by_file_and_field(
    tmp_path: Path, kind: str, file: str, change: Change, field: str
) -> None:
    made = kits()
    kit = copied(made.server if kind == "server" else made.sites["ann"], tmp_path)
    if kind == "server":  # its stores move with it
        place = str(made.server)
        path = kit / RESOURCES
        path.write_text(path.read_text().replace(place, str(kit)))
    assert check_kit(kit) == []
    edited(kit / file, change)
    found = check_kit(kit)
    assert found
    assert all(one.file == file for one in found)
    assert field in str(found[0])
    with pytest.raises(UsageError, match=file) as error:
        require_safe(kit)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "name",
    [
        "local/custom/code.py",
        "local/more__resources.json",
        "local/resources.json.default",
        "local/authorization.json.default",
        "local/privacy.json",
        "local/comm_config.json",
        "startup/more__p_resources.json",
        "startup/start.sh",
    ],
)
def test_a_file_that_flare_would_read_beside_ours_is_found(tmp_path: Path, name: str) -> None:
    kit = copied(kits().sites["ann"], tmp_path)
    path = kit / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(UsageError, match="is there, not <missing>"):
        require_safe(kit)


@pytest.mark.parametrize(
    "name",
    [RESOURCES, AUTHORIZATION, "local/log_config.json", "startup/rootCA.pem", "startup/client.key"],
)
def test_a_file_that_is_missing_is_found(tmp_path: Path, name: str) -> None:
    kit = copied(kits().sites["ann"], tmp_path)
    (kit / name).unlink()
    with pytest.raises(UsageError, match="is <missing>, not there"):
        require_safe(kit)


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("startup/client.key", 0o644, "client.key: mode is 0644, not 0600 or less"),
        ("startup/client.key", 0o640, "client.key: mode is 0640"),
        ("local", 0o777, "local: mode is 0777"),
        ("startup", 0o770, "startup: mode is 0770"),
        (RESOURCES, 0o666, "resources.json: mode is 0666"),
    ],
)
def test_modes_that_others_could_use_are_found(
    tmp_path: Path, name: str, mode: int, words: str
) -> None:
    kit = copied(kits().sites["ann"], tmp_path)
    (kit / name).chmod(mode)
    with pytest.raises(UsageError) as error:
        require_safe(kit)
    assert words in str(error.value)


def test_what_a_node_keeps_of_its_own_in_local_is_no_finding(tmp_path: Path) -> None:
    kit = copied(kits().sites["ann"], tmp_path)
    for name in ("node.toml", "identity.key", "registry.json"):
        (kit / "local" / name).write_text("x")
    assert check_kit(kit) == []


def test_a_folder_that_is_no_kit_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no startup kit"):
        check_kit(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"[" * 100_000, b'{"a": 1'])
def test_a_damaged_startup_file_is_refused_by_name(tmp_path: Path, raw: bytes) -> None:
    kit = copied(kits().sites["ann"], tmp_path)
    (kit / CLIENT).write_bytes(raw)
    with pytest.raises(UsageError, match=r"fed_client\.json"):
        require_safe(kit)


def test_flares_own_defaults_would_not_pass(tmp_path: Path) -> None:
    """The permissions that FLARE 2.9's template gives its roles."""
    kit = copied(kits().sites["ann"], tmp_path)
    default = {"project_admin": "any", "lead": {"submit_job": "any", "byoc": "any"}}
    (kit / AUTHORIZATION).write_text(json.dumps({"format_version": "1.0", "permissions": default}))
    fields = {one.field for one in check_kit(kit)}
    assert {"permissions.project_admin", "permissions.lead.byoc"} <= fields
