"""Who can compute what in split, by computing it: coalitions with all that they see and hold.

The rows of docs/topologies.md name these tests. A coalition strips every mask it can; what is left
is either exactly what the row says, or uniform.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import feddiff_secure.federation.owner as owner_module
from feddiff_privacy.clipping import TileExamples, clipped_class_sum, clipped_sum
from feddiff_secure.aggregation.class_means import with_constants
from feddiff_secure.aggregation.contribution import Contribution, contribution
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.cut import cut_tiles
from feddiff_secure.federation.encrypted_training import train_encrypted
from feddiff_secure.federation.local_model import LocalModel, split_query
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.prediction_round import predict_together
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.step_size import update_rule
from feddiff_secure.federation.training import train
from scripts.make_tiny_table import tiny_table
from tests.support.coalition import Coalition, Ring
from tests.support.federations import Federation
from tests.support.fused import FusedParties, small_model
from tests.support.topologies import CLASSES, HSI, WIDTH, holder_examples, topology_plan
from tests.support.uniformity import correlation, is_uniform

A, B = "owner-001", "owner-002"  # of HSI, of LiDAR
TILES = 24
TWO = {"ann": "hsi", "bob": "lidar"}
FIVE = {"ann": "hsi", "bob": "lidar", "cat": "hsi", "dan": "hsi", "eve": "lidar"}


class Run:
    """A split run whose coordinator keeps its sums and whose vectors are seen from inside."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *holds: str,
        aggregation: str = "masked",
        nominal: int | None = 48,
        rounds: int = 2,
        means: bool = False,
    ) -> None:
        config = RunConfig(
            topology="split",
            epsilon=8.0,
            owners=len(holds),
            holds=",".join(holds),
            nominal_tiles=nominal,
            rounds=rounds,
            aggregation=aggregation,  # type: ignore[arg-type]  # one of the literals
        )
        self.plan: Plan = topology_plan(config, len(holds), means=means)
        self.held = [holder_examples(held, 1 + i, tiles=TILES) for i, held in enumerate(holds)]
        self.federation = Federation.of(self.plan, self.held)
        self.made: list[Ring] = []  # every owner's vector, in the order of the roster
        self.totals: list[NDArray[np.int64]] = []  # what is done with at the end of a round
        self.models: list[NDArray[np.float64]] = []  # as owners are shown, or hold them

        def recorded(*args: Any, **kwargs: Any) -> Contribution:
            result = contribution(*args, **kwargs)
            self.made.append(result.vector.astype(np.uint32))
            return result

        monkeypatch.setattr(owner_module, "contribution", recorded)

    def play(self, monkeypatch: pytest.MonkeyPatch) -> Run:
        """All rounds."""
        parties = (self.federation.exchange, self.federation.registry, self.plan)
        transcript = self.federation.transcription()
        if self.plan.aggregation == "encrypted":
            apply = LocalModel.apply

            def seen(model: LocalModel, total: NDArray[np.int64], phase: str) -> None:
                self.totals.append(total)
                apply(model, total, phase)

            monkeypatch.setattr(LocalModel, "apply", seen)
            train_encrypted(
                *parties, log=lambda _line: None, progress=Silent(), transcript=transcript
            )
            return self
        train(
            *parties,
            check_count=lambda _tiles: None,
            log=lambda _line: None,
            progress=Silent(),
            on_sum=lambda _attempt, total: self.totals.append(total),
            transcript=transcript,
        )
        shown = [sent.request for sent in self.federation.exchange.replies("train")]
        by_round = [message for message in shown if message["phase"] == "train"]
        for message in by_round[:: len(self.plan.owners)]:
            assert isinstance(message["weights"], np.ndarray)
            self.models.append(message["weights"])
        return self

    def vector(self, number: int, owner: int) -> Ring:
        """What an owner put into the `number`-th sum."""
        return self.made[number * len(self.plan.owners) + owner]


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_coordinator_with_one_owner_strips_the_other_to_its_noised_vector_and_no_further(
    monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    """Also in encrypted mode, where that owner's key opens the other's ciphertexts."""
    pool = Coalition.of(monkeypatch, B)
    run = Run(monkeypatch, "hsi", "lidar", aggregation=aggregation, nominal=None).play(monkeypatch)
    exchange = run.federation.exchange
    count = pool.stripped(exchange, 0)
    assert set(count) == {A}
    assert count[A][0] == run.vector(0, 0)[0]  # the noised number of its tiles
    assert run.plan.owner_noise(A, "count") == run.plan.count_share_std
    sigma = run.plan.noise_multiplier * run.plan.train_grid.sensitivity
    origin = np.zeros((CLASSES, WIDTH))
    exact = clipped_sum(run.held[0], origin, run.plan.clip, np.ones(TILES, bool)) * run.plan.scale
    for number in (1, 2):
        left = pool.stripped(exchange, number)[A][: CLASSES * WIDTH]
        assert np.array_equal(left, run.vector(number, 0))
        columns = left.astype(np.int32).reshape(CLASSES, WIDTH)
        assert not columns[:, HSI:].any()
        if number == 1:  # at the public origin: what is left is a gradient under A's whole noise
            noise = (columns - exact)[:, :HSI]
            assert np.std(noise) == pytest.approx(sigma, rel=0.12)  # 1,800 draws
            assert correlation(noise.ravel(), exact[:, :HSI].ravel()) < 5


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_coordinator_with_one_owner_has_the_others_class_means_under_its_whole_noise(
    monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    pool = Coalition.of(monkeypatch, B)
    run = Run(monkeypatch, "hsi", "lidar", aggregation=aggregation, means=True).play(monkeypatch)
    assert list(run.plan.phases) == ["mean", "classes", "train"]
    assert run.plan.class_share_std is not None
    left = pool.stripped(run.federation.exchange, 1)[A][: CLASSES * WIDTH]
    assert np.array_equal(left, run.vector(1, 0))
    columns = left.astype(np.int32).reshape(CLASSES, WIDTH)
    assert not columns[:, HSI:].any()
    plan = run.plan
    mean = run.vector(0, 0).astype(np.int64) + run.vector(0, 1)
    model = LocalModel(plan)
    model.apply(plan.grid("mean").ring.from_ring(mean.astype(np.uint32)), "mean")
    centre = split_query(model.query_for("classes"), plan).centre
    assert centre is not None
    assert plan.blocks is not None
    shown = run.held[0].with_features(with_constants(run.held[0].features, centre, plan.blocks))
    exact = clipped_class_sum(shown, CLASSES) * plan.grid("classes").scale
    noise = (columns - exact)[:, :HSI]
    assert np.std(noise) == pytest.approx(plan.sole_std("classes"), rel=0.12)  # 1,800 draws
    assert correlation(noise.ravel(), exact[:, :HSI].ravel()) < 5


def test_the_coordinator_alone_strips_nothing_and_its_sum_is_both_noised_updates_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Coalition.of(monkeypatch)
    run = Run(monkeypatch, "hsi", "lidar").play(monkeypatch)
    for number in range(run.plan.rounds):
        left = pool.stripped(run.federation.exchange, number)
        assert is_uniform(list(left.values()))
        for party, owner in ((A, 0), (B, 1)):
            assert correlation(left[party], run.vector(number, owner).astype(np.int32)) < 5
        columns = run.totals[number].reshape(CLASSES, WIDTH)
        mine, theirs = (
            run.vector(number, owner).astype(np.int32).reshape(CLASSES, WIDTH) for owner in (0, 1)
        )
        assert np.array_equal(columns[:, :HSI], mine[:, :HSI])
        assert np.array_equal(columns[:, HSI:], theirs[:, HSI:])


def test_the_coordinator_of_an_encrypted_run_has_nothing_of_the_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ciphertexts are uniform to it, and what owners sign is a digest of 32 bytes."""
    pool = Coalition.of(monkeypatch)
    run = Run(monkeypatch, "hsi", "lidar", aggregation="encrypted", rounds=1).play(monkeypatch)
    exchange = run.federation.exchange
    left = pool.stripped(exchange, 0)
    assert is_uniform(list(left.values()))
    for party, owner in ((A, 0), (B, 1)):
        size = CLASSES * WIDTH
        assert correlation(left[party][:size], run.vector(0, owner).astype(np.int32)) < 5
    fields = {
        "plan": {"accepted"},
        "ready": {"ready"},
        "train": {"ready", "model"},
        "advertise": {
            "kind", "context", "party", "mask_key", "sealing_key", "secret_commitment",
            "signature",
        },
        "share": {"kind", "context", "party", "recipients", "sealed", "sealed_keys"},
        "mask": {"kind", "context", "party", "key_id", "residues", "seeds"},
        "consistency": {"kind", "context", "party", "signature", "aggregate_signature"},
        "unmask": {
            "kind", "context", "party", "survivors", "self_shares", "dropped", "key_shares",
        },
        "decrypt": {"kind", "context", "party", "sum_digest", "signature"},
        "roster": {"signature"},
        "witness": {"key_id", "signature"},
        "end": {"entries", "head", "model", "signature"},
    }  # fmt: skip
    assert {sent.phase for sent in exchange.sent} == set(fields)
    for sent in exchange.sent:
        assert set(sent.reply) == fields[sent.phase], sent.phase
        for name, value in sent.reply.items():
            if name in {"residues", "sealed_keys"}:
                continue
            size = value.size if isinstance(value, np.ndarray) else len(str(value))
            assert size < 400, name
    sealed = [sent.reply["sealed_keys"] for sent in exchange.replies("share")]
    (key,) = [part for part in sealed if isinstance(part, np.ndarray) and part.size]
    whole = np.ascontiguousarray(key).view(np.uint8).ravel()
    assert is_uniform([whole[: whole.size // 4 * 4].view(np.uint32)])


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_one_owner_reads_the_others_noised_update_off_what_it_is_given(
    monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    """Masked: off two models in a row. Encrypted: it decrypts the sum itself."""
    run = Run(monkeypatch, "hsi", "lidar", aggregation=aggregation).play(monkeypatch)
    if aggregation == "masked":
        rule = update_rule(run.plan, 48)
        factor = rule.scale * rule.denominator / rule.step_size
        step = np.rint((run.models[0] - run.models[1]) * factor).astype(np.int64)
    else:
        step = run.totals[0].reshape(CLASSES, WIDTH)
        assert np.array_equal(run.totals[0], run.totals[1])  # both owners
    mine = run.vector(0, 0).astype(np.int32).reshape(CLASSES, WIDTH)
    assert np.array_equal(step[:, :HSI], mine[:, :HSI])


def test_with_a_coalition_that_lacks_one_of_two_holders_their_noised_vectors_stay_one_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two holders of HSI, one of LiDAR: as in paired, noise in HSI's columns is shared."""
    alone, joined = Coalition.of(monkeypatch, B), Coalition.of(monkeypatch, B, "owner-003")
    run = Run(monkeypatch, "hsi", "lidar", "hsi", rounds=1).play(monkeypatch)
    exchange = run.federation.exchange
    left = alone.stripped(exchange, 0)
    assert is_uniform(list(left.values()))
    whole = left[A] + left["owner-003"]  # the mask between the two cancels
    assert np.array_equal(whole, run.vector(0, 0) + run.vector(0, 2))
    assert correlation(left[A], run.vector(0, 0).astype(np.int32)) < 5
    assert np.array_equal(joined.stripped(exchange, 0)[A], run.vector(0, 0))
    origin = np.zeros((CLASSES, WIDTH))
    for vector, examples, shares in (
        (whole, [run.held[0], run.held[2]], 2),
        (run.vector(0, 0), [run.held[0]], 1),
    ):
        noise = noise_of(run.plan, vector, examples, origin)
        assert np.std(noise) == pytest.approx(run.plan.share("train") * math.sqrt(shares), rel=0.12)


def noise_of(
    plan: Plan, vector: Ring, examples: list[TileExamples], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """HSI's columns of a vector less the gradients in it."""
    parts = [clipped_sum(part, weights, plan.clip, np.ones(TILES, bool)) for part in examples]
    columns = vector.astype(np.int32).reshape(CLASSES, WIDTH) - np.sum(parts, axis=0) * plan.scale
    return np.asarray(columns[:, :HSI], dtype=np.float64)


def predicted(holds: dict[str, str], recipient: str, aggregation: str, **more: Any) -> FusedParties:
    parties = FusedParties.of(holds, recipient, aggregation=aggregation, pixels=1500, **more)
    predict_together(parties.exchange, parties.registry, parties.plan, Silent())
    return parties


def ring(parties: FusedParties, name: str) -> Ring:
    return parties.given(name).ravel().astype(np.int64).astype(np.uint32)


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
@pytest.mark.parametrize("member", ["ann", "bob", "zoe"])
def test_in_a_prediction_the_coordinator_with_one_party_strips_no_other(
    monkeypatch: pytest.MonkeyPatch, aggregation: str, member: str
) -> None:
    """Neither an owner's partial scores nor the recipient's pad, whoever joins it."""
    pool = Coalition.of(monkeypatch, member)
    parties = predicted(TWO, "zoe", aggregation)
    for name, left in pool.stripped(parties.exchange, 0).items():
        assert is_uniform([left])
        if name in TWO:
            size = parties.given(name).size
            assert correlation(left[:size], parties.given(name).ravel()) < 5


@pytest.mark.parametrize("aggregation", ["masked", "encrypted"])
def test_the_coordinator_with_recipient_and_contributor_has_the_others_scores_exactly(
    monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    """As the recipient and the contributor have without it, by subtraction."""
    pool = Coalition.of(monkeypatch, "bob", "zoe")
    parties = predicted(TWO, "zoe", aggregation)
    left = pool.stripped(parties.exchange, 0)
    assert set(left) == {"ann"}
    assert np.array_equal(left["ann"][: parties.given("ann").size], ring(parties, "ann"))
    apart = parties.nodes["zoe"].fused[0] - parties.given("bob")
    assert np.array_equal(apart, parties.given("ann"))


def test_a_recipient_that_contributes_has_the_others_scores_exactly_as_it_consented_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Coalition.of(monkeypatch, "bob")
    parties = predicted(TWO, "bob", "masked", consents=("ann",))
    fused = parties.nodes["bob"].fused[0]
    assert np.array_equal(fused - parties.given("bob"), parties.given("ann"))
    assert np.array_equal(pool.stripped(parties.exchange, 0)["ann"], ring(parties, "ann"))


def test_of_more_owners_a_contributor_with_the_recipient_has_the_parts_on_its_own_pixels_only() -> (
    None
):
    parties = predicted(FIVE, "zoe", "masked")
    fused, own = parties.nodes["zoe"].fused[0], parties.given("bob")
    where = np.asarray(own.any(axis=1))
    assert 0 < where.sum() < len(where)
    others = parties.given("ann") + parties.given("cat") + parties.given("dan")
    assert np.array_equal((fused - own)[where], others[where])
    assert not np.array_equal((fused - own)[~where], others[~where])


def test_to_a_recipient_that_is_no_owner_different_parts_of_one_sum_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Coalition.of(monkeypatch, "zoe")
    seen = []
    for shift in (0.0, 3.0):  # moved from one owner's scores to the other's
        parties = FusedParties.of(TWO, "zoe", pixels=1500, shift=shift)
        predict_together(parties.exchange, parties.registry, parties.plan, Silent())
        seen.append((parties.given("ann"), parties.nodes["zoe"].fused[0], parties))
    (first, fused, _), (second, same, _) = seen
    assert np.abs(first - second)[1:].min() > 0
    assert np.array_equal(fused, same)
    for number, (_, _, parties) in enumerate(seen):
        pool.secrets["zoe"] = pool.secrets["zoe"][-1:] if number else pool.secrets["zoe"]
        assert is_uniform(list(pool.stripped(parties.exchange, 0).values()))


def test_partial_scores_of_one_lidar_channel_give_its_values_away() -> None:
    """ψ is public, so few unknowns a pixel can be searched for: consent is to the values."""
    model = small_model()
    table = tiny_table(pixels=60, bands=8, seed=5)
    (block,) = cut_tiles(table, 1).blocks
    assert block.lidar is not None
    values = block.lidar.ravel()
    columns = slice(model.features.widths["hsi"], None)
    scores = model.features.psi(block)["lidar"] @ model.weights[:, columns].T
    tried = np.linspace(values.min() - 0.1, values.max() + 0.1, 4001, dtype=np.float32)
    guesses = model.features.expand({"lidar": {"descriptor": tried[:, None]}})["lidar"]
    table_of = guesses @ model.weights[:, columns].T
    found = tried[np.square(scores[:, None] - table_of[None]).sum(axis=2).argmin(axis=1)]
    assert np.abs(found - values).max() < 2 * (tried[1] - tried[0])
