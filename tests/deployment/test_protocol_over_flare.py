"""The protocol's own tests, with every owner at a FLARE site: mutual TLS on loopback.

These are the functions of the suites that run in one process, unchanged; here `_carried` puts FLARE
under them. Tests that look into an owner's memory stay with the in-process transport.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feddiff_secure.test_encrypted_round import (
    test_a_custodian_answers_each_attempt_once_and_in_order,
    test_a_decrypt_request_is_answered_once,
    test_a_plan_with_a_custodian_that_is_not_pinned_is_refused,
    test_a_whole_run_leaves_all_owners_with_one_model_and_the_coordinator_with_none,
    test_all_that_leaves_an_owner_in_encrypted_mode_is_what_the_protocol_names,
    test_every_encrypted_attempt_is_charged_before_its_ciphertext_leaves,
)
from tests.feddiff_secure.test_round import (
    test_an_attempt_is_answered_once,
    test_every_attempt_is_charged_by_each_owner_before_its_vector_leaves,
    test_owners_shown_different_models_abort_instead_of_adding_up,
    test_what_leaves_an_owner_has_no_count_loss_or_error_text,
)
from tests.support.federations import Federation, plan_for
from tests.support.flare_bench import FlareBench
from tests.support.memoised import memoise_accounting
from tests.support.transcripts import finished_run, small_config
from tests.transcript.test_modes_of_transcripts import (
    test_a_round_with_a_dropout_is_recomputed_from_the_opened_mask_key,
    test_a_run_verifies,
    test_an_aborted_attempt_is_in_the_log_and_the_run_does_not_verify,
    test_an_owner_that_misses_a_checkpoint_catches_up,
    test_too_few_cosignatures_end_the_run,
)

pytestmark = pytest.mark.slow
SAME = (
    test_a_custodian_answers_each_attempt_once_and_in_order,
    test_a_decrypt_request_is_answered_once,
    test_a_plan_with_a_custodian_that_is_not_pinned_is_refused,
    test_a_round_with_a_dropout_is_recomputed_from_the_opened_mask_key,
    test_a_run_verifies,
    test_a_whole_run_leaves_all_owners_with_one_model_and_the_coordinator_with_none,
    test_all_that_leaves_an_owner_in_encrypted_mode_is_what_the_protocol_names,
    test_an_aborted_attempt_is_in_the_log_and_the_run_does_not_verify,
    test_an_attempt_is_answered_once,
    test_an_owner_that_misses_a_checkpoint_catches_up,
    test_every_attempt_is_charged_by_each_owner_before_its_vector_leaves,
    test_every_encrypted_attempt_is_charged_before_its_ciphertext_leaves,
    test_owners_shown_different_models_abort_instead_of_adding_up,
    test_too_few_cosignatures_end_the_run,
    test_what_leaves_an_owner_has_no_count_loss_or_error_text,
)
"""Imported to be collected here a second time."""


@pytest.fixture(scope="module")
def bench() -> Iterator[FlareBench]:
    with FlareBench.running() as bench:
        yield bench


@pytest.fixture(autouse=True)
def _carried(bench: FlareBench, monkeypatch: pytest.MonkeyPatch) -> None:
    memoise_accounting(monkeypatch)
    bench.carry(monkeypatch)


@pytest.mark.parametrize("centring", [False, True])
def test_the_model_is_that_of_one_process_bit_for_bit(
    centring: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(epsilon=math.inf, nominal_tiles=90, centring=centring)
    finished_run(tmp_path / "flare", config)
    monkeypatch.undo()  # from here on in this process
    finished_run(tmp_path / "here", config)
    models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("flare", "here")]
    assert models[0] == models[1]


def test_an_old_message_is_refused_and_changes_nothing(bench: FlareBench) -> None:
    """What a frozen site finds in its queue is older than what it has answered since."""
    federation = Federation.of(plan_for(small_config(epsilon=math.inf, nominal_tiles=90), 3))
    federation.agree()
    bench.renumber(-2)
    assert bench.ask("owner-001", "ready", {}) == {"refused": "stale"}
    bench.renumber(1)
    assert bench.ask("owner-001", "ready", {}) == {"ready": True}


def test_an_error_at_a_site_comes_back_as_a_fixed_code_and_the_site_goes_on(
    bench: FlareBench,
) -> None:
    assert bench.ask("owner-001", "test_raise", {}) == {"refused": "site_failed"}
    assert bench.ask("owner-001", "test_close", {}) == {"closed": True}
