"""Schedules against closed forms, objectives, samplers on an exact Gaussian, guidance."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from feddiff_secure.errors import UsageError
from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.diffusion import (
    Objective,
    denoising_loss,
    noise_from,
    noised,
    target,
    v_loss,
    x0_from,
)
from feddiff_secure.model.guidance import branch_denoiser
from feddiff_secure.model.sampling import (
    ddim_step,
    ddpm_posterior,
    even_timesteps,
    sample_ddim,
    sample_ddpm,
)
from feddiff_secure.model.schedule import (
    Schedule,
    cosine_schedule,
    linear_schedule,
    shifted_cosine_schedule,
)
from feddiff_secure.model.unet import UNet

OBJECTIVES: tuple[Objective, ...] = ("v", "eps", "x0")
SCHEDULES = (linear_schedule(), cosine_schedule(), shifted_cosine_schedule())
MEAN, STD = 1.5, 0.6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_denoiser(schedule: Schedule, x_t: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t] where x_0 is N(MEAN, STD²): no network, no error."""
    level = float(schedule.alphas_bar[int(t[0])])
    gain = level**0.5 * STD**2 / (level * STD**2 + 1.0 - level)
    return MEAN + gain * (x_t - level**0.5 * MEAN)


def exact_moments(schedule: Schedule, eta: float) -> tuple[float, float]:
    """Mean and s.d. of what DDIM on all steps gives with that denoiser, by affine recursion."""
    mean, variance = 0.0, 1.0
    for t in range(schedule.steps, 0, -1):
        two = torch.tensor([0.0, 1.0], dtype=torch.float64)
        steps = torch.tensor([t])
        moved, added = ddim_step(
            schedule, two, gaussian_denoiser(schedule, two, steps), t, before=t - 1, eta=eta
        )
        slope = (moved[1] - moved[0]).item()
        mean, variance = moved[0].item() + slope * mean, slope**2 * variance + added
    return mean, variance**0.5


# ----------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("shift", [1.0, 0.5, 0.1])
def test_the_high_noise_schedule_follows_its_closed_form(shift: float) -> None:
    schedule = shifted_cosine_schedule(200, shift)
    low, high = math.atan(math.exp(-7.5)), math.atan(math.exp(7.5))
    for t in (1, 77, 200):
        odds = (shift / math.tan(low + (high - low) * t / 200)) ** 2  # signal to noise
        assert schedule.alphas_bar[t] == pytest.approx(odds / (1.0 + odds), rel=1e-9)
    assert schedule.alphas_bar[0] == 1.0
    assert schedule.alphas_bar.dtype == np.float64


def test_the_high_noise_schedule_is_noisier_than_the_others_at_every_step() -> None:
    high = shifted_cosine_schedule()
    for other in (linear_schedule(), cosine_schedule()):
        inner = slice(5, -1)  # the capped ends differ by construction
        assert np.all(high.alphas_bar[inner] < other.alphas_bar[inner])
    assert high.alphas_bar[-1] < 1e-7


@pytest.mark.parametrize("arguments", [(0,), (10, 0.0), (10, 1.5), (10, math.nan), (10, 0.5, 40.0)])
def test_a_high_noise_schedule_out_of_range_is_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="shifted cosine"):
        shifted_cosine_schedule(*arguments)  # type: ignore[arg-type]  # 0 steps is an int


# ---------------------------------------------------------------------------------- objectives


@settings(max_examples=30)
@given(
    objective=st.sampled_from(OBJECTIVES),
    schedule=st.sampled_from(SCHEDULES),
    t=st.integers(1, 500),
    seed=st.integers(0, 1000),
)
def test_every_objective_gives_back_the_clean_signal_and_the_noise(
    objective: Objective, schedule: Schedule, t: int, seed: int
) -> None:
    x0 = torch.randn((2, 1, 8), generator=seeded(seed), dtype=torch.float64)
    noise = torch.randn((2, 1, 8), generator=seeded(seed + 1), dtype=torch.float64)
    steps = torch.tensor([t, t])
    x_t = noised(schedule, x0, noise, steps)
    output = target(objective, schedule, x0, noise, steps)
    # eps divides by √ᾱ_t and x0 by √(1−ᾱ_t): rounding grows by as much.
    tolerance = 1e-14 / min(float(schedule.signal(t)), float(schedule.noise(t)))
    found = x0_from(objective, schedule, x_t, output, steps)
    assert torch.allclose(found, x0, rtol=0, atol=100 * tolerance)
    found = noise_from(objective, schedule, x_t, output, steps)
    assert torch.allclose(found, noise, rtol=0, atol=100 * tolerance)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_perfect_branch_has_no_loss_and_a_wrong_one_its_distance(objective: Objective) -> None:
    """One clean signal for all: the branch can then know the noise from x_t."""
    schedule = linear_schedule()
    x0 = torch.sin(torch.arange(8.0)).expand(16, 1, 8).double()
    mask = torch.ones(1, dtype=torch.float64)

    def perfect(x_t: Tensor, t: Tensor, off: float = 0.0) -> Tensor:
        noise = noise_from("x0", schedule, x_t, x0, t)
        return target(objective, schedule, x0, noise, t) + off

    def loss(off: float, **options: object) -> float:
        return denoising_loss(
            lambda x, t: perfect(x, t, off),
            schedule,
            x0,
            conditioning=torch.zeros(16, 0, 8),
            mask=mask,
            generator=seeded(0),
            objective=objective,
            **options,  # type: ignore[arg-type]  # the norm
        ).item()

    assert loss(0.0) < 1e-10
    assert loss(0.5) == pytest.approx(0.25, rel=1e-4)
    assert loss(0.5, norm="l1") == pytest.approx(0.5, rel=1e-4)


def test_the_loss_of_v_is_the_one_the_shipped_branches_were_trained_with() -> None:
    x0, none = torch.randn((4, 1, 8), generator=seeded(1)), torch.zeros(4, 0, 8)
    found = [
        loss(
            lambda x, _t: 0.5 * x,
            linear_schedule(),
            x0,
            conditioning=none,
            mask=torch.ones(1),
            generator=seeded(2),
        )
        for loss in (v_loss, denoising_loss)
    ]
    assert torch.equal(*found)


def test_labels_are_dropped_as_often_as_asked_and_the_noise_stays() -> None:
    seen: list[Tensor] = []
    inputs: list[Tensor] = []

    def branch(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        seen.append(label)
        inputs.append(x)
        return x

    for dropout in (0.0, 0.25, 1.0):
        denoising_loss(
            branch,
            linear_schedule(),
            torch.zeros(4000, 1, 1),
            conditioning=torch.zeros(4000, 0, 1),
            mask=torch.ones(1),
            generator=seeded(3),
            label=torch.full((4000,), 2),
            label_dropout=dropout,
        )
    shares = [(label == 0).float().mean().item() for label in seen]
    assert shares[0] == 0.0
    assert shares[1] == pytest.approx(0.25, abs=0.03)
    assert shares[2] == 1.0
    assert set(seen[1].tolist()) == {0, 2}
    assert torch.equal(inputs[0], inputs[2])


# ------------------------------------------------------------------------------------ samplers


@settings(max_examples=30)
@given(schedule=st.sampled_from(SCHEDULES), t=st.integers(1, 500), x0=st.floats(-3.0, 3.0))
def test_ddim_with_eta_one_is_the_ddpm_step(schedule: Schedule, t: int, x0: float) -> None:
    x_t, clean = torch.tensor([-1.0, 0.3, 2.0]).double(), torch.full((3,), x0).double()
    mean, variance = ddpm_posterior(schedule, x_t, clean, t)
    other, same = ddim_step(schedule, x_t, clean, t, before=t - 1, eta=1.0)
    assert torch.allclose(mean, other, rtol=1e-9, atol=1e-9)
    assert variance == pytest.approx(same, rel=1e-9, abs=1e-15)


def test_the_ddpm_step_is_bayes_rule() -> None:
    """q(x_{t-1} | x_t, x_0) as the product of N(√ᾱ_{t-1} x_0, 1−ᾱ_{t-1}) and N(x_t/√α, β/α)."""
    schedule, t, x0, x_t = linear_schedule(), 123, 0.7, -0.4
    now, before = schedule.alphas_bar[t], schedule.alphas_bar[t - 1]
    alpha = now / before
    one, two = 1.0 / (1.0 - before), alpha / (1.0 - alpha)  # precisions
    expected = (one * math.sqrt(before) * x0 + two * x_t / math.sqrt(alpha)) / (one + two)
    mean, variance = ddpm_posterior(schedule, torch.tensor(x_t).double(), torch.tensor(x0), t)
    assert mean.item() == pytest.approx(expected, rel=1e-6)
    assert variance == pytest.approx(1.0 / (one + two), rel=1e-9)


def test_both_samplers_draw_the_gaussian_they_were_given() -> None:
    """DDIM on all steps with η = 1 has DDPM's statistics, and both those of the closed form."""
    schedule, count = linear_schedule(), 20_000
    start = torch.randn((count, 1), generator=seeded(4), dtype=torch.float64)

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return gaussian_denoiser(schedule, x_t, t)

    ddpm = sample_ddpm(denoise, schedule, start, generator=seeded(5))
    every = even_timesteps(500, 500)
    ddim = sample_ddim(denoise, schedule, start, timesteps=every, eta=1.0, generator=seeded(6))
    mean, std = exact_moments(schedule, 1.0)
    assert (mean, std) == pytest.approx((MEAN, STD), abs=0.02)  # what is left of T = 500 steps
    for drawn in (ddpm, ddim):
        assert drawn.mean().item() == pytest.approx(mean, abs=4 * std / count**0.5)
        assert drawn.std().item() == pytest.approx(std, rel=4 / (2 * count) ** 0.5)
        assert torch.quantile(drawn, 0.975).item() == pytest.approx(mean + 1.96 * std, abs=0.05)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_deterministic_ddim_maps_quantile_to_quantile(schedule: Schedule) -> None:
    start = torch.tensor([[-2.0], [0.0], [1.0]], dtype=torch.float64)
    drawn = sample_ddim(
        lambda x_t, t: gaussian_denoiser(schedule, x_t, t),
        schedule,
        start,
        timesteps=even_timesteps(500, 500),
    )
    mean, std = exact_moments(schedule, 0.0)
    assert torch.allclose(drawn, mean + std * start, atol=1e-9)
    # x_T is drawn without the signal that the schedule leaves there.
    left = float(schedule.signal(500))
    assert (mean, std) == pytest.approx((MEAN, STD), abs=0.02 + left * MEAN)


def test_a_few_steps_reconstruct_a_slightly_noised_signal() -> None:
    schedule = linear_schedule()
    x0 = torch.linspace(-1.0, 1.0, 50)[:, None].double()
    noise = torch.randn(x0.shape, generator=seeded(7), dtype=torch.float64)
    start = noised(schedule, x0, noise, torch.full((50,), 40))
    found = sample_ddim(lambda _x, _t: x0, schedule, start, timesteps=even_timesteps(40, 4))
    assert torch.allclose(found, x0, atol=1e-12)


def test_noise_stays_where_the_sensor_sees() -> None:
    mask = torch.tensor([1.0, 0.0])
    start = torch.randn((8, 2), generator=seeded(8)) * mask

    def denoise(x_t: Tensor, t: Tensor) -> Tensor:
        return 0.5 * x_t

    schedule = linear_schedule(20)
    ddpm = sample_ddpm(denoise, schedule, start, generator=seeded(9), mask=mask)
    ddim = sample_ddim(
        denoise, schedule, start, timesteps=(20, 7), eta=0.5, generator=seeded(9), mask=mask
    )
    for drawn in (ddpm, ddim):
        assert torch.all(drawn[:, 1] == 0.0)
        assert torch.all(drawn[:, 0] != 0.0)


@given(steps=st.integers(1, 600), data=st.data())
def test_even_timesteps_fall_from_the_last_and_are_all_different(
    steps: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, steps))
    found = even_timesteps(steps, count)
    assert len(found) == count
    assert found[0] == steps
    assert found[-1] >= 1
    assert all(a > b for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("timesteps", "eta"),
    [
        ((), 0.0),
        ((5, 5), 0.0),
        ((3, 5), 0.0),
        ((501,), 0.0),
        ((5, 0), 0.0),
        ((5,), 1.0),
        ((5,), 2.0),
    ],
)
def test_wrong_timesteps_or_noise_are_refused(timesteps: tuple[int, ...], eta: float) -> None:
    with pytest.raises(UsageError):
        sample_ddim(
            lambda x, _t: x, linear_schedule(), torch.zeros(1, 1), timesteps=timesteps, eta=eta
        )
    with pytest.raises(UsageError, match="timesteps of"):
        even_timesteps(10, 11)


# ------------------------------------------------------------------------------------ guidance


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_guidance_extrapolates_from_no_class_to_the_class(objective: Objective) -> None:
    """A branch whose x̂_0 is the class number: guidance s gives s times it."""
    schedule = linear_schedule()
    label = torch.tensor([0, 1, 3])

    def branch(inputs: Tensor, t: Tensor, given: Tensor) -> Tensor:
        x_t, x0 = inputs[:, :1], given.double().view(-1, 1, 1).expand(-1, 1, 4)
        return target(objective, schedule, x0, noise_from("x0", schedule, x_t, x0, t), t)

    x_t = torch.randn((3, 1, 4), generator=seeded(10), dtype=torch.float64)
    for scale in (0.0, 1.0, 2.5):
        denoise = branch_denoiser(
            branch,
            schedule,
            conditioning=torch.zeros(3, 1, 4),
            mask=torch.ones(1),
            objective=objective,
            label=label,
            guidance=scale,
        )
        found = denoise(x_t, torch.full((3,), 200))
        assert torch.allclose(found, scale * label.view(3, 1, 1).expand(3, 1, 4).double())


def test_the_denoiser_of_a_branch_masks_and_limits_the_clean_signal() -> None:
    def branch(inputs: Tensor, t: Tensor) -> Tensor:
        assert inputs.shape == (2, 3, 4)
        return 10.0 * inputs[:, :1]

    mask = torch.tensor([1.0, 1.0, 0.0, 1.0])
    denoise = branch_denoiser(
        branch,
        linear_schedule(),
        conditioning=torch.zeros(1, 2, 4),
        mask=mask,
        objective="x0",
        limit=3.0,
    )
    found = denoise(torch.tensor([[[0.1, -5.0, 5.0, 5.0]]] * 2), torch.tensor([5, 5]))
    assert torch.equal(found[0, 0], torch.tensor([1.0, -3.0, 0.0, 3.0]))


@pytest.mark.parametrize("options", [{"guidance": 2.0}, {"guidance": math.nan}, {"limit": 0.0}])
def test_guidance_without_labels_or_out_of_range_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        branch_denoiser(
            lambda x, _t: x,
            linear_schedule(),
            conditioning=torch.zeros(1, 0, 1),
            mask=torch.ones(1),
            **options,  # type: ignore[arg-type]  # the numbers
        )


def test_a_class_conditional_branch_learns_to_generate_its_classes() -> None:
    """Two mirrored signals: trained with dropped labels, sampled with guidance."""
    config = BranchConfig(
        axes=1, in_channels=1, out_channels=1, patch=1, widths=(16,), heads=1, classes=2
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        branch = UNet(config)
    schedule = shifted_cosine_schedule(50)
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-2)
    none, ones = torch.zeros(32, 0, 4), torch.ones(1)
    shape = torch.tensor([1.0, -1.0, -0.5, 0.5])
    for step in range(150):
        label = torch.randint(1, 3, (32,), generator=seeded(step))
        x0 = (2.0 * label - 3.0).view(32, 1, 1) * shape
        loss = denoising_loss(
            branch,
            schedule,
            x0,
            conditioning=none,
            mask=ones,
            generator=seeded(1000 + step),
            label=label,
            label_dropout=0.15,
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    wanted = torch.tensor([1, 2]).repeat(16)
    denoise = branch_denoiser(
        branch, schedule, conditioning=none, mask=ones, label=wanted, guidance=1.5, limit=1.5
    )
    start = torch.randn((32, 1, 4), generator=seeded(5))
    drawn = sample_ddim(denoise, schedule, start, timesteps=even_timesteps(50, 10))
    found = 1 + ((drawn * shape).sum(dim=(1, 2)) > 0.0).long()
    assert (found == wanted).float().mean().item() > 0.9
