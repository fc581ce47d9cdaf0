"""A startup kit as FLARE 2.9 reads it, with every unsafe default of FLARE's turned round.

    KIT/startup/fed_client.json | fed_server.json | fed_admin.json
    KIT/startup/client.crt client.key | server.crt server.key, rootCA.pem
    KIT/local/resources.json authorization.json log_config.json        (not in an admin's kit)

What differs from what FLARE's own provisioning writes: no role may bring code (`byoc`), run shell
commands, operate a site or download results; a job may name our components only; jobs must be
signed by the admin; nothing streams logs to the server; stores lie in the server's kit and not in a
folder that everybody on the machine shares. `hardening.check_kit` holds a kit against this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from feddiff_secure.node.components import JOB_GUARD, SERVER_COMPONENTS, SITE_COMPONENTS
from feddiff_secure.node.project import ADMIN_ROLE, Kind, Member, Project

SCHEME: Final = "http"  # FLARE's default: WebSocket over TLS
STARTUP: Final = {"server": "fed_server.json", "site": "fed_client.json", "admin": "fed_admin.json"}
CERTIFICATE: Final = {"server": "server", "site": "client", "admin": "client"}
"""Kind → stem of its `.crt` and `.key`."""

_ALLOWED: Final = {"submit_job": "any", "manage_job": "n:submitter", "view": "any"}
_FORBIDDEN: Final = (
    "byoc",
    "clone_job",
    "download_job",
    "operate",
    "server-predeployed-flwr",
    "shell_commands",
)


def kit_kind(kit: Path) -> Kind | None:
    """What a folder is the kit of; None for none, or for more than one."""
    kinds: dict[Kind, str] = {
        "server": STARTUP["server"],
        "site": STARTUP["site"],
        "admin": STARTUP["admin"],
    }
    found = [kind for kind, name in kinds.items() if (kit / "startup" / name).exists()]
    return found[0] if len(found) == 1 else None


def startup_config(project: Project, member: Member) -> dict[str, Any]:
    """The startup file: where the server is, who this is, and how they are secured."""
    service = {"target": f"{project.host}:{project.port}", "scheme": SCHEME}
    if member.kind == "admin":
        return {"format_version": 1, "admin": _admin(project)}
    if member.kind == "site":
        server = {"name": project.name, "service": service, "identity": project.host}
        client = {**_tls("client"), "fqsn": member.name, "is_leaf": True}
        return {
            "format_version": 2,
            "require_signed_jobs": True,
            "servers": [server],
            "client": {**client, "connection_security": "mtls"},
        }
    entry: dict[str, Any] = {
        "name": project.name,
        "service": service,
        "admin_server": project.host,
        "admin_port": project.port,
        **_tls("server"),
        "connection_security": "mtls",
    }
    return {"format_version": 2, "require_signed_jobs": True, "servers": [entry]}


def authorization() -> dict[str, Any]:
    """Who may do what: the admin submits, stops its own jobs and looks on; nothing else."""
    rights = {**_ALLOWED, **dict.fromkeys(_FORBIDDEN, "none")}
    return {"format_version": "1.0", "permissions": {ADMIN_ROLE: rights}}


def site_resources() -> dict[str, Any]:
    """What runs in a site's own process."""
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(SITE_COMPONENTS),
        "allow_log_streaming": False,
        "app_validator": {"path": JOB_GUARD, "args": {"side": "site"}},
        # What a site tells the server of itself: named here, so that FLARE sends no other setting.
        "client": {
            "retry_timeout": 30,
            "compression": "Gzip",
            "site_config": {"allow_log_streaming": False},
        },
        "components": [
            _part(
                "resource_manager",
                "resource_managers.gpu_resource_manager.GPUResourceManager",
                {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300},
            ),
            _part(
                "resource_consumer", "resource_consumers.gpu_resource_consumer.GPUResourceConsumer"
            ),
            _part(
                "process_launcher", "job_launcher.client_process_launcher.ClientProcessJobLauncher"
            ),
        ],
    }


def server_resources(kit: Path) -> dict[str, Any]:
    """What runs in the server's own process.

    Args:
        kit: absolute path of the kit: FLARE wants its stores by absolute paths.
    """
    filesystem = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    storage = {"path": filesystem, "args": {"root_dir": str(kit / "snapshots"), "uri_root": "/"}}
    return {
        "format_version": 2,
        "class_list_enforcement_mode": "enforce",
        "class_allow_list": list(SERVER_COMPONENTS),
        "allow_log_streaming": False,
        "app_validator": {"path": JOB_GUARD, "args": {"side": "server"}},
        "servers": [
            {
                "admin_storage": "transfer",
                "max_num_clients": 100,
                "heart_beat_timeout": 600,
                "admin_timeout": 10.0,
            }
        ],
        "snapshot_persistor": {
            "path": "nvflare.app_common.state_persistors.storage_state_persistor."
            "StorageStatePersistor",
            "args": {"uri_root": "/", "storage": storage},
        },
        "components": [
            _part(
                "job_scheduler",
                "job_schedulers.job_scheduler.DefaultJobScheduler",
                {"max_jobs": 4, "min_schedule_interval": 1.0, "max_schedule_interval": 10.0},
            ),
            {
                "id": "job_manager",
                "path": "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
                "args": {"uri_root": str(kit / "jobs"), "job_store_id": "job_store"},
            },
            _part("job_store", "storages.filesystem_storage.FilesystemStorage"),
            _part(
                "process_launcher", "job_launcher.server_process_launcher.ServerProcessJobLauncher"
            ),
        ],
    }


def log_config() -> dict[str, Any]:
    """Logs of the kit's processes: files beside them, at most 100 MiB, and standard output."""
    kept = {
        "class": "logging.handlers.RotatingFileHandler",
        "formatter": "plain",
        "mode": "a",
        "maxBytes": 20 * 2**20,
        "backupCount": 4,
    }
    line = "%(asctime)s - %(name)s - %(levelname)s - %(fl_ctx)s - %(message)s"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"()": "nvflare.fuel.utils.log_utils.BaseFormatter", "fmt": line}},
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "plain",
                "stream": "ext://sys.stdout",
            },
            "all": {**kept, "level": "INFO", "filename": "log.txt"},
            "errors": {**kept, "level": "ERROR", "filename": "error_log.txt"},
        },
        "loggers": {"root": {"level": "INFO", "handlers": ["console", "all", "errors"]}},
    }


def local_files(kind: Kind, kit: Path) -> dict[str, dict[str, Any]]:
    """Name → content of the files in `local` that FLARE reads."""
    if kind == "admin":
        return {"resources.json": _admin_resources()}
    resources = server_resources(kit) if kind == "server" else site_resources()
    return {
        "resources.json": resources,
        "authorization.json": authorization(),
        "log_config.json": log_config(),
    }


def _part(name: str, path: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"id": name, "path": f"nvflare.app_common.{path}", "args": args or {}}


def _tls(stem: str) -> dict[str, str]:
    return {
        "ssl_private_key": f"{stem}.key",
        "ssl_cert": f"{stem}.crt",
        "ssl_root_cert": "rootCA.pem",
    }


def _admin(project: Project) -> dict[str, Any]:
    return {
        "project_name": project.name,
        "username": project.admin,
        "server_identity": project.host,
        "scheme": SCHEME,
        "host": project.host,
        "port": project.port,
        "connection_security": "mtls",
        "uid_source": "user_input",
        "with_file_transfer": True,
        "upload_dir": "transfer",
        "download_dir": "transfer",
        "client_key": "client.key",
        "client_cert": "client.crt",
        "ca_cert": "rootCA.pem",
    }


def _admin_resources() -> dict[str, Any]:
    settings = {
        "idle_timeout": 900.0,
        "login_timeout": 10.0,
        "with_debug": False,
        "authenticate_msg_timeout": 2.0,
        "prompt": "> ",
    }
    return {"format_version": 1, "admin": settings}
