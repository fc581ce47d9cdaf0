"""Runs of every mode leave transcripts that verify; verdicts say what was not recomputed."""

from __future__ import annotations

import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_secure.audit.verify import verify_run
from feddiff_secure.errors import ProtocolAbortedError
from feddiff_secure.federation.local_model import LocalModel
from tests.support.forgery import forge, history_of, leaves_of
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import begin, finished_run, parties, rounds_of, small_config

FOUR: dict[str, Any] = {"owners": 4, "dropouts": 1, "colluders": 1, "nominal_tiles": 120}
PARTLY = "not recomputed"


@pytest.fixture(autouse=True)
def _memoised(monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)


def statuses(directory: Path, **options: Any) -> list[str]:
    verdict = verify_run(directory, **options)
    assert verdict.verified, verdict.to_lines()
    return [step.status.value for step in verdict.steps]


@pytest.mark.parametrize(
    ("options", "partly"),
    [
        ({"epsilon": 8.0, "nominal_tiles": None}, []),  # tiles are counted first
        ({"aggregation": "encrypted"}, [3, 4]),
        ({"aggregation": "encrypted", "custodian": True}, [3, 4]),
        ({"aggregation": "plain"}, [3, 4]),
        ({"key_agreement": "hybrid"}, []),
        ({"ring_bits": 64}, []),
        ({}, []),
        ({"epsilon": 8.0, "nominal_tiles": None, "centring": True}, []),
        ({"aggregation": "encrypted", "centring": True}, [3, 4]),
    ],
    ids=[
        "masked",
        "encrypted",
        "custodian",
        "plain",
        "hybrid",
        "ring of 64 bits",
        "baseline",
        "masked with a mean",
        "encrypted with a mean",
    ],
)
def test_a_run_verifies(options: dict[str, Any], partly: list[int], tmp_path: Path) -> None:
    # Without noise, so that seconds of accounting do not repeat, but for the first.
    config = small_config(**{"epsilon": math.inf, "nominal_tiles": 90, **options})
    people = finished_run(tmp_path / "run", config)
    found = statuses(tmp_path / "run", pins=people.pins())
    assert [n for n, status in enumerate(found, start=1) if status == PARTLY] == partly
    notes = verify_run(tmp_path / "run", pins=people.pins()).notes
    assert len(notes) == bool(partly)
    assert all("not recomputed" in note for note in notes)


@pytest.mark.parametrize("agreement", ["x25519", "hybrid"])
@pytest.mark.parametrize("dropped", ["owner-001", "owner-004"])
def test_a_round_with_a_dropout_is_recomputed_from_the_opened_mask_key(
    agreement: str, dropped: str, tmp_path: Path
) -> None:
    config = small_config(**FOUR, key_agreement=agreement)
    finished_run(tmp_path / "run", config, lost=[("mask", dropped, 1)])
    assert statuses(tmp_path / "run") == ["ok"] * 8
    survivors = [leaf.survivors for leaf in history_of(tmp_path / "run").rounds]
    assert [len(s) for s in survivors] == [4, 3, 4]
    assert dropped not in survivors[1]


def test_an_owner_that_misses_a_checkpoint_catches_up(tmp_path: Path) -> None:
    """Its cosignature is lost on the way; the next one starts from what it had cosigned."""
    lost = [("witness", "owner-002", 4)]
    people = finished_run(tmp_path / "run", small_config(**FOUR), lost=lost)
    assert statuses(tmp_path / "run", pins=people.pins()) == ["ok"] * 8
    assert history_of(tmp_path / "run").least_cosigners == 3


def test_too_few_cosignatures_end_the_run(tmp_path: Path) -> None:
    lost = [("witness", "owner-001", 2), ("witness", "owner-002", 2)]
    with pytest.raises(ProtocolAbortedError, match="2 cosignatures, fewer than 3"):
        finished_run(tmp_path / "run", small_config(**FOUR), lost=lost)


def test_an_aborted_attempt_is_in_the_log_and_the_run_does_not_verify(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lost = [("consistency", f"owner-00{i}", 1) for i in (1, 2)]
    with ExitStack() as stack:
        people = parties(run, stack, small_config(**FOUR), lost=lost)
        with pytest.raises(ProtocolAbortedError, match="round 1"):
            rounds_of(people, begin(run, people))
    last = leaves_of(run)[-1]
    assert (last["kind"], last["round"], last["reason"]) == ("abort/1", 1, "ThresholdError")
    assert sorted(last["inputs"]) == list(people.plan.owners)
    failed = verify_run(run).failed
    assert failed is not None
    assert failed.number == 2
    assert "did not finish" in failed.detail


def test_ledgers_elsewhere_are_compared_where_they_are_given(tmp_path: Path) -> None:
    config = small_config(**FOUR, ledger=str(tmp_path / "books"))
    people = finished_run(tmp_path / "run", config, ledgers=tmp_path / "books")
    unseen = verify_run(tmp_path / "run", pins=people.pins())
    assert unseen.verified
    assert unseen.steps[5].status.value == PARTLY
    assert "no ledger was shown" in unseen.notes[0]
    shutil.copytree(tmp_path / "run", tmp_path / "forged")
    forge(tmp_path / "forged", people, _head)
    forged = verify_run(tmp_path / "forged").failed  # the owner did not sign that head
    assert forged is not None
    assert forged.number == 6
    seen = verify_run(tmp_path / "run", pins=people.pins(), ledgers=tmp_path / "books")
    assert seen.steps[5].detail == "4 heads signed, 4 ledgers shown"
    book = tmp_path / "books" / "owner-001.default.jsonl"
    book.write_bytes(b"".join(book.read_bytes().splitlines(keepends=True)[:-1]))
    failed = verify_run(tmp_path / "run", ledgers=tmp_path / "books").failed
    assert failed is not None
    assert failed.number == 6


def _head(leaves: list[dict[str, Any]]) -> None:
    leaves[-2]["owners"]["owner-001"]["head"] = "4" * 64


def test_with_colluders_half_of_the_cosignatures_are_too_few(tmp_path: Path) -> None:
    """Five owners, c = 1: two histories can have three cosignatures each, so four are needed."""
    config = small_config(owners=5, colluders=1, nominal_tiles=150, epsilon=math.inf)
    people = finished_run(tmp_path / "run", config)
    forge(tmp_path / "run", people, cosigners=people.plan.owners[:4])
    assert verify_run(tmp_path / "run").verified
    forge(tmp_path / "run", people, cosigners=people.plan.owners[:3])
    failed = verify_run(tmp_path / "run").failed
    assert failed is not None
    assert failed.number == 2
    assert "3 cosignatures, fewer than 4" in failed.detail


def test_a_coordinator_that_moves_the_model_otherwise_than_by_the_sums_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All owners are shown one model and sign for it; it is just not the one that was agreed on."""

    class Biased(LocalModel):
        def query_for(self, phase: str) -> NDArray[np.float64]:
            shown = super().query_for(phase)
            return shown + 1e-9 if shown.any() else shown

    monkeypatch.setattr("feddiff_secure.federation.run_state.LocalModel", Biased)
    people = finished_run(tmp_path / "run", small_config(**FOUR))
    failed = verify_run(tmp_path / "run", pins=people.pins()).failed
    assert failed is not None
    assert failed.number == 4
    assert "train round 1 was computed on model" in failed.detail


def _sum_signature(leaves: list[dict[str, Any]]) -> None:
    signatures = leaves[2]["sum_signatures"]
    signatures["owner-001"] = signatures["owner-002"]


def _sum(leaves: list[dict[str, Any]]) -> None:
    leaves[2]["aggregate"] = "5" * 64


def _model(leaves: list[dict[str, Any]]) -> None:
    leaves[-2]["owners"]["owner-001"]["model"] = "6" * 64


@pytest.mark.parametrize(("change", "step"), [(_sum_signature, 3), (_sum, 3), (_model, 4)])
def test_what_owners_signed_in_an_encrypted_run_cannot_be_changed(
    change: Any, step: int, tmp_path: Path
) -> None:
    config = small_config(aggregation="encrypted", nominal_tiles=90, epsilon=math.inf)
    people = finished_run(tmp_path / "run", config)
    forge(tmp_path / "run", people, change)
    failed = verify_run(tmp_path / "run").failed
    assert failed is not None
    assert failed.number == step, failed.detail
