"""One file shows, offline, that an owner's vector is in a round's sum, or that it is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feddiff_crypto.errors import CryptoError
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.registry_file import write_registry
from feddiff_crypto.tlog.proof import make_proof
from feddiff_secure.audit.prove import (
    HEADER,
    ContributionProof,
    check_contribution,
    make_contribution,
    parse_contribution,
)
from feddiff_secure.audit.verdict import StepFailedError
from feddiff_secure.cli.main import run_cli
from tests.support.forgery import forge, history_of
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import Parties, finished_run, small_config

DROPPED = "owner-003"


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parties]:
    run = tmp_path_factory.mktemp("proven") / "run"
    config = small_config(owners=4, dropouts=1, colluders=1, nominal_tiles=120)
    with pytest.MonkeyPatch.context() as monkeypatch:
        memoise_accounting(monkeypatch)
        return run, finished_run(run, config, lost=[("mask", DROPPED, 1)])


def proof_of(run: Path, owner: str, round_index: int) -> ContributionProof:
    return make_contribution(run, owner=owner, phase="train", round_index=round_index)


@pytest.mark.parametrize("round_index", [0, 1, 2])
@pytest.mark.parametrize("owner", ["owner-001", DROPPED])
def test_the_file_shows_who_is_in_and_who_is_not(
    made: tuple[Path, Parties], owner: str, round_index: int
) -> None:
    run, people = made
    data = proof_of(run, owner, round_index).to_bytes()
    shown = check_contribution(parse_contribution(data), people.pins())
    assert shown.included == (owner != DROPPED or round_index != 1)
    leaf = history_of(run).rounds[round_index]
    assert shown.digest == leaf.inputs.get(owner)
    assert len(shown.signed_by) >= 3
    assert len(shown.cosigned_by) == 4
    assert shown.pinned
    assert not check_contribution(parse_contribution(data), None).pinned


def test_no_changed_byte_of_the_file_is_accepted(made: tuple[Path, Parties]) -> None:
    run, people = made
    pins = people.pins()
    data = proof_of(run, "owner-001", 1).to_bytes()
    question = len(f"{HEADER}\nowner owner-001\n")
    random = np.random.default_rng(1)
    for _ in range(150):
        at = int(random.integers(question, len(data)))
        changed = bytearray(data)
        changed[at] ^= 1 << int(random.integers(8))
        with pytest.raises((CryptoError, StepFailedError)):
            check_contribution(parse_contribution(bytes(changed)), pins)
    asked = data.replace(b"owner owner-001", b"owner owner-009", 1)
    with pytest.raises(StepFailedError, match="no owner of this run"):
        check_contribution(parse_contribution(asked), pins)


def test_parts_of_two_runs_do_not_make_a_proof(made: tuple[Path, Parties], tmp_path: Path) -> None:
    run, people = made
    config = small_config(owners=4, dropouts=1, colluders=1, nominal_tiles=120)
    finished_run(tmp_path / "other", config)
    one, other = proof_of(run, "owner-001", 0), proof_of(tmp_path / "other", "owner-001", 0)
    for mixed in (
        ContributionProof("owner-001", one.run, other.round_),
        ContributionProof("owner-001", other.run, other.round_),
    ):
        with pytest.raises((CryptoError, StepFailedError)):
            check_contribution(mixed, people.pins())


def test_a_leaf_that_is_no_release_proves_nothing(made: tuple[Path, Parties]) -> None:
    run, people = made
    history = history_of(run)
    first = make_proof(history.log, 0, history.notes[-1])
    second = make_proof(history.log, 1, history.notes[-1])
    with pytest.raises(StepFailedError, match="features/1, not of a release"):
        check_contribution(ContributionProof("owner-001", first, second), people.pins())
    elsewhere = replace(first, index=2)
    with pytest.raises(StepFailedError, match="not of the log's first leaf"):
        check_contribution(ContributionProof("owner-001", elsewhere, second), people.pins())


def test_an_absence_that_the_survivors_did_not_sign_is_refused(
    made: tuple[Path, Parties], tmp_path: Path
) -> None:
    """Even cosigned by all: the owners signed in the round who was in it."""
    run, people = made
    shutil.copytree(run, tmp_path / "run")

    def change(leaves: list[dict[str, dict[str, str]]]) -> None:
        del leaves[2]["inputs"]["owner-001"]
        del leaves[2]["signatures"]["owner-001"]

    forge(tmp_path / "run", people, change)
    with pytest.raises(CryptoError):
        check_contribution(proof_of(tmp_path / "run", "owner-001", 0), people.pins())


def test_a_pinned_stranger_refutes_the_proof(made: tuple[Path, Parties]) -> None:
    run, people = made
    stranger = IdentityKey.generate(SecureRandom()).public
    pins = people.pins().put("owner-004", stranger, replace=True)
    with pytest.raises(StepFailedError, match="owner-004 has the key"):
        check_contribution(proof_of(run, "owner-001", 0), pins)


def test_the_commands_write_and_check_a_proof(
    made: tuple[Path, Parties], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, people = made
    out, registry = tmp_path / "p.tlog-proof", tmp_path / "registry.json"
    write_registry(registry, people.pins())
    wanted = ["--owner", DROPPED, "--round", "1", "--out", str(out)]
    assert run_cli(["audit", "prove", str(run), *wanted]) == 0
    assert f"{DROPPED} is NOT in train round 1" in capsys.readouterr().out
    assert run_cli(["audit", "prove", str(run), *wanted]) == 2  # it exists
    assert "exists" in capsys.readouterr().err
    options = ["--registry", str(registry), "--json"]
    assert run_cli(["audit", "check-proof", str(out), *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["included"] is False
    assert shown["identities_pinned"] is True
    out.write_bytes(out.read_bytes()[:-9] + b"AAAAAAAA\n")
    assert run_cli(["audit", "check-proof", str(out), *options]) == 6
    assert run_cli(["audit", "check-proof", str(tmp_path / "absent")]) == 2
    assert run_cli(["audit", "verify", str(run), "--registry", str(tmp_path / "absent")]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith(("error: ", "hint: ")) for line in lines)


def test_the_command_prunes_and_says_what_is_left(
    made: tuple[Path, Parties], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0], tmp_path / "run")
    assert run_cli(["audit", "prune", str(tmp_path / "run")]) == 0
    assert "removed" in capsys.readouterr().err
    assert run_cli(["audit", "verify", str(tmp_path / "run")]) == 0
    assert "vectors were pruned" in capsys.readouterr().out
    assert run_cli(["audit", "prune", str(tmp_path)]) == 6
