"""Prediction of split ground: the recipient gets the sum, owners give no part alone."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from feddiff_crypto.errors import RosterError
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.data.scene import Dataset
from feddiff_secure.errors import DataError, ProtocolAbortedError, UsageError
from feddiff_secure.federation.examples import describe, predicted_labels
from feddiff_secure.federation.fused_prediction import Fusion, fused_maps
from feddiff_secure.federation.prediction_plan import PredictionPlan, score_scale
from feddiff_secure.federation.prediction_round import _sum, predict_together
from feddiff_secure.federation.progress import Silent
from scripts.make_tiny_table import tiny_table
from tests.support.fused import CLASSES, FusedParties, small_model

TWO = {"ann": "hsi", "bob": "lidar"}
FIVE = {"ann": "hsi", "bob": "lidar", "cat": "hsi", "dan": "hsi", "eve": "lidar"}


def predict(parties: FusedParties) -> np.ndarray:
    predict_together(parties.exchange, parties.registry, parties.plan, Silent())
    return parties.nodes[parties.plan.recipient].labels()


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
@pytest.mark.parametrize(
    ("holds", "recipient", "consents"),
    [
        (TWO, "zoe", ()),
        (TWO, "ann", ("bob",)),
        (FIVE, "zoe", ()),
        (FIVE, "bob", ("ann", "cat", "dan")),
    ],
)
def test_the_recipient_gets_the_labels_of_the_summed_scores(
    aggregation: str, holds: dict[str, str], recipient: str, consents: tuple[str, ...]
) -> None:
    parties = FusedParties.of(
        holds, recipient, consents=consents, aggregation=aggregation, batch=70
    )
    labels = predict(parties)
    total = sum(parties.given(name) for name in holds)
    assert np.array_equal(labels[1:], total.argmax(axis=1)[1:] + 1)
    fused = np.concatenate([parties.nodes[recipient].fused[i] for i in range(parties.plan.batches)])
    assert np.array_equal(fused, total)
    assert all(not node.fused for name, node in parties.nodes.items() if name != recipient)


def test_a_pixel_with_one_contributor_is_left_out_by_its_owner() -> None:
    parties = FusedParties.of(TWO, "zoe")
    predict(parties)
    assert (parties.nodes["zoe"].fused[0][0] == 0).all()
    assert parties.scores["ann"][0].any()
    assert parties.nodes["ann"].disclosed == parties.plan.pixels - 1
    assert parties.nodes["zoe"].disclosed == 0


def test_an_owner_refuses_a_recipient_that_could_subtract_its_own_part() -> None:
    assert FusedParties.of(TWO, "ann").offer() == {"ann": "ok", "bob": "consent_refused"}
    consenting = FusedParties.of(TWO, "ann", consents=("bob",))
    assert consenting.offer() == {"ann": "ok", "bob": "ok"}
    # A consent to one recipient is none to another.
    assert FusedParties.of(TWO, "ann", consents=("bob",)).offer(recipient="bob") == {
        "ann": "consent_refused", "bob": "ok",
    }  # fmt: skip
    five = FusedParties.of(FIVE, "bob", consents=("ann",)).offer()
    assert {name for name, reply in five.items() if reply == "consent_refused"} == {"cat", "dan"}
    parties = FusedParties.of(TWO, "ann")
    with pytest.raises(ProtocolAbortedError, match="consent_refused"):
        predict(parties)
    assert not parties.exchange.replies("scores")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "0" * 64}, "model_refused"),
        ({"classes": 4}, "model_refused"),
        ({"scale": 1.0}, "plan_refused"),
        ({"aggregation": "plain"}, "plan_refused"),
        ({"key_agreement": "rot13"}, "plan_refused"),
        ({"owners": ("ann", "bob", "cat"), "holds": ("hsi", "lidar", "hsi")}, "roster_refused"),
        ({"holds": ("hsi",)}, "plan_refused"),
        ({"batch": 1 << 22}, "plan_refused"),
        ({"pixels": 100}, "pixels_refused"),
        ({"recipient": "bob"}, "roster_refused"),
        ({"recipient": "a b"}, "plan_refused"),
    ],
)
def test_an_owner_refuses_a_prediction_that_it_did_not_compute(
    change: dict[str, object], code: str
) -> None:
    assert FusedParties.of(TWO, "zoe").offer(**change)["ann"] == code


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_a_prediction_of_a_hybrid_run_is_summed_under_mlkem_too(aggregation: str) -> None:
    hybrid = {"kem_mask_key", "kem_sealing_key"}
    for agreement in ("x25519", "hybrid"):
        parties = FusedParties.of(TWO, "zoe", aggregation=aggregation, key_agreement=agreement)
        labels = predict(parties)
        total = parties.given("ann") + parties.given("bob")
        assert np.array_equal(labels[1:], total.argmax(axis=1)[1:] + 1)
        adverts = parties.exchange.replies("advertise")
        assert len(adverts) == 3
        for sent in adverts:
            assert hybrid & set(sent.reply) == (hybrid if agreement == "hybrid" else set())


def test_the_coordinator_of_a_prediction_cannot_fall_back_to_x25519_alone() -> None:
    parties = FusedParties.of(TWO, "zoe", key_agreement="hybrid")
    assert set(parties.offer().values()) == {"ok"}
    weaker = replace(parties.plan, key_agreement="x25519")
    with pytest.raises(RosterError, match="keys for hybrid, the plan says x25519"):
        _sum(parties.exchange, parties.registry, weaker, 0)
    assert not parties.exchange.replies("mask")


def test_a_party_without_mlkem_refuses_a_hybrid_prediction_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parties = FusedParties.of(TWO, "zoe", key_agreement="hybrid")
    monkeypatch.setitem(sys.modules, mlkem.__name__, None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mlkem")
    assert set(parties.offer().values()) == {"HybridUnavailableError"}
    assert set(FusedParties.of(TWO, "zoe").offer().values()) == {"ok"}


def test_sums_are_answered_once_and_in_order() -> None:
    parties = FusedParties.of(TWO, "zoe", batch=100)
    ann = parties.nodes["ann"]
    assert ann.handle("scores", {"number": 0}) == {"refused": "no_plan"}
    parties.offer()
    assert ann.handle("plan", {}) == {"refused": "unknown_phase"}
    assert ann.handle("scores", {"number": 1}) == {"refused": "attempt_refused"}
    assert ann.handle("advertise", {}) == {"refused": "out_of_order"}
    assert ann.handle("scores", {"number": 0}) == {"ready": True}
    assert ann.handle("scores", {"number": 0}) == {"refused": "attempt_refused"}
    assert ann.handle("fused", {"vector": np.zeros(300, np.uint32)}) == {"refused": "out_of_order"}
    assert "mask_key" in ann.handle("advertise", {})
    assert ann.handle("advertise", {}) == {"refused": "out_of_order"}
    assert ann.handle("scores", {"number": 1}) == {"ready": True}
    assert ann.handle("scores", {"number": 2}) == {"refused": "attempt_refused"}
    assert parties.offer()["ann"] == "plan_already_accepted"


def test_only_canonical_plans_are_read() -> None:
    plan = FusedParties.of(TWO, "zoe").plan
    data = plan.to_json()
    assert PredictionPlan.from_json(data) == plan
    for bad in (data + b" ", b"{}", b"[]", data.replace(b'"pixels":200', b'"pixels":200.5')):
        with pytest.raises(ValueError, match=r"prediction plan|Extra"):
            PredictionPlan.from_json(bad)
    fields = json.loads(data)
    fields["more"] = 1
    with pytest.raises(ValueError, match="fields differ"):
        PredictionPlan.from_json(json.dumps(fields).encode())


@pytest.mark.parametrize("parties", [2, 100])
@pytest.mark.parametrize("size", [0.0, 1e-9, 1.0, 1e6])
def test_no_sum_of_scores_leaves_the_ring(parties: int, size: float) -> None:
    weights = np.full((CLASSES, 50), size)
    scale = score_scale(weights, parties)
    largest = float(np.linalg.norm(weights[0]))
    assert 2 * largest * scale + parties < 2**31
    assert scale * max(largest, 1e-6) > 2**28  # and it is no coarser than needed


def test_a_simulated_prediction_equals_the_model_applied_to_both_modalities() -> None:
    model = small_model(3)
    data = tiny_table(pixels=60, bands=8, seed=4)
    tiles = cut_tiles(data, 1)
    described = describe(model.features, tiles, Silent())
    expected = predicted_labels(model.features, model.weights, described)[0].ravel()
    for holds in (TWO, FIVE):
        fusion = Fusion(holds=holds, recipient="zoe", consents=())
        assert np.array_equal(fused_maps(model, tiles, fusion, Silent())[0], expected)


def test_names_and_data_that_do_not_fit_are_refused_in_words() -> None:
    model = small_model()
    table = tiny_table(pixels=60, bands=8, seed=4).table
    assert table is not None
    tiles = cut_tiles(Dataset(table=table), 1)
    with pytest.raises(UsageError, match="those of bob"):
        fused_maps(model, tiles, Fusion(holds=TWO, recipient="ann", consents=()), Silent())
    with pytest.raises(UsageError, match="'max' is no owner"):
        fused_maps(model, tiles, Fusion(holds=TWO, recipient="zoe", consents=("max",)), Silent())
    alone = tiles.with_modalities(["hsi"])
    with pytest.raises(DataError, match="two contributors"):
        fused_maps(model, alone, Fusion(holds=TWO, recipient="zoe", consents=()), Silent())
