"""Quality measures against definitions and independent code; generation; pictures of tiles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from feddiff_secure.data.simulate.heights import random_height_tiles
from feddiff_secure.data.simulate.spectra import random_spectra
from feddiff_secure.errors import UsageError
from feddiff_secure.model.generation import (
    generated_heights,
    generated_spectra,
    heights_of_signal,
    level_and_contrast,
    reconstructed_heights,
    reconstructed_spectra,
    reflectance,
)
from feddiff_secure.model.inputs import lidar_signal
from feddiff_secure.model.prior import load_prior
from feddiff_secure.model.quality import (
    class_means,
    conditional_consistency,
    frechet_distance,
    nearest_mean,
    peak_signal_to_noise_ratio,
    spectral_angle,
    structural_similarity,
    within_class_spread,
)
from feddiff_secure.model.wavelengths import resampling, standardise
from feddiff_secure.report.tile_pictures import Stage, true_colour, write_tile_pictures

AT = np.linspace(400.0, 1000.0, 72)
SAMPLING = resampling(72, tuple(AT))
Floats = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tiles(seed: int, side: int = 8) -> Floats:
    return rng(seed).random((3, 2, side, side))


def test_psnr_of_a_constant_error_is_its_closed_form() -> None:
    zero = np.zeros((4, 5))
    assert peak_signal_to_noise_ratio(zero, zero + 0.1, 1.0) == pytest.approx(20.0)
    assert peak_signal_to_noise_ratio(zero, zero + 0.1, 10.0) == pytest.approx(40.0)
    assert peak_signal_to_noise_ratio(zero, zero, 1.0) == math.inf


@pytest.mark.parametrize("side", [1, 3, 7, 9])
def test_ssim_is_the_formula_on_every_window(side: int) -> None:
    one, two = tiles(0, side), tiles(1, side)
    window = min(7, side)
    scores = []
    for tile in range(3):
        for channel in range(2):
            for r in range(side - window + 1):
                for c in range(side - window + 1):
                    x = one[tile, channel, r : r + window, c : c + window].ravel()
                    y = two[tile, channel, r : r + window, c : c + window].ravel()
                    sigma = np.cov(x, y, bias=True) if x.size > 1 else np.zeros((2, 2))
                    c1, c2 = 0.02**2, 0.06**2
                    top = (2 * x.mean() * y.mean() + c1) * (2 * sigma[0, 1] + c2)
                    bottom = x.mean() ** 2 + y.mean() ** 2 + c1
                    scores.append(top / (bottom * (sigma[0, 0] + sigma[1, 1] + c2)))
    assert structural_similarity(one, two, 2.0) == pytest.approx(np.mean(scores), abs=1e-12)
    assert structural_similarity(one, one, 2.0) == pytest.approx(1.0, abs=1e-12)


def test_ssim_falls_with_noise() -> None:
    real, noise = tiles(0, 16), rng(5).normal(size=(3, 2, 16, 16))
    found = [structural_similarity(real, real + s * noise, 1.0) for s in (0.0, 0.1, 0.3, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5


@settings(max_examples=40)
@given(angle=st.floats(0.0, math.pi), gain=st.floats(0.1, 10.0))
def test_the_spectral_angle_is_exact_and_ignores_brightness(angle: float, gain: float) -> None:
    one = np.array([3.0, 0.0, 0.0])
    two = gain * np.array([math.cos(angle), 0.6 * math.sin(angle), 0.8 * math.sin(angle)])
    assert float(spectral_angle(one, two)) == pytest.approx(angle, abs=1e-12)
    tiny = np.array([1.0, 1e-9, 0.0])  # the arc cosine would give 0
    assert float(spectral_angle(one, tiny)) == pytest.approx(1e-9, rel=1e-6)


def test_the_angle_to_a_blank_spectrum_is_zero() -> None:
    assert float(spectral_angle(np.zeros(3), np.ones(3))) == 0.0


def test_nearest_means_and_spreads_follow_the_classes() -> None:
    shape = np.array([[1.0, 0.0], [1.0, 1.0]])
    label = np.repeat([3, 8], 200)
    spectra = shape[np.repeat([0, 1], 200)] + 0.05 * rng().normal(size=(400, 2))
    means = class_means(spectra, label)
    assert np.allclose(means, shape, atol=0.02)
    angle, nearest = nearest_mean(np.array([[2.0, 0.1], [3.0, 2.9]]), means)
    assert nearest.tolist() == [0, 1]
    assert angle[0] == pytest.approx(math.atan(0.05), abs=0.02)
    own, _ = nearest_mean(spectra, means)
    spread = within_class_spread(spectra, label)
    assert np.mean(own <= spread[np.repeat([0, 1], 200)]) == pytest.approx(0.95, abs=0.01)
    assert np.all(spread > np.radians(1.0))


def test_the_frechet_distance_of_commuting_gaussians_is_the_closed_form() -> None:
    # Rows with exact moments: mean m, diagonal covariance s².
    corners = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)]) * math.sqrt(3 / 4)
    one = corners * [1.0, 2.0]
    two = corners * [3.0, 0.5] + [1.0, -1.0]
    assert frechet_distance(one, two) == pytest.approx(2.0 + (1 - 3) ** 2 + (2 - 0.5) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_the_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    one = rng(1).normal(size=(60, 5)) @ rng(2).normal(size=(5, 5))
    two = rng(3).normal(size=(80, 5)) @ rng(4).normal(size=(5, 5)) + 1.0
    s1, s2 = np.cov(one.T), np.cov(two.T)
    apart = one.mean(axis=0) - two.mean(axis=0)
    expected = apart @ apart + np.trace(s1 + s2 - 2.0 * sqrtm(s1 @ s2).real)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(two, one) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("rows", [2, 3, 10])
def test_the_frechet_distance_is_finite_for_singular_covariances(rows: int) -> None:
    one = rng(5).normal(size=(rows, 30))
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(one, one + 1.0) == pytest.approx(30.0, rel=1e-6)
    assert frechet_distance(one, np.zeros((2, 30))) >= 0.0


def test_consistency_is_the_share_of_samples_of_the_asked_class() -> None:
    samples = np.array([[0.0], [1.0], [2.0], [3.0]])
    found = conditional_consistency(
        lambda x: (x[:, 0] > 1.5).astype(np.int64), samples, np.array([0, 1, 1, 1])
    )
    assert found == 0.75


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot be compared"):
        peak_signal_to_noise_ratio(np.zeros(3), np.zeros(4), 1.0)
    with pytest.raises(UsageError, match="peak"):
        peak_signal_to_noise_ratio(np.zeros(3), np.zeros(3), math.nan)
    with pytest.raises(UsageError, match="SSIM"):
        structural_similarity(np.zeros((3, 3)), np.zeros((3, 3)), 1.0)
    with pytest.raises(UsageError, match="Fréchet distance of"):
        frechet_distance(np.zeros((3, 2)), np.zeros((1, 2)))
    with pytest.raises(UsageError, match="not finite"):
        frechet_distance(np.zeros((3, 2)), np.full((3, 2), np.nan))
    with pytest.raises(UsageError, match="2 samples"):
        conditional_consistency(
            lambda _x: np.zeros(1, np.int64), np.zeros((2, 1)), np.array([0, 1])
        )


# ---------------------------------------------------------------------------------- generation


def spectra(count: int, seed: int = 0) -> NDArray[np.float32]:
    return random_spectra(rng(seed), count, AT).astype(np.float32)


def test_level_and_contrast_undo_the_standardisation() -> None:
    drawn = spectra(20)
    level, contrast = level_and_contrast(drawn, SAMPLING)
    back = reflectance(standardise(drawn, SAMPLING), level, contrast, SAMPLING)
    seen = SAMPLING.covered > 0
    assert np.allclose(back[:, seen], (drawn @ SAMPLING.weights.T)[:, seen], atol=1e-5)
    assert np.all(back[:, ~seen] == 0.0)


def test_heights_come_back_from_the_signal() -> None:
    drawn = random_height_tiles(rng(), 6, 4)
    drawn[:, 1] = np.clip(drawn[:, 1], -1.0, 1.0)
    assert np.allclose(heights_of_signal(lidar_signal(drawn)), drawn, atol=1e-4)
    assert np.all(np.isfinite(heights_of_signal(np.full((1, 2, 1, 1), 6.0, dtype=np.float32))))


def test_the_shipped_hsi_branch_takes_noise_off_spectra() -> None:
    drawn = spectra(40, seed=7)
    real = standardise(drawn, SAMPLING)
    noised, found = reconstructed_spectra(
        load_prior("hsi"),
        drawn,
        SAMPLING,
        t=150,
        steps=5,
        generator=torch.Generator().manual_seed(0),
    )
    before, after = (np.square(each - real).mean() for each in (noised, found))
    assert after < 0.25 * before
    unseen = SAMPLING.covered == 0
    assert unseen.any()
    assert np.all(found[:, unseen] == 0.0)
    assert np.all(noised[:, unseen] == 0.0)


def test_the_shipped_lidar_branch_takes_noise_off_tiles() -> None:
    drawn = random_height_tiles(rng(7), 24, 8)
    noised, found = reconstructed_heights(
        load_prior("lidar"), drawn, t=100, steps=5, generator=torch.Generator().manual_seed(0)
    )
    real = lidar_signal(drawn)
    before, after = (np.square(lidar_signal(each) - real).mean() for each in (noised, found))
    assert after < 0.5 * before


def test_generated_spectra_and_heights_look_like_the_simulators() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = generated_spectra(load_prior("hsi"), 64, SAMPLING, steps=12, generator=generator)
    real = standardise(spectra(64, seed=8), SAMPLING)
    fresh = standardise(spectra(64, seed=9), SAMPLING)
    noise = rng(3).normal(size=real.shape) * SAMPLING.covered
    floor, far = frechet_distance(real, fresh), frechet_distance(real, noise)
    assert frechet_distance(real, drawn) < floor + 0.4 * (far - floor)
    heights = generated_heights(load_prior("lidar"), 16, 6, steps=12, generator=generator)
    assert heights.shape == (16, 2, 6, 6)
    assert -1.5 / 30.0 < np.median(heights[:, 0]) < 10.0 / 30.0
    assert np.quantile(heights[:, 0], 0.95) > 2.0 / 30.0


# ------------------------------------------------------------------------------------ pictures


def stage(name: str, seed: int, count: int = 2) -> Stage:
    return Stage(
        name, 0.5 * rng(seed).random((count, 72, 4, 4)), 10.0 * rng(seed).random((count, 4, 4))
    )


def test_the_picture_has_three_rows_a_tile_and_is_the_same_every_time(tmp_path: Path) -> None:
    stages = [stage("real", 0), stage("generated", 1)]
    for name in ("one.png", "two.png"):
        write_tile_pictures(tmp_path / name, stages, AT, title="test")
    first = (tmp_path / "one.png").read_bytes()
    assert first == (tmp_path / "two.png").read_bytes()
    assert b"matplotlib" not in first.lower()
    image = imread(tmp_path / "one.png")
    write_tile_pictures(tmp_path / "other.png", [stages[0], stages[0]], AT, title="test")
    other = imread(tmp_path / "other.png")
    half = image.shape[1] // 2
    assert not np.allclose(image[:, half:], other[:, half:])
    third = image.shape[0] // 6
    for row in range(6):  # every row shows something that is not paper
        assert image[row * third : (row + 1) * third, :, :3].std() > 0.05


def test_true_colour_takes_the_bands_of_red_green_and_blue() -> None:
    cube = np.zeros((72, 1, 1))
    cube[np.argmin(np.abs(AT - 650.0))] = 0.35
    cube[np.argmin(np.abs(AT - 460.0))] = 9.0
    assert true_colour(cube, AT)[0, 0].tolist() == pytest.approx([1.0, 0.0, 1.0])


def test_stages_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    wrong = [[], [stage("a", 0, 9)], [stage("a", 0, 1), stage("b", 0, 2)]]
    for stages in wrong:
        with pytest.raises(UsageError, match="stages of"):
            write_tile_pictures(tmp_path / "no.png", stages, AT, title="")
    with pytest.raises(UsageError, match="stages of"):
        write_tile_pictures(tmp_path / "no.png", [stage("a", 0)], AT[:-1], title="")
    assert not list(tmp_path.iterdir())
