"""A job as FLARE takes it: which component runs where, the public files, and no code.

    JOB/meta.json                            who takes part
    JOB/app/config/config_fed_server.json    the coordinator's component
    JOB/app/config/config_fed_client.json    the owners' component
    JOB/app/config/feddiff/<file>            public files, for all

Sites take components from their allow-list only; the job names classes and gives them no arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from feddiff_secure.transport.job_folder import PUBLIC_FOLDER

TASK_REQUEST_INTERVAL: Final = 0.2  # seconds: FLARE's own polling, which also ends the job
_APP = "app"


@dataclass(frozen=True, slots=True)
class JobParts:
    """What a job is made of.

    Attributes:
        name: of the job.
        sites: names of all sites.
        least: how many of them FLARE must have, at the start and throughout.
        controller: dotted name of the coordinator's component.
        executor: dotted name of the owners' component.
        files: name → content of the public files.
    """

    name: str
    sites: Sequence[str]
    least: int
    controller: str
    executor: str
    files: Mapping[str, bytes]


def make_job(folder: Path, parts: JobParts) -> Path:
    """Write the job's folder, which must not exist; returns it."""
    config = folder / _APP / "config"
    (config / PUBLIC_FOLDER).mkdir(parents=True)
    _write(folder / "meta.json", _meta(parts))
    _write(config / "config_fed_server.json", _server(parts))
    _write(config / "config_fed_client.json", _client(parts))
    for name, content in parts.files.items():
        (config / PUBLIC_FOLDER / name).write_bytes(content)
    return folder


def _meta(parts: JobParts) -> dict[str, Any]:
    return {
        "name": parts.name,
        "resource_spec": {},
        "min_clients": parts.least,
        "deploy_map": {_APP: ["server", *parts.sites]},
    }


def _server(parts: JobParts) -> dict[str, Any]:
    return {
        "format_version": 2,
        "server": {"heart_beat_timeout": 600, "task_request_interval": TASK_REQUEST_INTERVAL},
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "workflows": [{"id": "coordinator", "path": parts.controller, "args": {}}],
    }


def _client(parts: JobParts) -> dict[str, Any]:
    return {
        "format_version": 2,
        "task_data_filters": [],
        "task_result_filters": [],
        "components": [],
        "executors": [{"tasks": ["none"], "executor": {"path": parts.executor, "args": {}}}],
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
