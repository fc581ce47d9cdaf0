"""The features' own pass through a spectral branch gives the branch's numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from feddiff_secure.errors import UsageError
from feddiff_secure.model.branch_config import PRIOR_BRANCHES, BranchConfig
from feddiff_secure.model.features import FeatureSettings, hsi_features
from feddiff_secure.model.inputs import hsi_conditioning
from feddiff_secure.model.prior import Prior, load_prior
from feddiff_secure.model.projection import public_normal
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.spectral_pass import SpectralReader
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import resampling, standardise

SMALL = BranchConfig(axes=1, in_channels=3, out_channels=1, patch=4, widths=(16, 24, 16))
CONFIGS = {
    "shipped shape": PRIOR_BRANCHES["hsi"],
    "one level": dataclasses.replace(SMALL, widths=(16,)),
    "no patches": dataclasses.replace(SMALL, patch=1, widths=(8, 16)),
    "all parts": dataclasses.replace(SMALL, token_interaction=True, frequency_parser=True),
}
STEPS = (5, 300)


def random_branch(config: BranchConfig) -> UNet:
    """No part of it is a no-op."""
    branch = UNet(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in branch.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return branch.eval().requires_grad_(False)


def stages_of_the_branch(branch: UNet, x: Tensor, t: int) -> list[Tensor]:
    time = branch.time(torch.full((len(x),), t))
    levels = branch.encode(x, time)
    return [levels[-1].flatten(1), branch.decode(levels, time)[-1].flatten(1)]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("points", [96, 128, 100, 36])  # 25 and 9 tokens are halved unevenly
@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_pass_gives_the_activations_of_the_branch(name: str, points: int) -> None:
    branch = random_branch(CONFIGS[name])
    generator = torch.Generator().manual_seed(1)
    mask = (torch.rand((1, points), generator=generator) < 0.8).float()
    conditioning = torch.cat([mask, torch.linspace(-1.0, 1.0, points)[None]])
    noise = torch.randn((2, 1, points), generator=generator)
    x0 = torch.randn((5, 1, points), generator=generator) * mask
    schedule = linear_schedule()
    reader = SpectralReader(branch, schedule, STEPS, noise, conditioning)
    clean = reader.clean(x0)
    for step, t in enumerate(STEPS):
        for draw in range(2):
            x_t = float(schedule.signal(t)) * x0 + float(schedule.noise(t)) * noise[draw]
            x = torch.cat([x_t * mask, conditioning.expand(5, 2, points)], dim=1)
            expected = stages_of_the_branch(branch, x, t)
            found = list(reader.stages(clean, step, draw))
            for one, other in zip(found, expected, strict=True):
                assert relative(one, other) < 1e-5


def features_by_definition(
    prior: Prior, x0: Tensor, conditioning: Tensor, settings: FeatureSettings
) -> Tensor:
    """The definition of a diffusion feature, spelt out in float64 but for the branch."""
    schedule, total = linear_schedule(), torch.zeros(1)
    noise = public_normal((settings.seed, 1), (settings.draws, *x0.shape[1:])).astype(np.float32)
    given = conditioning.expand(len(x0), *conditioning.shape)
    for step, t in enumerate(settings.timesteps):
        means: list[Tensor] = []
        for draw in torch.from_numpy(noise):
            x_t = float(schedule.signal(t)) * x0 + float(schedule.noise(t)) * draw
            x = torch.cat([x_t * conditioning[:1], given], dim=1)
            rows = [r.double() for r in stages_of_the_branch(prior.branch, x, t)]
            centred = [r - r.mean(dim=1, keepdim=True) for r in rows]
            scaled = [c / (c.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() for c in centred]
            means = [a + b for a, b in zip(means, scaled, strict=True)] if means else scaled
        for stage, mean in enumerate(means):
            width = mean.shape[1]
            projection = public_normal((settings.seed, 2, step, stage), (width, 64))
            total = total + mean / len(noise) @ torch.from_numpy(projection) / width**0.5
    return total / total.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("bands", [(72, 1000.0), (200, 2400.0)])
def test_hsi_features_are_what_their_definition_says(bands: tuple[int, float]) -> None:
    prior = load_prior("hsi")
    settings = FeatureSettings(timesteps=(50, 300), draws=2, seed=3)
    sampling = resampling(bands[0], tuple(np.linspace(420.0, bands[1], bands[0])))
    spectra = np.random.default_rng(0).random((20, bands[0]), dtype=np.float32)
    x0 = torch.from_numpy(standardise(spectra, sampling)[:, None])
    conditioning = torch.from_numpy(hsi_conditioning(sampling))
    expected = features_by_definition(prior, x0, conditioning, settings)
    found = hsi_features(prior, spectra, sampling, settings)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


@pytest.mark.parametrize(
    "change", [{"in_channels": 4}, {"axes": 2, "patch": 1, "widths": (8,)}], ids=str
)
def test_a_branch_that_does_not_fit_the_conditioning_is_refused(change: dict[str, int]) -> None:
    branch = UNet(dataclasses.replace(SMALL, **change))
    noise, conditioning = torch.zeros((1, 1, 96)), torch.ones((2, 96))
    with pytest.raises(UsageError, match="a branch of"):
        SpectralReader(branch, linear_schedule(), STEPS, noise, conditioning)
