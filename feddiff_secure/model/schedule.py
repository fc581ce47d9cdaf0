"""Noise schedules of the forward diffusion, computed in float64.

A schedule of T steps gives ᾱ_t for t = 0…T with ᾱ_0 = 1 (no noise): x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε
(Ho et al., arXiv 2006.11239, eq. 4). v-prediction: v = √ᾱ_t ε − √(1−ᾱ_t) x_0 (Salimans and Ho,
arXiv 2202.00512, appendix D).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from feddiff_secure.errors import UsageError

STEPS = 500


@dataclass(frozen=True)
class Schedule:
    """The cumulative signal share ᾱ of every step.

    Attributes:
        alphas_bar: (T + 1,) float64, strictly decreasing from 1 at t = 0, positive.
    """

    alphas_bar: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.alphas_bar[0] != 1.0 or np.any(np.diff(self.alphas_bar) >= 0.0):
            raise UsageError(
                "a noise schedule must start at 1 and decrease strictly",
                "use linear_schedule, cosine_schedule or shifted_cosine_schedule",
            )
        if self.alphas_bar[-1] <= 0.0:
            raise UsageError("a noise schedule must stay positive", "use fewer or smaller steps")

    @property
    def steps(self) -> int:
        """T, the number of noising steps."""
        return self.alphas_bar.size - 1

    def signal(self, t: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float64]:
        """√ᾱ_t, the factor of x_0."""
        return np.asarray(np.sqrt(self.alphas_bar[t]))

    def noise(self, t: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float64]:
        """√(1 − ᾱ_t), the factor of ε."""
        return np.asarray(np.sqrt(1.0 - self.alphas_bar[t]))


def linear_schedule(steps: int = STEPS, first: float = 1e-4, last: float = 0.02) -> Schedule:
    """β rising linearly from `first` to `last` (arXiv 2006.11239 section 4; FedDiff's T = 500)."""
    betas = np.linspace(first, last, steps, dtype=np.float64)
    return Schedule(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))


def cosine_schedule(steps: int = STEPS, offset: float = 0.008) -> Schedule:
    """ᾱ_t = cos²((t/T + s)/(1 + s)·π/2), normalised, β capped at 0.999.

    Nichol and Dhariwal, arXiv 2102.09672, eq. 17.
    """
    t = np.arange(steps + 1, dtype=np.float64) / steps
    level = np.square(np.cos((t + offset) / (1.0 + offset) * np.pi / 2.0))
    betas = np.minimum(1.0 - level[1:] / level[:-1], 0.999)
    return Schedule(np.concatenate([[1.0], np.cumprod(1.0 - betas)]))


def shifted_cosine_schedule(
    steps: int = STEPS, shift: float = 0.25, log_snr_limit: float = 15.0
) -> Schedule:
    """The high-noise schedule: the cosine's log SNR, lowered by −2 ln(shift) at every step.

    log SNR_t = −2 ln tan(a + (b − a)·t/T) + 2 ln(shift), with a and b such that the unshifted
    one runs from +limit to −limit (Hoogeboom, Heek and Salimans, arXiv 2301.11093, section 3.1,
    where shift is the ratio of two resolutions). ᾱ_t = sigmoid(log SNR_t): half of the signal's
    power is gone at t/T ≈ 0.15 for the default shift, and ᾱ_T < 1e-7.

    Args:
        steps: T.
        shift: 0 < shift ≤ 1; 1 is the cosine schedule with its ends bounded.
        log_snr_limit: of the unshifted schedule, above 0 and at most 30.

    Raises:
        UsageError: an argument is out of range.
    """
    if steps < 1 or not 0.0 < shift <= 1.0 or not 0.0 < log_snr_limit <= 30.0:
        raise UsageError(
            f"shifted cosine schedule of {steps} steps, shift {shift}, limit {log_snr_limit}",
            "use at least 1 step, a shift in (0, 1] and a limit in (0, 30]",
        )
    ends = np.arctan(np.exp([-0.5 * log_snr_limit, 0.5 * log_snr_limit]))
    angle = np.linspace(ends[0], ends[1], steps + 1, dtype=np.float64)[1:]
    log_snr = -2.0 * np.log(np.tan(angle)) + 2.0 * np.log(shift)
    return Schedule(np.concatenate([[1.0], 1.0 / (1.0 + np.exp(-log_snr))]))
