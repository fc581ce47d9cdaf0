"""A branch that is told the class draws it, and the measure notices when it is not told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from feddiff_secure.errors import UsageError
from feddiff_secure.model.branch_config import BranchConfig
from feddiff_secure.model.consistency import class_consistency
from feddiff_secure.model.diffusion import denoising_loss
from feddiff_secure.model.generation import generated_spectra
from feddiff_secure.model.inputs import hsi_conditioning
from feddiff_secure.model.prior import Prior, load_prior
from feddiff_secure.model.quality import Values
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.unet import UNet
from feddiff_secure.model.wavelengths import resampling, standardise

BANDS, CLASSES = 40, 3
SAMPLING = resampling(BANDS, None)
Labels = NDArray[np.int64]


def real_spectra(rng: np.random.Generator, label: Labels) -> NDArray[np.float32]:
    """Standardised spectra of classes that are waves of different lengths."""
    at = np.linspace(0.0, 2.0 * np.pi, BANDS)
    phase = rng.normal(0.0, 0.2, (len(label), 1))
    waves = 0.4 + 0.2 * np.sin(label[:, None] * at + phase)
    noisy = waves + 0.01 * rng.normal(size=waves.shape)
    return standardise(noisy.astype(np.float32), SAMPLING)


def predict_by_real_means() -> Callable[[Values], Labels]:
    """A classifier trained on real data: the nearest of its class means."""
    rng = np.random.default_rng(5)
    means = np.stack([real_spectra(rng, np.full(50, k)).mean(axis=0) for k in (1, 2, 3)])

    def predict(samples: Values) -> Labels:
        apart = np.linalg.norm(samples[:, None] - means[None], axis=2)
        return np.asarray(apart.argmin(axis=1) + 1, dtype=np.int64)

    return predict


@pytest.fixture(scope="module")
def prior() -> Prior:
    """A tiny branch, trained for seconds on the three classes."""
    torch.set_num_threads(1)
    config = BranchConfig(1, 3, 1, patch=4, widths=(16, 16), classes=CLASSES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        branch = UNet(config)
    optimiser = torch.optim.Adam(branch.parameters(), lr=3e-3)
    condition = torch.from_numpy(hsi_conditioning(SAMPLING)).expand(64, -1, -1)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    for _ in range(150):
        label = rng.integers(1, CLASSES + 1, 64)
        loss = denoising_loss(
            branch,
            linear_schedule(),
            torch.from_numpy(real_spectra(rng, label)[:, None]),
            conditioning=condition,
            mask=condition[:, :1],
            generator=generator,
            label=torch.from_numpy(label),
            label_dropout=0.15,
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimiser.step()
    return Prior("hsi", branch.eval().requires_grad_(False), "", "simulated, for a test")


def drawn(prior: Prior, label: Labels, guidance: float) -> NDArray[np.float32]:
    generator = torch.Generator().manual_seed(1)
    return generated_spectra(
        prior,
        len(label),
        SAMPLING,
        steps=10,
        generator=generator,
        label=label,
        guidance=guidance,
    )


def test_samples_follow_the_class_and_guidance_zero_ignores_it(prior: Prior) -> None:
    predict, asked = predict_by_real_means(), np.repeat([1, 2, 3], 30)
    real = class_consistency(predict, real_spectra(np.random.default_rng(9), asked), asked)
    told = class_consistency(predict, drawn(prior, asked, 1.0), asked)
    ignored = class_consistency(predict, drawn(prior, asked, 0.0), asked)
    assert real.overall > 0.98
    assert told.overall > 0.9
    assert min(told.by_class.values()) > 0.8
    assert ignored.overall < 0.6
    shuffled = np.random.default_rng(2).permutation(asked)
    again = class_consistency(predict, drawn(prior, asked, 1.0), shuffled)
    assert again.overall == pytest.approx(again.chance, abs=0.2)


def test_a_label_counts_in_every_batch_of_a_long_draw(prior: Prior) -> None:
    asked = np.repeat([1, 2, 3], 100)  # more than one batch of 256
    found = class_consistency(predict_by_real_means(), drawn(prior, asked, 1.0), asked)
    assert found.by_class[3] > 0.8


def test_shares_and_chance_are_those_of_the_counts() -> None:
    asked, answers = np.array([1, 1, 1, 2, 2, 4]), np.array([1, 1, 2, 2, 1, 1])
    found = class_consistency(lambda _: answers, np.zeros((6, 1)), asked)
    assert found.overall == pytest.approx(3 / 6)
    assert found.by_class == {1: pytest.approx(2 / 3), 2: 0.5, 4: 0.0}
    assert found.chance == pytest.approx(3 / 6 * 4 / 6 + 2 / 6 * 2 / 6)


@pytest.mark.parametrize("label", [[0, 4], [-1, 1], [1], [[1], [2]]], ids=str)
def test_labels_that_the_branch_does_not_know_are_refused(prior: Prior, label: list[Any]) -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(UsageError, match="labels of shape"):
        generated_spectra(prior, 2, SAMPLING, steps=2, generator=generator, label=np.array(label))


def test_a_branch_without_classes_takes_no_labels() -> None:
    generator, shipped = torch.Generator().manual_seed(0), load_prior("hsi")
    with pytest.raises(UsageError, match="of a branch of 0 classes"):
        generated_spectra(shipped, 1, SAMPLING, steps=2, generator=generator, label=np.array([1]))
