"""Inversion attacks succeed against what is sent in clear, and are at chance against masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.attack.decoder import RidgeDecoder
from feddiff_secure.attack.gradient_inversion import (
    MASKED,
    NOISED,
    PLAIN,
    GradientInversion,
    HeldSpectra,
)
from feddiff_secure.attack.inversion_report import verdict
from feddiff_secure.attack.public_tiles import public_tiles
from feddiff_secure.attack.reconstruction import InversionScore, Reconstruction, candidate_count
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.progress import Silent
from feddiff_secure.model.projection import FourierProjection

CLASSES, TILES, BANDS, WIDTH = 9, 108, 12, 128


def held_spectra(seed: int, pixels: int = 1) -> HeldSpectra:
    """108 tiles whose spectra vary within their class, and ψ as random Fourier features."""
    rng = np.random.default_rng(seed)
    tile = np.repeat(np.arange(TILES), pixels)
    label = np.repeat(np.arange(TILES) % CLASSES, pixels)
    centres = np.random.default_rng(99).standard_normal((CLASSES, BANDS))
    axes = np.random.default_rng(98).standard_normal((3, BANDS))
    inside = np.repeat(rng.standard_normal((TILES, 3)), pixels, axis=0) @ axes * 0.3
    spectra = centres[label] + inside
    projection = FourierProjection(seed=(1,), inputs=BANDS, features=WIDTH, scale=0.25)
    psi = projection(spectra.astype("f4")).astype("f8")
    examples = TileExamples.group(psi, label, tile)
    return HeldSpectra(examples, TileExamples.group(spectra, label, tile).features)


def plan_of(**changes: Any) -> Plan:
    config = RunConfig(**{"nominal_tiles": 240, "rounds": 10, "delta": 1e-4, **changes})
    return make_plan(
        config,
        session=bytes(16),
        owners=tuple(f"owner-{i:03d}" for i in range(1, 5)),
        tile=1,
        classes=CLASSES,
        features=WIDTH,
    )


def scores(attempts: int = 96, pixels: int = 1, seed: int = 0) -> Mapping[str, InversionScore]:
    plain = plan_of(epsilon=float("inf"), clip=0.3)
    attack = GradientInversion(
        noised=plan_of(epsilon=2.0),
        plain=plain,
        held={name: held_spectra(i, pixels) for i, name in enumerate(plain.owners)},
        hsi_features=WIDTH,
    )
    found = attack.run(attempts=attempts, rng=np.random.default_rng(seed), progress=Silent())
    return {score.name: score for score in found}


@pytest.fixture(scope="module")
def gradient_scores() -> Mapping[str, InversionScore]:
    return scores()


def test_a_plain_update_gives_its_tiles_away(
    gradient_scores: Mapping[str, InversionScore],
) -> None:
    found = gradient_scores[PLAIN]
    assert found.candidates == 10
    assert found.identification > 0.9
    assert found.above_chance
    assert found.to_truth.correlation > 0.99
    assert found.to_truth.correlation > found.to_others.correlation
    assert found.to_truth.angle < found.to_others.angle
    assert "above chance" in verdict(found)


def test_a_masked_vector_says_nothing(gradient_scores: Mapping[str, InversionScore]) -> None:
    found = gradient_scores[MASKED]
    low, high = found.interval
    assert low <= found.chance <= high
    assert not found.above_chance
    assert found.ceiling > 0.9  # it could have shown success
    assert "not distinguished from chance" in verdict(found)


def test_the_noised_aggregate_is_near_chance_at_a_small_epsilon(
    gradient_scores: Mapping[str, InversionScore],
) -> None:
    # an honest ε = 2 over 10 rounds leaves one round a μ far below 1
    found = gradient_scores[NOISED]
    assert found.identification < 0.3 < gradient_scores[PLAIN].identification


def test_a_sum_without_noise_less_all_that_is_known_is_the_plain_update() -> None:
    plain = plan_of(epsilon=float("inf"), clip=0.3)
    held = {name: held_spectra(i) for i, name in enumerate(plain.owners)}
    attack = GradientInversion(plain, plain, held, WIDTH)
    update, total, _ = attack.run(attempts=16, rng=np.random.default_rng(0), progress=Silent())
    assert total.name == "aggregate, a run without noise"
    assert total.hits == update.hits
    assert total.to_truth.psnr == pytest.approx(update.to_truth.psnr, abs=0.5)


def test_masks_of_zero_give_the_tiles_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attack on the same message succeeds as soon as the mask is nothing."""
    for module in ("owner", "unmasking"):
        monkeypatch.setattr(f"feddiff_crypto.masking.{module}.add_masks", lambda *_a, **_k: None)
    found = scores(attempts=32)
    assert found[MASKED].identification > 0.9
    assert found[MASKED].identification == found[PLAIN].identification
    assert found[MASKED].above_chance


def test_tiles_of_several_pixels_are_inverted_to_their_mean_spectrum() -> None:
    found = scores(attempts=32, pixels=3)[PLAIN]
    assert found.identification > 0.9


def test_the_first_owner_has_to_hold_spectra_that_somebody_else_knows_of() -> None:
    plain = plan_of(epsilon=float("inf"), clip=0.3)
    blind = held_spectra(1)
    blind = replace(blind, examples=replace(blind.examples, features=np.zeros((TILES, WIDTH))))
    held = dict.fromkeys(plain.owners, blind) | {plain.owners[0]: held_spectra(0)}
    attack = GradientInversion(plan_of(epsilon=2.0), plain, held, WIDTH)
    with pytest.raises(UsageError, match="owner-001 holds HSI"):
        attack.run(attempts=10, rng=np.random.default_rng(0), progress=Silent())


def test_a_guess_that_does_not_depend_on_the_tile_is_right_by_chance() -> None:
    rng = np.random.default_rng(3)
    found = [
        Reconstruction(np.zeros(4), rng.standard_normal((5, 4)), int(rng.integers(5)))
        for _ in range(1000)
    ]
    score = InversionScore.of("guess", "nothing", found)
    assert score.identification == pytest.approx(0.2, abs=0.05)
    assert not score.above_chance
    assert score.interval[0] < score.identification < score.interval[1] < score.ceiling


def test_a_perfect_reconstruction_reaches_the_ceiling() -> None:
    rng = np.random.default_rng(4)
    sets = [rng.standard_normal((5, 4)) for _ in range(50)]
    score = InversionScore.of("all", "all", [Reconstruction(s[2], s, 2) for s in sets])
    assert score.interval == (score.ceiling, 1.0)
    assert score.to_truth.correlation == pytest.approx(1.0)
    assert score.to_truth.angle == pytest.approx(0.0, abs=1e-6)
    assert abs(score.to_others.correlation) < 0.3


def test_nothing_to_tell_apart_is_refused() -> None:
    assert candidate_count([]) == 0
    assert [candidate_count([n, 1]) for n in (1, 2, 4, 9, 40)] == [0, 2, 3, 5, 10]
    with pytest.raises(DataError, match="no class with two tiles"):
        InversionScore.of("none", "nothing", [])


def test_the_decoder_is_ridge_regression_and_shrinks_with_the_noise() -> None:
    rng = np.random.default_rng(5)
    x, weights = rng.standard_normal((500, 6)), rng.standard_normal((6, 3))
    y = x @ weights + 2.0
    found = RidgeDecoder.fit(x, y)
    np.testing.assert_allclose(found(x), y, atol=1e-3)
    blurred = RidgeDecoder.fit(x, y, noise_variance=1.0)  # half of what is seen is noise
    np.testing.assert_allclose(blurred.weights, weights / 2, rtol=0.2, atol=0.1)
    with pytest.raises(UsageError, match="decoder"):
        RidgeDecoder.fit(x[:1], y[:1])


@pytest.mark.parametrize("shape", [(1, 1), (3, 4)])
def test_public_tiles_are_plausible_and_differ(shape: tuple[int, int]) -> None:
    at = np.linspace(300.0, 2600.0, 30)
    tiles = public_tiles(np.random.default_rng(0), 20, shape, at)
    assert tiles.shape == (20, 30, *shape)
    assert np.isfinite(tiles).all()
    assert -0.2 < tiles.min() < tiles.max() < 2.0  # reflectance with noise
    means = tiles.mean(axis=(2, 3))
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    assert np.median(apart) > 0.1
