"""The gated head of the ablation: bounded by C a tile, a federation's noise, able to learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_privacy.accountant import epsilon
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.model.gated_fusion import PairedHead
from scripts.gated_rows import (
    Constants,
    TileMaps,
    gradient_sum,
    noise_plan,
    scaled,
    total_std,
    trained_head,
)

CLIP = 0.5


def head() -> PairedHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PairedHead(5, 3, 4, 4)


def toy(tiles: int, scale: float = 1.0) -> TileMaps:
    """Two signs, one a modality, make four classes."""
    generator = torch.Generator().manual_seed(tiles)
    hsi = torch.randn((tiles, 5, 2, 2), generator=generator)
    lidar = torch.randn((tiles, 3, 2, 2), generator=generator)
    hsi[:, 0], lidar[:, 0] = 2.0 * hsi[:, 0].sign(), 2.0 * lidar[:, 0].sign()
    label = 1 + 2 * (hsi[:, 0] > 0).long() + (lidar[:, 0] > 0).long()
    return TileMaps(scale * hsi, scale * lidar, label)


def one(tiles: TileMaps, at: int) -> TileMaps:
    part = slice(at, at + 1)
    return TileMaps(tiles.hsi[part], tiles.lidar[part], tiles.label[part])


@settings(max_examples=20, deadline=None)
@given(exponent=st.integers(-3, 12), at=st.integers(0, 5))
def test_no_tile_has_more_than_the_clip_in_the_sum(exponent: int, at: int) -> None:
    tile = one(toy(6, 10.0**exponent), at)
    assert float(gradient_sum(head(), [tile], CLIP).norm()) <= CLIP


def test_one_tile_of_huge_features_moves_the_sum_by_the_clip_and_no_more() -> None:
    rest, huge = toy(6), one(toy(6, 1e3), 2)
    moved = gradient_sum(head(), [rest, huge], CLIP) - gradient_sum(head(), [rest], CLIP)
    assert 0.99 * CLIP < float(moved.norm()) <= CLIP


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_tile_that_is_not_finite_counts_as_zero(bad: float) -> None:
    tiles = toy(4)
    tiles.hsi[1, 0, 0, 0] = bad
    kept = [one(tiles, at) for at in (0, 2, 3)]
    torch.testing.assert_close(
        gradient_sum(head(), [tiles], CLIP), gradient_sum(head(), kept, CLIP)
    )


def test_without_noise_it_learns_a_rule_of_both_modalities() -> None:
    constants = Constants(width=8, rounds=80, clip=10.0, rate=3e-2, averaged=0.2)
    config = RunConfig(epsilon=math.inf)
    made = trained_head(config, [toy(64)], 4, 2, constants)
    test = toy(32)
    right = made(test.hsi, test.lidar).fused.argmax(dim=1) + 1 == test.label
    assert float(right.float().mean()) > 0.9


def test_so_much_noise_that_nothing_is_learnt_reaches_the_weights() -> None:
    constants = Constants(width=8, rounds=80, clip=10.0, rate=3e-2, averaged=0.2)
    made = trained_head(RunConfig(epsilon=0.05), [toy(64)], 4, 2, constants)
    test = toy(32)
    right = made(test.hsi, test.lidar).fused.argmax(dim=1) + 1 == test.label
    assert float(right.float().mean()) < 0.6


@pytest.mark.parametrize("target", [8.0, 1.0])
def test_the_noise_is_that_of_four_owners_with_one_colluder(target: float) -> None:
    constants = Constants(width=8, rounds=40, clip=CLIP, rate=1e-2, averaged=0.2)
    plan = noise_plan(RunConfig(epsilon=target), constants, classes=4, tile=4, size=1001)
    assert (len(plan.owners), plan.colluders, plan.rounds) == (4, 1, 40)
    assert plan.classes * plan.features >= 1001
    faced = epsilon(plan.events(), shares=plan.policy.honest_shares, delta=plan.delta)
    assert 0.99 * target <= faced <= target
    # All four add noise; the observer of the target faces that of h, whose share is σ·C/√h.
    expected = CLIP * plan.noise_multiplier * math.sqrt(4 / plan.policy.honest_shares)
    assert expected <= total_std(plan, "train") <= 1.02 * expected


def test_without_epsilon_there_is_no_noise() -> None:
    constants = Constants(width=8, rounds=40, clip=CLIP, rate=1e-2, averaged=0.2)
    plan = noise_plan(RunConfig(epsilon=math.inf), constants, classes=4, tile=4, size=1001)
    assert total_std(plan, "train") == total_std(plan, "count") == 0.0


def test_unit_vectors_are_scaled_to_unit_mean_square_by_public_numbers() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 65)).astype(np.float32)
    rows[:, :64] /= np.linalg.norm(rows[:, :64], axis=1, keepdims=True)
    rows[:, 64] = 0.5
    found = scaled("diffusion", rows)
    assert np.mean(np.square(found[:, :64])) == pytest.approx(1.0, rel=1e-5)
    assert np.all(found[:, 64] == 0.0)
    other = scaled("diffusion", np.concatenate([rows[:1], 9 * rows[1:]]))
    assert np.array_equal(other[0], found[0])  # no row sees another
