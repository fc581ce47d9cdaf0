"""`audit check-report`: a report is its owner's only as it was signed, under the pinned key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from feddiff_crypto.attest.dsse import parse_envelope
from feddiff_crypto.attest.statement import (
    AUDIT_PREDICATE,
    RUN_PREDICATE,
    Statement,
    parse_statement,
)
from feddiff_crypto.identity_file import write_identity
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import parse_registry
from feddiff_secure.cli.main import run_cli
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import finished_run, small_config

OWNER, OTHER = "owner-002", "owner-001"
SIGNED = "statement.dsse.json"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, two identities, and the signed and the unsigned report of one owner."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        memoise_accounting(patch)
        people = finished_run(folder / "run", small_config(lifetime_epsilon=20.0))
        for name in (OWNER, OTHER):
            path = folder / f"{name}.key"
            write_identity(path, name, people.keys[name], None, SecureRandom())
        (folder / "registry.json").write_bytes(people.pins().to_bytes())
        command = ["audit", "report", str(folder / "run"), "--owner", OWNER, "--out"]
        assert run_cli([*command, str(folder / "plain")]) == 0
        identity = ["--identity", str(folder / f"{OWNER}.key")]
        assert run_cli([*command, str(folder / "report"), *identity]) == 0
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A copy of all of it."""
    return Path(shutil.copytree(kept, tmp_path / "kept"))


def check(folder: Path, *, report: str = "report", registry: bool = True) -> int:
    pins = ["--registry", str(folder / "registry.json")] if registry else []
    return run_cli(["audit", "check-report", str(folder / report), *pins, "--json"])


def key_of(folder: Path, name: str) -> IdentityKey:
    from feddiff_crypto.identity_file import read_identity  # noqa: PLC0415  # two tests need it

    return read_identity(folder / f"{name}.key").open()


def statement_of(folder: Path) -> Statement:
    return parse_statement(parse_envelope((folder / "report" / SIGNED).read_bytes()).payload)


def sign_again(folder: Path, statement: Statement, *names: str) -> None:
    signers = {name: key_of(folder, name) for name in names}
    (folder / "report" / SIGNED).write_bytes(statement.sign(signers).to_bytes())


def test_the_report_of_its_owner_is_accepted_and_says_what_it_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder) == 0
    found = json.loads(capsys.readouterr().out)
    content = json.loads((folder / "report" / "report.json").read_text())
    assert (found["owner"], found["signed_by"]) == (OWNER, [OWNER])
    assert (found["verified"], found["failed_step"]) == (True, None)
    assert (found["session"], found["log"]) == (content["run"]["session"], content["log"])


def test_an_unsigned_report_is_called_what_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["audit", "check-report", str(folder / "plain")]) == 0
    assert "signed by   nobody: anybody can have written it" in capsys.readouterr().out


def flipped(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "report" / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))

    return change


def removed(folder: Path) -> None:
    (folder / "report" / "report.html").unlink()


def signed_by_another(folder: Path) -> None:
    sign_again(folder, statement_of(folder), OTHER)


def with_another_key(folder: Path) -> None:
    statement = statement_of(folder)
    forged = statement.sign({OWNER: IdentityKey.generate(SecureRandom())})
    (folder / "report" / SIGNED).write_bytes(forged.to_bytes())


def of_a_run(folder: Path) -> None:
    found = statement_of(folder)
    sign_again(folder, Statement(found.subjects, RUN_PREDICATE, found.predicate), OWNER)


def about_one_file(folder: Path) -> None:
    found = statement_of(folder)
    page = {"report.html": found.subjects["report.html"]}
    sign_again(folder, Statement(page, AUDIT_PREDICATE, found.predicate), OWNER)


def contradicting(folder: Path) -> None:
    found = statement_of(folder)
    predicate = {**found.predicate, "failed_step": 3}
    sign_again(folder, Statement(found.subjects, AUDIT_PREDICATE, predicate), OWNER)


def with_more_fields(folder: Path) -> None:
    found = statement_of(folder)
    predicate = {**found.predicate, "approved": True}
    sign_again(folder, Statement(found.subjects, AUDIT_PREDICATE, predicate), OWNER)


def revoked(folder: Path) -> None:
    path = folder / "registry.json"
    pins = parse_registry(path.read_bytes())
    path.write_bytes(pins.revoke(OWNER, "lost").to_bytes())


WRONG = [
    flipped("report.html"), flipped("report.json"), flipped(SIGNED), removed, signed_by_another,
    with_another_key, of_a_run, about_one_file, contradicting, with_more_fields, revoked,
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda f: f.__qualname__)
def test_whatever_its_owner_did_not_sign_so_is_refused(
    folder: Path, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder)
    assert check(folder) == 6
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 2


def test_a_second_signature_beside_the_owners_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_again(folder, statement_of(folder), OWNER, OTHER)
    assert check(folder) == 0
    assert json.loads(capsys.readouterr().out)["signed_by"] == [OTHER, OWNER]


def test_a_signed_report_without_a_registry_and_no_report_at_all_are_wrong_options(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(folder, registry=False) == 2
    assert "give --registry" in capsys.readouterr().err
    assert check(folder, report="run") == 2
    assert check(folder, report="nowhere") == 2
    shutil.copy(folder / "plain" / "statement.json", folder / "report")
    assert check(folder) == 2
    assert "more than one statement" in capsys.readouterr().err
