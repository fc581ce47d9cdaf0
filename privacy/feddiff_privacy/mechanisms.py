"""The noises on offer, by name: the one place where a name becomes a sampler."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.noise import DiscreteGaussian
from feddiff_privacy.randomness import SecureBytes
from feddiff_privacy.skellam import Skellam

Mechanism = Literal["discrete_gaussian", "skellam"]


class NoiseSampler(Protocol):
    """Draws integer noise of a fixed size."""

    def sample(self, size: int, source: SecureBytes) -> NDArray[np.int64]:
        """`size` independent draws, shape (size,)."""
        ...


def noise_sampler(mechanism: Mechanism, std: float) -> NoiseSampler:
    """The sampler of a mechanism with a standard deviation in grid units.

    Raises:
        MechanismError: a standard deviation outside the sampler's range.
    """
    return Skellam(std) if mechanism == "skellam" else DiscreteGaussian(std)
