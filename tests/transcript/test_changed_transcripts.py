"""Every change that somebody would make on purpose fails, and at the step that it concerns."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from feddiff_crypto.attest.statement import AUDIT_PREDICATE, Statement
from feddiff_crypto.jcs import jcs
from feddiff_crypto.keys import IdentityKey
from feddiff_crypto.masking.messages import MaskedInput
from feddiff_crypto.randomness import SecureRandom
from feddiff_crypto.tlog.cosignature import cosign
from feddiff_privacy.ledger.ledger import Ledger
from feddiff_secure.audit.pruned import prune, pruned_bytes
from feddiff_secure.audit.verify import verify_run
from feddiff_secure.config.load import dump_config
from feddiff_secure.model.weights_file import file_bytes
from feddiff_secure.transcript.attestation import subjects
from feddiff_secure.transcript.digests import message_digest
from tests.support.forgery import (
    NOW,
    attest,
    forge,
    history_of,
    leaves_of,
    notes_of,
    put_notes,
    write_leaves,
)
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import DESCRIPTION, Parties, finished_run, small_config

Change = Callable[[Path, Parties], None]
CHANGES: dict[str, tuple[int, Change]] = {}


def fails_at(step: int) -> Callable[[Change], Change]:
    def note(change: Change) -> Change:
        CHANGES[change.__name__] = (step, change)
        return change

    return note


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Parties]:
    """Four owners, one tolerated dropout, one colluder: quorum 3 of 4."""
    directory = tmp_path_factory.mktemp("original") / "run"
    config = small_config(owners=4, dropouts=1, colluders=1, nominal_tiles=120)
    lost = [("mask", "owner-003", 1)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        memoise_accounting(monkeypatch)
        return directory, finished_run(directory, config, lost=lost)


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


@pytest.fixture
def copy(original: tuple[Path, Parties], tmp_path: Path) -> tuple[Path, Parties]:
    shutil.copytree(original[0], tmp_path / "run")
    return tmp_path / "run", original[1]


def test_the_unchanged_run_verifies(copy: tuple[Path, Parties]) -> None:
    verdict = verify_run(copy[0], pins=copy[1].pins())
    assert [step.status.value for step in verdict.steps] == ["ok"] * 8
    assert verdict.notes == []


def test_a_forger_with_every_key_who_changes_nothing_verifies(copy: tuple[Path, Parties]) -> None:
    """The helper of the tests below makes whole transcripts; else they would prove nothing."""
    forge(*copy)
    assert verify_run(copy[0], pins=copy[1].pins()).verified


# 1: signatures and roster


@fails_at(1)
def config_is_edited(run: Path, people: Parties) -> None:
    path = run / "config.toml"
    path.write_text(path.read_text().replace("rounds = 3", "rounds = 4"))


@fails_at(1)
def config_is_edited_with_its_digest(run: Path, people: Parties) -> None:
    (run / "config.toml").write_text(dump_config(small_config(owners=4, epsilon=1.0)))


@fails_at(1)
def config_is_missing(run: Path, people: Parties) -> None:
    (run / "config.toml").unlink()


@fails_at(1)
def plan_in_the_log_is_changed_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[0]["plan"]["delta"] = 1e-6
        leaves[0]["plan_digest"] = hashlib.sha256(jcs(leaves[0]["plan"])).hexdigest()

    forge(run, people, change)


@fails_at(1)
def log_is_under_a_foreign_key(run: Path, people: Parties) -> None:
    foreign = IdentityKey.generate(SecureRandom())

    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[0]["log_key"] = foreign.public.raw.hex()

    forge(run, people, change, log_key=foreign)


@fails_at(1)
def an_owner_did_not_sign_the_plan(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        signatures = leaves[0]["signatures"]
        signatures["owner-001"] = signatures["owner-002"]

    forge(run, people, change)


@fails_at(1)
def an_identity_is_exchanged(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[0]["owners"]["owner-001"] = people.coordinator.public.raw.hex()

    forge(run, people, change)


@fails_at(1)
def the_log_is_missing(run: Path, people: Parties) -> None:
    (run / "transcript/leaves.jsonl").unlink()


# 2: log, checkpoints and witnesses


def _leaf_lines(run: Path, change: Callable[[list[bytes]], None]) -> None:
    path = run / "transcript/leaves.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


@fails_at(2)
def a_leaf_is_dropped(run: Path, people: Parties) -> None:
    _leaf_lines(run, lambda lines: lines.pop(3))


@fails_at(2)
def the_last_leaf_is_dropped(run: Path, people: Parties) -> None:
    _leaf_lines(run, lambda lines: lines.pop())


@fails_at(2)
def two_leaves_change_places(run: Path, people: Parties) -> None:
    _leaf_lines(run, lambda lines: lines.insert(2, lines.pop(3)))


@fails_at(2)
def a_leaf_is_there_twice(run: Path, people: Parties) -> None:
    _leaf_lines(run, lambda lines: lines.insert(3, lines[3]))


@fails_at(2)
def a_leaf_is_there_twice_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    forge(run, people, lambda leaves: leaves.insert(3, leaves[3]))


@fails_at(2)
def a_round_is_left_out_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    forge(run, people, lambda leaves: leaves.pop(4) and None)


@fails_at(2)
def a_leaf_of_an_unknown_kind_is_added(run: Path, people: Parties) -> None:
    forge(run, people, lambda leaves: leaves.insert(3, {"kind": "note/1"}))


@fails_at(2)
def a_leaf_is_cut_off(run: Path, people: Parties) -> None:
    path = run / "transcript/leaves.jsonl"
    path.write_bytes(path.read_bytes()[:-1])


@fails_at(2)
def the_hash_of_a_vector_is_altered(run: Path, people: Parties) -> None:
    leaves = leaves_of(run)
    leaves[2]["inputs"]["owner-001"] = "0" * 64
    write_leaves(run, leaves)


@fails_at(2)
def the_coordinator_shows_a_second_history(run: Path, people: Parties) -> None:
    """It signs other checkpoints over other leaves; no owner cosigns them."""
    forge(run, people, lambda leaves: leaves[2]["inputs"].popitem() and None, cosigners=())


@fails_at(2)
def a_second_history_has_the_cosignatures_of_its_colluders(run: Path, people: Parties) -> None:
    """c = 1 of them, and one more: two of the three that are needed."""

    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[2]["aggregate"] = "1" * 64

    forge(run, people, change, cosigners=("owner-001", "owner-002"))


@fails_at(2)
def cosignatures_of_a_checkpoint_are_removed(run: Path, people: Parties) -> None:
    notes = notes_of(run)
    notes[1] = type(notes[1])(notes[1].text, notes[1].signatures[:3])
    put_notes(run, notes)


@fails_at(2)
def two_checkpoints_change_places(run: Path, people: Parties) -> None:
    notes = notes_of(run)
    notes[1], notes[2] = notes[2], notes[1]
    put_notes(run, notes)


@fails_at(2)
def a_checkpoint_is_dropped(run: Path, people: Parties) -> None:
    put_notes(run, [note for i, note in enumerate(notes_of(run)) if i != 2])


@fails_at(2)
def the_last_checkpoint_is_dropped(run: Path, people: Parties) -> None:
    put_notes(run, notes_of(run)[:-1])


@fails_at(2)
def a_checkpoint_has_a_line_of_an_unknown_key(run: Path, people: Parties) -> None:
    notes, stranger = notes_of(run), IdentityKey.generate(SecureRandom())
    state = history_of(run).log.checkpoint(leaves_of(run)[0]["origin"])
    notes[-1] = notes[-1].with_signature(cosign(state, "passer-by", stranger, NOW))
    put_notes(run, notes)


@fails_at(2)
def the_checkpoints_are_missing(run: Path, people: Parties) -> None:
    (run / "transcript/checkpoints").unlink()


# 3: sums


def _in_vectors(run: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    with h5py.File(run / "transcript/vectors.h5", "r+") as file:
        values = file[f"train/0/0/{name}"][()]
        change(values)
        file[f"train/0/0/{name}"][...] = values


def _flip(values: np.ndarray) -> None:
    values.reshape(-1)[-1] ^= 1


@fails_at(3)
def a_stored_vector_is_altered(run: Path, people: Parties) -> None:
    _in_vectors(run, "vectors", _flip)


@fails_at(3)
def bytes_that_no_reader_of_hdf5_looks_at_are_added(run: Path, people: Parties) -> None:
    """Refused by the file's hash, before the library reads it."""
    with (run / "transcript/vectors.h5").open("ab") as file:
        file.write(b"hidden")


@fails_at(3)
def a_revealed_seed_is_altered(run: Path, people: Parties) -> None:
    _in_vectors(run, "opened", _flip)


@fails_at(3)
def a_stored_vector_is_altered_and_the_manifest_signed_anew(run: Path, people: Parties) -> None:
    _in_vectors(run, "vectors", _flip)
    forge(run, people)


@fails_at(3)
def a_revealed_seed_is_altered_and_the_manifest_signed_anew(run: Path, people: Parties) -> None:
    _in_vectors(run, "opened", _flip)
    forge(run, people)


@fails_at(3)
def a_vector_is_altered_with_its_hash_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    """Every owner's key was used; the sum still does not come out."""
    _in_vectors(run, "vectors", _flip)
    leaf = history_of_vectors(run)
    with h5py.File(run / "transcript/vectors.h5") as file:
        last = file["train/0/0/vectors"][-1]
    party = leaf.survivors[-1]
    digest = message_digest(MaskedInput(leaf.context, party, last).to_message())

    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[2]["inputs"][party] = digest.hex()

    forge(run, people, change)


def history_of_vectors(run: Path) -> Any:
    return history_of(run).rounds[0]


@fails_at(3)
def an_aggregate_is_altered_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[2]["aggregate"] = "1" * 64

    forge(run, people, change)


@fails_at(3)
def a_survivor_is_left_out_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    """What the survivors signed in the round does not go with it."""

    def change(leaves: list[dict[str, Any]]) -> None:
        del leaves[2]["inputs"]["owner-004"]
        del leaves[2]["signatures"]["owner-004"]

    forge(run, people, change)


@fails_at(3)
def a_dropped_owner_is_put_in_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[3]["inputs"]["owner-003"] = "2" * 64

    forge(run, people, change)


@fails_at(3)
def another_model_is_named_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[3]["model"] = "3" * 64

    forge(run, people, change)


@fails_at(3)
def two_rosters_change_places(run: Path, people: Parties) -> None:
    path = run / "transcript/rosters.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))


@fails_at(3)
def the_rosters_are_missing(run: Path, people: Parties) -> None:
    (run / "transcript/rosters.jsonl").unlink()


@fails_at(3)
def the_vectors_are_missing_without_a_record(run: Path, people: Parties) -> None:
    (run / "transcript/vectors.h5").unlink()


@fails_at(3)
def the_vectors_are_said_to_be_pruned_and_are_there(run: Path, people: Parties) -> None:
    digest = history_of(run).manifest.files["transcript/vectors.h5"]
    (run / "transcript/pruned.json").write_bytes(pruned_bytes(digest))


@fails_at(3)
def the_record_of_a_pruning_names_another_hash(run: Path, people: Parties) -> None:
    (run / "transcript/vectors.h5").unlink()
    (run / "transcript/pruned.json").write_bytes(pruned_bytes(bytes(32)))


@fails_at(3)
def a_vector_is_a_link_to_another_file_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    """To a file with the very same content; a verifier still does not follow it."""
    path, other = run / "transcript/vectors.h5", run.parent / "other.h5"
    shutil.copy(path, other)
    with h5py.File(path, "r+") as file:
        del file["train/0/0/vectors"]
        file["train/0/0/vectors"] = h5py.ExternalLink(str(other), "train/0/0/vectors")
    forge(run, people)


@fails_at(3)
def vectors_of_another_run_take_their_place(run: Path, people: Parties) -> None:
    config = small_config(owners=4, dropouts=1, colluders=1, nominal_tiles=120)
    finished_run(run.parent / "other", config)
    shutil.copy(run.parent / "other/transcript/vectors.h5", run / "transcript/vectors.h5")


# 4: model


def _other_model(run: Path) -> None:
    weights = {"weights.hsi": np.full((3, 8), 0.25)}
    (run / "model.safetensors").write_bytes(file_bytes(weights, DESCRIPTION))


@fails_at(4)
def the_model_is_replaced(run: Path, people: Parties) -> None:
    _other_model(run)


@fails_at(4)
def the_model_is_replaced_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    _other_model(run)
    forge(run, people)


@fails_at(4)
def the_model_is_missing(run: Path, people: Parties) -> None:
    (run / "model.safetensors").unlink()


@fails_at(4)
def a_class_of_the_model_is_renamed(run: Path, people: Parties) -> None:
    path = run / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"meadow", b"desert"))


@fails_at(4)
def the_model_is_a_link(run: Path, people: Parties) -> None:
    (run / "model.safetensors").rename(run.parent / "elsewhere")
    (run / "model.safetensors").symlink_to(run.parent / "elsewhere")


# 5: epsilon


def _statement(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = run / "privacy.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


@fails_at(5)
def epsilon_is_lowered(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s.update(epsilon=1.0))


@fails_at(5)
def epsilon_is_lowered_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s.update(epsilon=s["epsilon"] - 0.01))
    forge(run, people)


@fails_at(5)
def the_row_of_an_adversary_is_lowered(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s["adversaries"][4].update(epsilon=2.0))


@fails_at(5)
def the_row_of_an_adversary_is_left_out(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s["adversaries"].pop())


@fails_at(5)
def a_level_is_claimed_for_pixels(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s["levels"].update(pixel=1.0))


@fails_at(5)
def epsilon_is_a_number_that_no_double_holds(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s.update(epsilon=10**400))


@fails_at(6)
def lifetime_epsilon_is_a_number_that_no_double_holds(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s.update(lifetime_epsilon=10**400))


@fails_at(5)
def an_assumption_is_left_out(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s["assumptions"].pop(0))


@fails_at(5)
def fewer_releases_are_in_the_log_than_were_made(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[-3]["events"][0]["attempts"] = 2

    forge(run, people, change)


@fails_at(5)
def the_statement_is_missing(run: Path, people: Parties) -> None:
    (run / "privacy.json").unlink()


# 6: ledgers


def _ledger(run: Path, owner: str = "owner-002") -> Path:
    return run / "ledger" / f"{owner}.default.jsonl"


@fails_at(6)
def a_ledger_is_reset(run: Path, people: Parties) -> None:
    _ledger(run).unlink()
    with Ledger.open(
        _ledger(run),
        owner="owner-002",
        holding="default",
        lifetime_epsilon=None,
        delta=1e-4,
        tiles=bytes(32),
    ):
        pass


@fails_at(6)
def a_ledger_is_reset_and_all_is_signed_anew(run: Path, people: Parties) -> None:
    a_ledger_is_reset(run, people)
    forge(run, people)


@fails_at(6)
def a_ledger_loses_its_last_entry(run: Path, people: Parties) -> None:
    lines = _ledger(run).read_bytes().splitlines(keepends=True)
    _ledger(run).write_bytes(b"".join(lines[:-1]))


@fails_at(6)
def a_ledger_is_missing(run: Path, people: Parties) -> None:
    _ledger(run).unlink()


@fails_at(6)
def a_ledger_is_another_owners(run: Path, people: Parties) -> None:
    shutil.copy(_ledger(run, "owner-001"), _ledger(run))


@fails_at(6)
def a_signed_head_is_altered_and_the_log_signed_anew(run: Path, people: Parties) -> None:
    def change(leaves: list[dict[str, Any]]) -> None:
        leaves[-2]["owners"]["owner-001"]["head"] = "4" * 64

    forge(run, people, change)


@fails_at(6)
def lifetime_epsilon_is_lowered(run: Path, people: Parties) -> None:
    _statement(run, lambda s: s.update(lifetime_epsilon=1.0))


# 7: files


@fails_at(7)
def a_file_is_added(run: Path, people: Parties) -> None:
    (run / "notes.txt").write_text("all is well\n")


@fails_at(7)
def a_file_is_added_to_the_transcript(run: Path, people: Parties) -> None:
    (run / "transcript/leaves.jsonl.bak").write_text("{}\n")


@fails_at(7)
def a_hidden_file_is_added(run: Path, people: Parties) -> None:
    (run / ".htaccess").write_text("deny\n")


@fails_at(7)
def an_empty_folder_is_added(run: Path, people: Parties) -> None:
    (run / "maps").mkdir()


@fails_at(7)
def a_file_is_missing(run: Path, people: Parties) -> None:
    (run / "metrics.json").unlink()


@fails_at(7)
def a_file_is_a_link_to_the_same_bytes(run: Path, people: Parties) -> None:
    (run / "metrics.json").rename(run.parent / "metrics.json")
    (run / "metrics.json").symlink_to(run.parent / "metrics.json")


@fails_at(7)
def a_file_is_a_pipe(run: Path, people: Parties) -> None:
    (run / "metrics.json").unlink()
    os.mkfifo(run / "metrics.json")


@fails_at(7)
def the_metrics_are_improved(run: Path, people: Parties) -> None:
    (run / "metrics.json").write_text('{"oa": 0.99}\n')


@fails_at(7)
def the_text_of_the_statement_is_edited(run: Path, people: Parties) -> None:
    path = run / "privacy.md"
    path.write_text(path.read_text().replace("7.9", "0.9"))


# 8: attestation


@fails_at(8)
def the_attestation_is_missing(run: Path, people: Parties) -> None:
    (run / "attestation.json").unlink()


@fails_at(8)
def a_cosignature_beyond_the_quorum_is_removed(run: Path, people: Parties) -> None:
    notes = notes_of(run)
    notes[2] = type(notes[2])(notes[2].text, notes[2].signatures[:4])
    put_notes(run, notes)


@fails_at(8)
def the_attestation_is_signed_by_another_key(run: Path, people: Parties) -> None:
    attest(run, people, history_of(run).log, IdentityKey.generate(SecureRandom()))


@fails_at(8)
def the_attestation_is_of_another_kind(run: Path, people: Parties) -> None:
    (run / "attestation.json").unlink()
    statement = Statement(subjects(run), AUDIT_PREDICATE, {"verdict": "fine"})
    (run / "attestation.json").write_bytes(
        statement.sign({"coordinator": people.coordinator}).to_bytes()
    )


@fails_at(8)
def the_attestation_leaves_a_file_out(run: Path, people: Parties) -> None:
    metrics = (run / "metrics.json").read_bytes()
    (run / "metrics.json").unlink()
    attest(run, people, history_of(run).log, people.coordinator)
    (run / "metrics.json").write_bytes(metrics)


@pytest.mark.parametrize("name", CHANGES)
def test_a_designed_change_fails_at_its_step(name: str, copy: tuple[Path, Parties]) -> None:
    step, change = CHANGES[name]
    change(*copy)
    verdict = verify_run(copy[0], pins=copy[1].pins())
    failed = verdict.failed
    assert failed is not None, "it was not noticed"
    assert failed.number == step, failed.detail
    assert failed.detail
    assert all(later.status.value == "not run" for later in verdict.steps[step:])


@pytest.mark.parametrize("who", ["owner-002", "coordinator"])
def test_pinned_identities_are_compared(copy: tuple[Path, Parties], who: str) -> None:
    run, people = copy
    stranger = IdentityKey.generate(SecureRandom()).public
    for pins in (
        people.pins().put(who, stranger, replace=True),
        people.pins().revoke(who, "key was lost"),
    ):
        failed = verify_run(run, pins=pins).failed
        assert failed is not None
        assert failed.number == 1
        assert who in failed.detail


def test_without_pins_the_verdict_says_so(copy: tuple[Path, Parties]) -> None:
    verdict = verify_run(copy[0])
    assert verdict.verified
    assert "identities not pinned" in verdict.notes[0]


def test_a_pruned_run_verifies_and_says_what_it_cannot_recompute(
    copy: tuple[Path, Parties],
) -> None:
    run, people = copy
    assert prune(run, history_of(run).manifest)
    assert not prune(run, history_of(run).manifest)  # a second time there is nothing left
    assert not (run / "transcript/vectors.h5").exists()
    verdict = verify_run(run, pins=people.pins())
    assert verdict.verified
    assert [s.number for s in verdict.steps if s.status.value == "not recomputed"] == [3, 4]
    assert any("pruned" in note for note in verdict.notes)
    _other_model(run)
    failed = verify_run(run, pins=people.pins()).failed
    assert failed is not None
    assert failed.number == 7  # what cannot be derived is still hashed


def test_a_statement_of_another_version_is_compared_in_its_numbers(
    copy: tuple[Path, Parties],
) -> None:
    run, people = copy
    _statement(run, lambda s: s.update(code_version="9.9", assumptions=["none"]))
    forge(run, people)
    verdict = verify_run(run, pins=people.pins())
    assert verdict.verified
    assert "its words were not compared" in verdict.notes[0]
    epsilon_is_lowered_and_all_is_signed_anew(run, people)
    failed = verify_run(run, pins=people.pins()).failed
    assert failed is not None
    assert failed.number == 5


def test_a_changed_file_of_vectors_is_not_pruned(copy: tuple[Path, Parties]) -> None:
    a_stored_vector_is_altered(*copy)
    with pytest.raises(Exception, match="not the file that the log names"):
        prune(copy[0], history_of(copy[0]).manifest)
    assert (copy[0] / "transcript/vectors.h5").exists()
