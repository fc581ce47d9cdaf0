"""Schedules, v-prediction algebra, the U-Net's shapes, and a training step."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.model.branch_config import PRIOR_BRANCHES, BranchConfig
from feddiff_secure.model.checkpoint import load_checkpoint, save_checkpoint
from feddiff_secure.model.diffusion import (
    noise_from_v,
    noised,
    update_average,
    v_loss,
    v_target,
    x0_from_v,
)
from feddiff_secure.model.schedule import Schedule, cosine_schedule, linear_schedule
from feddiff_secure.model.unet import UNet

SMALL = BranchConfig(axes=1, in_channels=3, out_channels=1, patch=4, widths=(16, 24), heads=2)


def small_branch() -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(SMALL)


def test_the_linear_schedule_is_the_product_of_its_signal_shares() -> None:
    schedule = linear_schedule()
    for t in (1, 2, 100, 500):
        logs = [math.log1p(-(1e-4 + (0.02 - 1e-4) * i / 499)) for i in range(t)]
        assert schedule.alphas_bar[t] == pytest.approx(math.exp(math.fsum(logs)), rel=1e-12)
    assert schedule.steps == 500
    assert schedule.alphas_bar.dtype == np.float64


def test_the_cosine_schedule_follows_its_closed_form_until_the_cap() -> None:
    schedule = cosine_schedule(200)
    level = [math.cos((t / 200 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, 1, 50, 199)]
    for t, expected in zip((1, 50, 199), level[1:], strict=True):
        assert schedule.alphas_bar[t] == pytest.approx(expected / level[0], rel=1e-9)
    assert schedule.alphas_bar[200] == pytest.approx(schedule.alphas_bar[199] * 0.001, rel=1e-9)


@given(t=st.integers(0, 500))
def test_signal_and_noise_shares_have_unit_power(t: int) -> None:
    schedule = linear_schedule()
    assert schedule.signal(t) ** 2 + schedule.noise(t) ** 2 == pytest.approx(1.0, abs=1e-14)


def test_a_schedule_that_does_not_decrease_is_refused() -> None:
    with pytest.raises(UsageError, match="decrease"):
        Schedule(np.array([1.0, 0.9, 0.9]))
    with pytest.raises(UsageError, match="positive"):
        Schedule(np.array([1.0, 0.5, -0.1]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(1, 500))
def test_v_gives_back_the_clean_signal_and_the_noise(seed: int, t: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x0 = torch.randn((3, 1, 8), generator=generator, dtype=torch.float64)
    noise = torch.randn((3, 1, 8), generator=generator, dtype=torch.float64)
    schedule, steps = linear_schedule(), torch.full((3,), t)
    x_t = noised(schedule, x0, noise, steps)
    v = v_target(schedule, x0, noise, steps)
    assert torch.allclose(x0_from_v(schedule, x_t, v, steps), x0, atol=1e-12)
    assert torch.allclose(noise_from_v(schedule, x_t, v, steps), noise, atol=1e-12)


def test_forward_noising_has_the_stated_mean_and_variance() -> None:
    schedule = linear_schedule()
    generator = torch.Generator().manual_seed(1)
    x0 = torch.full((40_000, 1, 1), 2.0)
    steps = torch.full((40_000,), 200)
    x_t = noised(schedule, x0, torch.randn(x0.shape, generator=generator), steps)
    assert x_t.mean().item() == pytest.approx(2.0 * float(schedule.signal(200)), abs=0.02)
    assert x_t.std().item() == pytest.approx(float(schedule.noise(200)), abs=0.02)


@pytest.mark.parametrize("side", range(1, 10))
def test_the_lidar_branch_keeps_the_shape_of_any_tile(side: int) -> None:
    branch = UNet(PRIOR_BRANCHES["lidar"])
    x = torch.zeros(2, 2, side, max(1, side - 2))
    with torch.no_grad():
        assert branch(x, torch.tensor([1, 500])).shape == x.shape


@pytest.mark.parametrize("points", [96, 128])
def test_the_hsi_branch_predicts_one_value_a_grid_point(points: int) -> None:
    branch = UNet(PRIOR_BRANCHES["hsi"])
    with torch.no_grad():
        assert branch(torch.zeros(2, 3, points), torch.tensor([1, 500])).shape == (2, 1, points)


@pytest.mark.parametrize("name", sorted(PRIOR_BRANCHES))
def test_a_branch_has_at_most_two_million_parameters_and_no_batch_norm(name: str) -> None:
    branch = UNet(PRIOR_BRANCHES[name])
    assert sum(p.numel() for p in branch.parameters()) <= 2_000_000
    assert not any("BatchNorm" in type(module).__name__ for module in branch.modules())


def test_the_time_step_changes_the_prediction() -> None:
    branch = small_branch()
    x = torch.ones(1, 3, 32)
    with torch.no_grad():
        assert not torch.equal(branch(x, torch.tensor([5])), branch(x, torch.tensor([300])))


def test_points_the_sensor_lacks_do_not_enter_the_loss() -> None:
    branch, schedule = small_branch(), linear_schedule()
    mask = torch.cat([torch.ones(4, 1, 16), torch.zeros(4, 1, 16)], dim=2)
    condition = torch.cat([mask, torch.zeros(4, 1, 32)], dim=1)
    x0 = torch.ones(4, 1, 32) * mask

    def loss() -> float:
        generator = torch.Generator().manual_seed(3)
        return v_loss(
            branch, schedule, x0, conditioning=condition, mask=mask, generator=generator
        ).item()

    before = loss()
    handle = branch.register_forward_hook(lambda _m, _i, out: out + 100.0 * (1.0 - mask))
    assert loss() == pytest.approx(before, rel=1e-6)
    handle.remove()


def test_a_few_training_steps_reduce_the_loss_and_move_the_average() -> None:
    branch = small_branch()
    average = copy.deepcopy(branch)
    optimiser = torch.optim.Adam(branch.parameters(), lr=2e-3)
    x0 = torch.sin(torch.linspace(0, 6, 32)).expand(32, 1, 32)
    ones = torch.ones(32, 1, 32)
    condition = torch.cat([ones, ones], dim=1)
    losses = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        loss = v_loss(
            branch, linear_schedule(), x0, conditioning=condition, mask=ones, generator=generator
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        update_average(average, branch, step)
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    moved = [
        torch.equal(a, b) for a, b in zip(average.parameters(), branch.parameters(), strict=True)
    ]
    assert not any(moved)


def _step(branch: UNet, optimiser: torch.optim.Adam, average: UNet, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    x0 = torch.randn((8, 1, 32), generator=generator)
    ones = torch.ones(8, 1, 32)
    loss = v_loss(
        branch,
        linear_schedule(),
        x0,
        conditioning=ones.expand(8, 2, 32),
        mask=ones,
        generator=generator,
    )
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    update_average(average, branch, step)


def test_training_resumed_from_a_checkpoint_continues_bit_identically(tmp_path: Path) -> None:
    branch, average = small_branch(), small_branch()
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-3)
    for step in range(3):
        _step(branch, optimiser, average, step)
    save_checkpoint(tmp_path / "run.checkpoint", branch, average, optimiser, 3)
    again, again_average = UNet(SMALL), UNet(SMALL)
    again_optimiser = torch.optim.Adam(again.parameters(), lr=1e-3)
    restored = load_checkpoint(tmp_path / "run.checkpoint", again, again_average, again_optimiser)
    assert restored == 3
    for step in range(3, 5):
        _step(branch, optimiser, average, step)
        _step(again, again_optimiser, again_average, step)
    for one, two in ((branch, again), (average, again_average)):
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_checkpoint_of_another_branch_is_refused(tmp_path: Path) -> None:
    branch = small_branch()
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-3)
    _step(branch, optimiser, copy.deepcopy(branch), 0)
    save_checkpoint(tmp_path / "a", branch, copy.deepcopy(branch), optimiser, 1)
    other = UNet(PRIOR_BRANCHES["hsi"])
    with pytest.raises(DataError, match="differ from this branch"):
        load_checkpoint(
            tmp_path / "a", other, copy.deepcopy(other), torch.optim.Adam(other.parameters())
        )
    (tmp_path / "a").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path / "a", branch, branch, optimiser)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        SMALL.to_json().replace('"axes":1', '"axes":3'),
        SMALL.to_json().replace('"axes":1', '"axes":true'),
        SMALL.to_json().replace('"heads":2', '"heads":2,"more":1'),
        SMALL.to_json().replace("[16,24]", "[16,25]"),
        SMALL.to_json().replace("[16,24]", "[]"),
        SMALL.to_json().replace(":1,", ": 1,"),
    ],
)
def test_a_branch_config_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="branch config"):
        BranchConfig.from_json(text)


def test_a_branch_config_reads_back() -> None:
    assert BranchConfig.from_json(SMALL.to_json()) == SMALL
