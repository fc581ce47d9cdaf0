"""`provision`, `node start|status|pending|approve|reject`: exit codes, two-line errors, files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from feddiff_crypto.registry_file import read_registry
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.cli.main import run_cli
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.node import RefusalError
from feddiff_secure.node.hardening import check_kit
from feddiff_secure.node.review import Review
from feddiff_secure.node.settings import REVIEW_VARIABLE, NodeSettings
from tests.support.federations import plan_for
from tests.support.kits import copied, edited, kits
from tests.support.ledgers import fresh_ledger

PROJECT = """\
version = 1
name = "forest"
host = "localhost"
port = 18002
organisation = "forest_lab"
admin = "analyst@forest.org"
[sites]
ann = "ann_org"
ben = "b2"
"""


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("project.toml").write_text(PROJECT)


def ok(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run_cli([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    printed: dict[str, Any] = json.loads(captured.out)
    return printed


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert run_cli(list(arguments)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    error, hint = captured.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error


def node(capsys: pytest.CaptureFixture[str]) -> Path:
    """A node's folder: kit, key, registry and settings, as docs/deploy.md makes them."""
    kit = copied(kits().sites["ann"], Path.cwd())
    local = kit / "local"
    made = ok(
        capsys, "node", "init", "ann",
        "--out", f"{local}/identity.key", "--settings", f"{local}/node.toml",
    )  # fmt: skip
    registry = f"{local}/registry.json"
    ok(capsys, "node", "registry", "add", "ann", made["public"], "--registry", registry)
    (local / "data.h5").write_bytes(b"")
    return kit


def test_all_kits_are_made_with_one_command(capsys: pytest.CaptureFixture[str]) -> None:
    made = ok(capsys, "provision", "--out", "kits")
    assert set(made["sites"]) == {"ann", "ben"}
    for kit in (made["server"], made["admin"], *made["sites"].values()):
        assert check_kit(Path(kit)) == []
    assert "has seen every transport key" in made["flow"]
    assert "exists" in refused(capsys, 2, "provision", "--out", "kits")


def test_kits_are_made_by_requests(capsys: pytest.CaptureFixture[str]) -> None:
    root = ok(capsys, "provision", "root", "--out", "root")
    asked = ok(capsys, "provision", "request", "--name", "ann", "--out", "mine")
    signed = ok(
        capsys, "provision", "sign",
        "--request", "mine/ann.csr", "--root", "root", "--out", "ann.signed.pem",
    )  # fmt: skip
    assert signed["fingerprint"] == asked["fingerprint"]
    made = ok(
        capsys, "provision", "assemble",
        "--name", "ann", "--key", "mine/ann.key", "--signed", "ann.signed.pem", "--out", "ann",
    )  # fmt: skip
    assert made["root fingerprint"] == root["fingerprint"]
    assert check_kit(Path("ann")) == []


def test_mistakes_in_provisioning_are_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no --out" in refused(capsys, 2, "provision")
    assert "'eve' is not in project" in refused(
        capsys, 2, "provision", "request", "--name", "eve", "--out", "mine"
    )
    Path("project.toml").write_text(PROJECT.replace("ann_org", "ann-org"))
    assert "sites is" in refused(capsys, 2, "provision", "--out", "kits")
    assert not Path("kits").exists()


def test_init_writes_settings_that_name_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf").mkdir()
    ok(capsys, "node", "init", "ann", "--out", "ann.key", "--settings", "conf/node.toml")
    settings = NodeSettings.load(Path("conf/node.toml"))
    assert settings.identity.resolve() == Path("ann.key").resolve()
    assert stat.S_IMODE(Path("conf/node.toml").stat().st_mode) == 0o600
    error = refused(
        capsys, 2, "node", "init", "ben", "--out", "ben.key", "--settings", "conf/node.toml"
    )
    assert "exists" in error
    assert not Path("ben.key").exists()


def test_a_node_does_not_start_from_a_kit_that_lets_code_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kit = node(capsys)
    edited(kit / "local/authorization.json", lambda v: v["permissions"]["lead"].update(byoc="any"))
    error = refused(capsys, 2, "node", "start", str(kit))
    assert 'local/authorization.json: permissions.lead.byoc is "any", not "none"' in error
    assert not (kit / "process.lock").exists()


def test_a_node_does_not_start_from_wrong_settings_or_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kit = node(capsys)
    settings = kit / "local/node.toml"
    text = settings.read_text()
    settings.write_text(text.replace("largest_epsilon", "largest_epsilom"))
    assert "unknown key policy.largest_epsilom" in refused(capsys, 2, "node", "start", str(kit))
    settings.write_text(text)
    (kit / "local/identity.key").chmod(0o644)
    assert "identity: " in refused(capsys, 2, "node", "start", str(kit))
    (kit / "local/identity.key").chmod(0o600)
    (kit / "local/data.h5").unlink()
    assert "data: " in refused(capsys, 2, "node", "start", str(kit))
    assert "no startup kit" in refused(capsys, 2, "node", "start", str(kit / "local"))


def test_a_node_whose_key_is_of_another_owner_does_not_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kit = node(capsys)
    local = kit / "local"
    (local / "identity.key").unlink()
    made = ok(capsys, "node", "init", "ben", "--out", f"{local}/identity.key")
    registry = f"{local}/registry.json"
    ok(capsys, "node", "registry", "add", "ben", made["public"], "--registry", registry)
    assert set(read_registry(Path(registry)).parties) == {"ann", "ben"}
    error = refused(capsys, 2, "node", "start", str(kit))
    assert "is of ben, and the kit's certificate is of ann" in error


def test_status_of_a_node_that_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    kit = node(capsys)
    shown = ok(capsys, "node", "status", str(kit))
    assert (shown["name"], shown["process"]) == ("ann", None)
    assert (shown["unsafe"], shown["pending"]) == ([], [])
    edited(kit / "local/resources.json", lambda v: v.update(allow_log_streaming=True))
    (found,) = ok(capsys, "node", "status", str(kit))["unsafe"]
    assert found == "local/resources.json: allow_log_streaming is true, not false"
    assert ok(capsys, "node", "stop", str(kit)) == {"stopped": False}


def wait_in(folder: Path, ledger: Ledger) -> str:
    """A plan that was offered and not decided on."""
    plan = plan_for(RunConfig(rounds=4, nominal_tiles=1000))
    with pytest.raises(RefusalError):
        Review(folder, plan.owners[0], lambda: ledger.balance, 0.0)(plan)
    return plan.digest().hex()


def test_a_pending_plan_is_shown_approved_once_and_never_by_another_digest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kit = node(capsys)
    digest = wait_in(kit / "local/pending", fresh_ledger(8.0))
    assert run_cli(["node", "pending", "--node", str(kit)]) == 0
    page = capsys.readouterr().out
    assert digest in page
    assert "masks_broken" in page
    error = refused(capsys, 2, "node", "approve", "0" * 64, "--node", str(kit))
    assert "no plan that waits" in error
    made = ok(capsys, "node", "approve", digest, "--node", str(kit))
    assert made == {"plan": digest, "decision": "approve"}
    error = refused(capsys, 2, "node", "reject", digest, "--node", str(kit))
    assert "decided on before: approve" in error
    assert ok(capsys, "node", "pending", "--node", str(kit)) == {"pending": {}}


def test_review_can_be_turned_on_from_outside_and_never_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = node(capsys) / "local/node.toml"
    text = path.read_text()
    monkeypatch.setenv(REVIEW_VARIABLE, "0")
    assert NodeSettings.load(path).review
    path.write_text(text.replace("review = true", "review = false"))
    assert not NodeSettings.load(path).review
    monkeypatch.setenv(REVIEW_VARIABLE, "1")
    assert NodeSettings.load(path).review


def test_commands_of_the_admin_want_the_admins_kit(capsys: pytest.CaptureFixture[str]) -> None:
    site = str(kits().sites["ann"])
    assert "not an admin's kit" in refused(capsys, 2, "status", "--admin", site)
    assert "not an admin's kit" in refused(capsys, 2, "abort", "x", "--admin", site)
    assert "the kit of a site" in refused(capsys, 2, "coordinator", "start", site)


def test_a_server_that_does_not_answer_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    error = refused(capsys, 4, "status", "--admin", str(kits().admin))
    assert "no server answers" in error
