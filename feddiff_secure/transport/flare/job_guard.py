"""Refuse, before FLARE reads it, every job that is not exactly one of ours.

FLARE 2.9 asks its authorization policy whether a submitter may bring code. Where it takes the
submitter's name and role from the server's message, a role `super` passes every policy. So a site
does not rely on it: this validator looks at the files themselves, whoever is said to have sent
them.

1. The files are the two configurations, public files of known forms and sizes, and the
   submitter's signatures; no folder of code, no other file, no link.
2. The configuration of this side has exactly the fields of our jobs: no filter, no further
   component, and one component by its full name out of our list, without arguments.
3. At a site: the run's configuration is within the policy of the node's own settings.

A refusal is fixed codes, names out of the job, and what the owner's policy lets reasons show; the
submitter sees it.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from nvflare.apis.app_validation import AppValidator

from feddiff_secure.config.load import load_config
from feddiff_secure.errors import UsageError
from feddiff_secure.node.components import SERVER_COMPONENTS, SITE_COMPONENTS
from feddiff_secure.node.policy import check_config, refusal
from feddiff_secure.node.settings import SETTINGS_FILE, NodeSettings

MOST_FILES: Final = 64
MOST_BYTES: Final = 1 << 24  # of one file
_CONFIG: Final = {"site": "config_fed_client.json", "server": "config_fed_server.json"}
_ALLOWED: Final = {"site": SITE_COMPONENTS, "server": SERVER_COMPONENTS}
_PUBLIC: Final = re.compile(
    r"config/feddiff/[a-z0-9][a-z0-9_-]{0,63}\.(toml|json|safetensors)", re.ASCII
)
_SIGNATURES: Final = {".__nvfl_sig.json", ".__nvfl_submitter.crt"}
_EMPTY: Final = ("task_data_filters", "task_result_filters", "components")
_COMMON: Final = {"format_version", *_EMPTY}
_OPTIONAL: Final = {"default_task_fetch_interval"}
_FOLDERS: Final = {"", "config", "config/feddiff"}
_log = logging.getLogger(__name__)


class JobRefusedError(Exception):
    """A job that is none of ours; its argument, a code and a name, is for the submitter."""


class JobGuard(AppValidator):  # type: ignore[misc]  # nvflare has no types
    """FLARE's application validator of a site, or of the server.

    Args:
        side: `site` or `server`.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        if side not in _CONFIG:
            raise ValueError(f"side is {side!r}, not site or server")
        self._side = side

    def validate(self, app_folder: str) -> tuple[str, dict[str, Any]]:
        """FLARE's question: an error for the submitter, or none, and what it should know."""
        try:
            check_app(Path(app_folder), self._side)
        except JobRefusedError as refusal:
            _log.warning("refused a job: %s", refusal)
            return f"job_refused: {refusal}", {}
        return "", {}


def check_app(folder: Path, side: str) -> None:
    """Check the files of a job as they were unpacked.

    Args:
        folder: of the job's application.
        side: `site` or `server`.

    Raises:
        JobRefusedError: `foreign_file`, `too_large`, `not_our_config`, `foreign_component`,
            `settings_unusable`, `policy_refused`.
    """
    _check_files(folder)
    path = folder / "config" / _CONFIG[side]
    try:
        config: Any = json.loads(path.read_bytes(), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _not_ours() from error
    found = _component(config, side)
    if found not in _ALLOWED[side]:
        raise JobRefusedError(f"foreign_component {str(found)[:200]}")
    if side == "site":
        _check_policy(folder)


def _check_policy(folder: Path) -> None:
    """Step 3: settings are read anew for every job, so that an owner can change its mind."""
    kit = folder.absolute().parents[1]  # KIT/<job>/app_<site>
    try:
        policy = NodeSettings.load(kit / "local" / SETTINGS_FILE).policy
    except UsageError as error:
        _log.error("%s (%s)", error, error.hint)
        raise JobRefusedError("settings_unusable") from error
    try:
        config = load_config(folder / "config" / "feddiff" / "config.toml", {})
    except UsageError as error:
        raise JobRefusedError("not_our_config config.toml") from error
    if reasons := check_config(policy, config):
        raise JobRefusedError(refusal(reasons, bounds=policy.show_bounds))


def _check_files(folder: Path) -> None:
    for number, (name, path) in enumerate(_walk(folder)):
        if number >= MOST_FILES:
            raise JobRefusedError("too_large files")
        known = name in {f"config/{one}" for one in _CONFIG.values()} or _PUBLIC.fullmatch(name)
        parent, _, base = name.rpartition("/")
        if not known and not (base in _SIGNATURES and parent in _FOLDERS):
            raise JobRefusedError(f"foreign_file {name[:200]}")
        if path.is_symlink() or not path.is_file():
            raise JobRefusedError(f"foreign_file {name[:200]}")
        if path.stat().st_size > MOST_BYTES:
            raise JobRefusedError(f"too_large {name[:200]}")


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file and every folder that no job of ours has, by its path inside."""
    for root, folders, files in os.walk(folder):
        inside = Path(root).relative_to(folder)
        for name in folders:
            path = inside / name
            if path.as_posix() not in _FOLDERS or (Path(root) / name).is_symlink():
                raise JobRefusedError(f"foreign_file {path.as_posix()[:200]}")
        for name in files:
            yield (inside / name).as_posix(), Path(root) / name


def _component(config: Any, side: str) -> object:
    """The one component that a configuration of our form names.

    Raises:
        JobRefusedError: any other form.
    """
    own = {"executors"} if side == "site" else {"workflows", "server"}
    (entry,) = _one(_fields(config, _COMMON | own), "executors" if side == "site" else "workflows")
    if side == "site":
        named = _fields(_fields(entry, {"tasks", "executor"})["executor"], {"path", "args"})
    else:
        named = _fields(entry, {"id", "path", "args"})
        settings = config["server"]
        if not isinstance(settings, dict) or not all(map(_is_number, settings.values())):
            raise _not_ours()
    if named["args"] != {} or any(config[key] != [] for key in _EMPTY):
        raise _not_ours()
    return named["path"]


def _fields(value: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() - _OPTIONAL != names:
        raise _not_ours()
    if not all(_is_number(value[key]) for key in value.keys() & _OPTIONAL):
        raise _not_ours()
    return value


def _one(config: dict[str, Any], key: str) -> list[Any]:
    found = config[key]
    if not isinstance(found, list) or len(found) != 1:
        raise _not_ours()
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless it names a key twice: readers differ in which one they take."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _not_ours()
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_ours() -> JobRefusedError:
    return JobRefusedError("not_our_config")
