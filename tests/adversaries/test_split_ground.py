"""Split ground, read by its adversaries: all that leaves an owner, and what colluders have.

The claims are the rows of docs/topologies.md. Runs without noise are the hardest case: there is
nothing but the masks between an owner's values and the reader.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import feddiff_secure.federation.owner as owner_module
import feddiff_secure.federation.training as training_module
from feddiff_privacy.clipping import TileExamples, clipped_sum
from feddiff_secure.aggregation.contribution import Contribution, contribution
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prediction_round import predict_together
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.round import secure_sum
from feddiff_secure.federation.training import train
from feddiff_secure.transport.exchange import Message
from tests.support.federations import Federation
from tests.support.fused import FusedParties
from tests.support.topologies import CLASSES, HSI, WIDTH, holder_examples, topology_plan
from tests.support.uniformity import correlation, is_uniform

TWO = {"ann": "hsi", "bob": "lidar"}
LEAVES: dict[str, set[str]] = {
    "plan": {"accepted"},
    "prediction": {"accepted"},
    "ready": {"ready"},
    "train": {"ready"},
    "scores": {"ready"},
    "advertise": {
        "kind", "context", "party", "mask_key", "sealing_key", "secret_commitment", "signature",
    },
    "share": {"kind", "context", "party", "recipients", "sealed"},
    "mask": {"kind", "context", "party", "vector"},
    "consistency": {"kind", "context", "party", "signature"},
    "unmask": {
        "kind", "context", "party", "survivors", "self_shares", "dropped", "key_shares",
    },
    "fused": {"received"},
    "roster": {"signature"},
    "witness": {"key_id", "signature"},
    "end": {"entries", "head", "model", "signature"},
}  # fmt: skip
"""What may leave an owner, by phase: none of these fields but `vector` is as long as the data."""


def split(epsilon: float) -> tuple[Plan, Federation, list[TileExamples]]:
    config = RunConfig(topology="split", epsilon=epsilon, nominal_tiles=48, rounds=3)
    plan = topology_plan(config, 2)
    held = [holder_examples("hsi", 1, tiles=24), holder_examples("lidar", 2, tiles=24)]
    return plan, Federation.of(plan, held), held


def run(plan: Plan, federation: Federation) -> NDArray[np.float64]:
    trained = train(
        federation.exchange,
        federation.registry,
        plan,
        check_count=lambda _tiles: None,
        log=lambda _line: None,
        progress=Silent(),
        transcript=federation.transcription(),
    )
    return trained.weights


def vectors(messages: list[Message]) -> list[NDArray[np.uint32]]:
    found = []
    for message in messages:
        vector = message["vector"]
        assert isinstance(vector, np.ndarray)
        found.append(vector)
    return found


def test_every_message_of_a_split_run_is_uniform_or_a_key_a_share_or_a_signature() -> None:
    plan, federation, held = split(math.inf)
    weights = run(plan, federation)
    predicting = {"prediction", "scores", "fused"}
    assert {sent.phase for sent in federation.exchange.sent} == set(LEAVES) - predicting
    for sent in federation.exchange.sent:
        assert set(sent.reply) == LEAVES[sent.phase], sent.phase
        for name, value in sent.reply.items():
            size = value.size if isinstance(value, np.ndarray) else len(str(value))
            assert name == "vector" or size < 400, name
    masked = vectors([sent.reply for sent in federation.exchange.replies("mask")])
    assert len(masked) == 2 * plan.rounds
    assert is_uniform(masked)
    assert not is_uniform([np.zeros(WIDTH, np.uint32), masked[0]])  # the measure can fail
    # Nor does a masked vector go with the owner's gradient, which is in it without any noise.
    first = np.zeros((CLASSES, WIDTH))
    for sent, examples in zip(federation.exchange.replies("mask")[:2], held, strict=True):
        gradient = clipped_sum(examples, first, plan.clip, np.ones(examples.tiles, bool)).ravel()
        assert correlation(vectors([sent.reply])[0], gradient) < 5
    # The one agreed output moves the columns of both owners.
    assert np.abs(weights[:, :HSI]).max() > 0
    assert np.abs(weights[:, HSI:]).max() > 0


@pytest.mark.parametrize("epsilon", [8.0, 1.0])
def test_coordinator_and_one_owner_have_the_others_noised_update_and_no_more(
    monkeypatch: pytest.MonkeyPatch, epsilon: float
) -> None:
    """The sum less one's own vector: the other's gradient under its own full noise."""
    plan, federation, held = split(epsilon)
    made: list[NDArray[np.uint32]] = []

    def recorded(*args: Any, **kwargs: Any) -> Contribution:
        result = contribution(*args, **kwargs)
        made.append(result.vector.astype(np.uint32))
        return result

    totals: list[NDArray[np.int64]] = []  # what the coordinator has at the end of a round

    def summed(*args: Any, **kwargs: Any) -> NDArray[np.int64]:
        totals.append(secure_sum(*args, **kwargs))
        return totals[-1]

    monkeypatch.setattr(owner_module, "contribution", recorded)
    monkeypatch.setattr(training_module, "secure_sum", summed)
    run(plan, federation)
    queries = [sent.request["weights"] for sent in federation.exchange.replies("train")[::2]]
    sigma = plan.noise_multiplier * plan.train_grid.sensitivity
    for number, weights in enumerate(queries):
        assert isinstance(weights, np.ndarray)
        bob = made[2 * number + 1].astype(np.int32)
        theirs = (totals[number] - bob).astype(np.float64).reshape(CLASSES, WIDTH)
        exact = clipped_sum(held[0], weights, plan.clip, np.ones(held[0].tiles, bool)) * plan.scale
        assert (theirs[:, HSI:] == 0).all()  # nothing of LiDAR's columns is ann's
        noise = (theirs - exact)[:, :HSI]
        assert np.std(noise) == pytest.approx(sigma, rel=0.12)  # 1,800 draws
        assert np.abs(np.corrcoef(noise.ravel(), exact[:, :HSI].ravel())[0, 1]) < 5 / math.sqrt(
            noise.size
        )


@pytest.mark.parametrize("recipient", ["zoe", "ann"])
def test_every_message_of_a_prediction_is_uniform_and_so_is_the_sum_the_coordinator_sees(
    recipient: str,
) -> None:
    parties = FusedParties.of(TWO, recipient, consents=("bob",), pixels=3000, batch=1000)
    predict_together(parties.exchange, parties.registry, parties.plan, Silent())
    for sent in parties.exchange.sent:
        assert set(sent.reply) == LEAVES[sent.phase], sent.phase
    masked = [sent for sent in parties.exchange.sent if sent.phase == "mask"]
    assert is_uniform(vectors([sent.reply for sent in masked]))
    for name in TWO:
        own = np.concatenate(vectors([s.reply for s in masked if s.party == name]))
        assert correlation(own, parties.given(name).ravel()) < 5
    unmasked = vectors([s.request for s in parties.exchange.sent if s.phase == "fused"])
    total = np.concatenate(unmasked)
    assert is_uniform(unmasked)
    fused = parties.given("ann") + parties.given("bob")
    assert correlation(total, fused.ravel()) < 5
    # Coordinator and an owner that is not the recipient: less bob's part it is as uniform.
    less_bob = total - parties.given("bob").ravel().astype(np.int64).astype(np.uint32)
    assert is_uniform([less_bob])
    assert correlation(less_bob, parties.given("ann").ravel()) < 5


def test_only_the_recipient_holds_the_fused_scores_and_colluding_with_a_contributor_has_the_other() -> (  # noqa: E501  # a claim in words
    None
):
    parties = FusedParties.of(TWO, "zoe")
    predict_together(parties.exchange, parties.registry, parties.plan, Silent())
    fused = parties.nodes["zoe"].fused[0]
    assert np.array_equal(fused - parties.given("bob"), parties.given("ann"))
    assert not parties.nodes["ann"].fused
    assert not parties.nodes["bob"].fused


def test_in_encrypted_mode_owners_decrypt_a_sum_that_is_uniform_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every owner holds the CKKS key; the recipient's pad is what keeps the sum from them."""
    from feddiff_secure.federation.protocol_walk import ProtocolWalk  # noqa: PLC0415

    opened: list[NDArray[np.uint32]] = []
    decrypt = ProtocolWalk.decrypt

    def recorded(walk: ProtocolWalk, message: Message) -> Any:
        total, reply = decrypt(walk, message)
        opened.append(total.astype(np.uint32))
        return total, reply

    monkeypatch.setattr(ProtocolWalk, "decrypt", recorded)
    parties = FusedParties.of(TWO, "zoe", pixels=3000, aggregation="encrypted")
    predict_together(parties.exchange, parties.registry, parties.plan, Silent())
    assert len(opened) == 3
    assert is_uniform(opened[:1])
    fused = parties.given("ann") + parties.given("bob")
    assert correlation(opened[0], fused.ravel()) < 5
    assert np.array_equal(parties.nodes["zoe"].fused[0], fused)
