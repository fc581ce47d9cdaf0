"""The canary audit sees a mechanism that is weaker than its plan, through the real code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feddiff_privacy.attacks.gaussian_one_run import METHOD as GAUSSIAN
from feddiff_privacy.calibrate import target_mu
from feddiff_privacy.clipping import TileExamples, clipped_sum, softmax_errors, tile_norms
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.attack.canaries import Canaries
from feddiff_secure.attack.canary_audit import CanaryFindings, CanaryScores, assess, canary_scores
from feddiff_secure.attack.observer import ObservedFederation, View
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.federation.round import Attempt, secure_sum

CLASSES, FEATURES, ROUNDS, CANARIES = 3, 800, 6, 400
EPSILON, DELTA = 8.0, 1e-5
CLAIMED_MU = target_mu(EPSILON, DELTA)


def tiles(seed: int) -> TileExamples:
    """30 tiles of 4 pixels whose classes can be told apart."""
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(30), 4)
    labels = rng.integers(0, CLASSES, 30)[tile]
    psi = rng.standard_normal((len(tile), FEATURES)) * 0.02
    psi[np.arange(len(tile)), labels] += 1.0
    return TileExamples.group(psi / np.linalg.norm(psi, axis=1, keepdims=True), labels, tile)


@functools.cache
def plan_of(config: RunConfig, owners: int = 4) -> Plan:
    names = tuple(f"owner-{i:03d}" for i in range(1, owners + 1))
    return make_plan(
        config, session=bytes(16), owners=names, tile=2, classes=CLASSES, features=FEATURES
    )


def default_plan(**changes: Any) -> Plan:
    return plan_of(RunConfig(**{"epsilon": EPSILON, "delta": DELTA, "rounds": ROUNDS, **changes}))


def scores_of(plan: Plan, seed: int = 0, canaries: int = CANARIES) -> CanaryScores:
    return canary_scores(
        plan,
        {name: tiles(i) for i, name in enumerate(plan.owners)},
        canaries=canaries,
        rng=np.random.default_rng(seed),
        progress=Silent(),
    )


def findings_of(plan: Plan, seed: int = 0) -> CanaryFindings:
    return assess(
        scores_of(plan, seed),
        claimed=plan.epsilon or np.inf,
        delta=DELTA,
        sampling_rate=plan.sampling_rate,
    )


@pytest.fixture
def noise_times(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Make every owner add noise of another size than the plan says."""

    def plant(factor: float) -> None:
        def faulty(value: NDArray[np.float64], grid: Any, **kwargs: Any) -> Any:
            training = grid.dimension > 1  # the count stays as it is
            kwargs["share_std"] *= factor if training else 1.0
            return contribution(value, grid, **kwargs)

        monkeypatch.setattr("feddiff_secure.federation.owner.contribution", faulty)

    return plant


def test_an_honest_run_is_estimated_at_its_claim_and_refuted_by_no_bound() -> None:
    found = [findings_of(default_plan(), seed) for seed in range(2)]
    estimates = [f.estimate for f in found if f.estimate is not None]
    assert len(estimates) == 2
    # one estimate has a standard error of 0.12, the mean of two 0.09
    assert np.mean([e.mu for e in estimates]) == pytest.approx(CLAIMED_MU, abs=0.4)
    assert np.mean([f.noise_ratio for f in found]) == pytest.approx(1.0, abs=0.16)
    assert np.mean([f.gradient_ratio for f in found]) == pytest.approx(1.0, abs=0.21)
    for f in found:
        assert all(bound.epsilon < EPSILON for bound in f.bounds)
        assert min(bound.epsilon for bound in f.bounds) > 0.5  # and the bounds are not idle


def test_halved_noise_puts_the_estimate_above_the_claim(
    noise_times: Callable[[float], None],
) -> None:
    noise_times(0.5)
    found = findings_of(default_plan())
    assert found.estimate is not None
    assert found.estimate.epsilon_lower > EPSILON * 1.2
    assert found.noise_ratio == pytest.approx(0.5, abs=0.13)


def test_a_quarter_of_the_noise_is_refuted_by_a_bound(
    noise_times: Callable[[float], None],
) -> None:
    noise_times(0.25)
    gaussian = next(b for b in findings_of(default_plan()).bounds if b.method == GAUSSIAN)
    assert EPSILON < gaussian.epsilon <= gaussian.ceiling


def test_shares_that_count_on_the_colluder_are_seen(noise_times: Callable[[float], None]) -> None:
    """σ/√n instead of σ/√h: 0.866 of the noise is left once the colluder takes its share off."""
    noise_times((3 / 4) ** 0.5)
    runs = [scores_of(default_plan(), seed, canaries=FEATURES) for seed in range(2)]
    residuals = np.concatenate([r.scores - r.signal * r.included for r in runs])
    assert residuals.std() < 0.932  # 1600 of them: four standard errors below 1 and above 0.866


def test_a_clip_that_is_skipped_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unclipped(
        examples: TileExamples,
        weights: NDArray[np.float64],
        _clip: float,
        _sampled: object,
        _class_scores: object,
    ) -> NDArray[np.float64]:
        return softmax_errors(examples, weights).T @ examples.features

    monkeypatch.setattr("feddiff_secure.federation.private_values.clipped_sum", unclipped)
    found = findings_of(default_plan())
    assert found.gradient_ratio > 2
    assert found.estimate is not None
    assert found.estimate.epsilon_lower > EPSILON


def test_without_noise_every_guess_is_right_and_bounds_reach_their_ceilings() -> None:
    plan = default_plan(epsilon=np.inf)
    found = findings_of(plan)
    assert found.estimate is None
    for bound in found.bounds:
        assert bound.guesses.correct == bound.guesses.made == CANARIES
        assert bound.epsilon == bound.ceiling


@pytest.mark.parametrize(
    ("config", "owners", "colluding", "dropped"),
    [
        (RunConfig(epsilon=EPSILON, rounds=4), 4, 1, 0),
        (RunConfig(epsilon=EPSILON, rounds=4, dropouts=1), 5, 1, 1),
        (RunConfig(epsilon=EPSILON, rounds=4, noise="local"), 3, 2, 0),
        (RunConfig(epsilon=EPSILON, rounds=4, noise="local", aggregation="plain"), 3, 2, 0),
    ],
)
def test_the_adversary_is_the_one_that_epsilon_is_calibrated_to(
    config: RunConfig, owners: int, colluding: int, dropped: int
) -> None:
    plan = plan_of(config, owners)
    view = View.calibrated(plan)
    assert view.shares == plan.calibrated_shares
    assert (len(view.colluding), len(view.dropped)) == (colluding, dropped)
    assert view.target not in {*view.colluding, *view.dropped}
    found = scores_of(plan)
    spread = found.scores[~found.included].std()
    assert spread == pytest.approx(1.0, abs=5 / np.sqrt(CANARIES))  # the noise of those shares
    gap = found.scores[found.included].mean() - found.scores[~found.included].mean()
    assert gap == pytest.approx(found.signal.mean(), abs=0.5)


def observed(plan: Plan, weights: NDArray[np.float64]) -> tuple[ObservedFederation, Any, Any]:
    """One secure round of a federation with canaries: what the adversary has left, and them."""
    drawn = Canaries.draw(
        60, classes=CLASSES, features=FEATURES, clip=plan.clip, rng=np.random.default_rng(5)
    )
    held = {name: tiles(i) for i, name in enumerate(plan.owners)}
    federation = ObservedFederation.of(plan, held, drawn)
    message = {"plan": plan.to_json()}
    federation.exchange.exchange("plan", dict.fromkeys(plan.owners, message), 1.0)
    total = secure_sum(
        federation.exchange, federation.registry, plan, Attempt("train", 0, 0, weights)
    )
    return federation, federation.released(total, weights), drawn


@pytest.mark.parametrize("dropouts", [0, 1])
def test_without_noise_nothing_is_left_but_the_canaries_that_are_in(dropouts: int) -> None:
    plan = plan_of(RunConfig(epsilon=np.inf, rounds=1, dropouts=dropouts, nominal_tiles=100), 5)
    weights = np.random.default_rng(6).standard_normal((CLASSES, FEATURES)) * 0.1
    _, left, drawn = observed(plan, weights)
    everyone = np.repeat(drawn.included, 4)
    inside = TileExamples.group(
        drawn.tiles.features[everyone],
        drawn.tiles.labels[everyone],
        np.repeat(np.arange(60), 4)[everyone],
    )
    expected = clipped_sum(inside, weights, plan.clip, np.ones(inside.tiles, dtype=np.bool_))
    np.testing.assert_allclose(left, expected, atol=1 / plan.scale)


def test_dropped_owners_answer_no_masked_vector() -> None:
    plan = plan_of(RunConfig(epsilon=EPSILON, rounds=1, dropouts=1, nominal_tiles=100), 5)
    federation, _, _ = observed(plan, np.zeros((CLASSES, FEATURES)))
    charged = {name: owner.charged["train"] for name, owner in federation.owners.items()}
    assert federation.view.dropped == ("owner-005",)
    assert charged == {name: int(name != "owner-005") for name in plan.owners}


def test_sampled_tiles_get_no_gaussian_bound() -> None:
    found = findings_of(default_plan(sampling_rate=0.5))
    assert GAUSSIAN not in {bound.method for bound in found.bounds}


def test_canaries_are_clipped_in_every_round_and_hide_in_no_other() -> None:
    rng = np.random.default_rng(0)
    drawn = Canaries.draw(30, classes=CLASSES, features=64, clip=0.3, rng=rng)
    weights = rng.standard_normal((CLASSES, 64)) * 0.5
    errors = softmax_errors(drawn.tiles, weights)
    assert (tile_norms(drawn.tiles, errors) > 0.3).all()
    gradients = [
        (errors[i : i + 4].T @ drawn.tiles.features[i : i + 4]).ravel() for i in range(0, 120, 4)
    ]
    unit = np.array([g / np.linalg.norm(g) for g in gradients])
    np.testing.assert_allclose(unit @ unit.T, np.eye(30), atol=1e-12)
    inner, squares = drawn.project(weights, 0.3, 0.3 * unit[7].reshape(CLASSES, 64))
    np.testing.assert_allclose(inner, np.where(np.arange(30) == 7, 0.09, 0.0), atol=1e-12)
    np.testing.assert_allclose(squares, 0.09)


def test_an_owners_tiles_are_kept_beside_the_canaries() -> None:
    drawn = Canaries.draw(
        40, classes=CLASSES, features=FEATURES, clip=0.3, rng=np.random.default_rng(1)
    )
    held = tiles(0)
    joined = drawn.joined(held)
    assert joined.tiles == held.tiles + int(drawn.included.sum())
    np.testing.assert_array_equal(joined.features[: len(held.labels)], held.features)
    np.testing.assert_array_equal(joined.starts[: held.tiles], held.starts)


@pytest.mark.parametrize("count", [0, 19, FEATURES + 1])
def test_more_canaries_than_directions_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="canaries"):
        Canaries.draw(count, classes=2, features=FEATURES, clip=1.0, rng=np.random.default_rng(0))
