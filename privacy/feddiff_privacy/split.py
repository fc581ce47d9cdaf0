"""How the budget of one plan is divided among its phases: given, or optimised.

Phase i makes T_i releases at sampling rate q_i with noise multiplier z_i. In the full batch it
takes μ_i² = T_i/z_i² of the plan's μ² = Σ μ_i² (Dong, Roth and Su 2022, arXiv
1905.02383), and about T_i·q_i²/z_i² where it samples (their central limit theorem). A *split* is
the fractions f_i of μ² that the phases take. Noise of variance z_i² costs c_i a release, so the
plan costs Σ c_i·z_i² = Σ c_i·T_i·q_i²/(f_i·μ²), which is least at

    f_i = q_i·√(c_i·T_i) / Σ_j q_j·√(c_j·T_j)

(Cauchy and Schwarz). The split decides only the *ratios* of the z_i. The accountant then finds the
one factor on all of them that keeps the joint ε at the target, so an approximate split costs
utility, never privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feddiff_privacy.calibrate import calibrate
from feddiff_privacy.events import Event


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a plan, as its split sees it.

    Attributes:
        name: for people.
        attempts: T, releases; ≥ 1.
        sampling_rate: q in (0, 1].
        cost: c > 0, of one unit of noise variance (in units of the phase's sensitivity²) in all
            of its releases together.
    """

    name: str
    attempts: int
    sampling_rate: float = 1.0
    cost: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.sampling_rate <= 1:
            raise ValueError(f"phase {self.name}: {self.attempts} at rate {self.sampling_rate}")
        if not (math.isfinite(self.cost) and self.cost > 0):
            raise ValueError(f"phase {self.name}: cost must be above 0, got {self.cost}")


@dataclass(frozen=True, slots=True)
class PhasedCalibration:
    """The noise multiplier of every phase, in order, and the joint ε in [0.99, 1] of the target."""

    noise_multipliers: tuple[float, ...]
    epsilon: float


def optimal_split(phases: Sequence[Phase]) -> tuple[float, ...]:
    """The fractions of μ² at which the plan's noise costs least; they sum to 1."""
    weights = [p.sampling_rate * math.sqrt(p.cost * p.attempts) for p in phases]
    return tuple(weight / math.fsum(weights) for weight in weights)


def multiplier_ratios(phases: Sequence[Phase], split: Sequence[float]) -> tuple[float, ...]:
    """z_i up to a common factor: q_i·√(T_i/f_i).

    Raises:
        ValueError: fractions that are not one a phase, above 0 and summing to 1.
    """
    if len(split) != len(phases) or not phases:
        raise ValueError(f"{len(split)} fractions for {len(phases)} phases")
    if not all(f > 0 for f in split) or abs(math.fsum(split) - 1) > 1e-9:
        raise ValueError(f"fractions must be above 0 and sum to 1, got {list(split)}")
    return tuple(
        p.sampling_rate * math.sqrt(p.attempts / f) for p, f in zip(phases, split, strict=True)
    )


def calibrate_phases(
    plan: Callable[[Sequence[float]], Sequence[Event]],
    phases: Sequence[Phase],
    *,
    split: Sequence[float] | None,
    shares: int,
    target: float,
    delta: float,
) -> PhasedCalibration:
    """The least noise of all phases at a split, with their joint ε at the target.

    Args:
        plan: the events of the plan for the noise multipliers of its phases, as the calibrated
            observer faces them.
        phases: in the order in which `plan` takes multipliers.
        split: fractions of μ², or None for `optimal_split`.
        shares: noise shares that observer faces.
        target: ε > 0, finite.
        delta: δ in (0, 1).

    Raises:
        ValueError: a wrong split, target or δ.
        CalibrationError: no noise in the supported range meets the target.
    """
    ratios = multiplier_ratios(phases, optimal_split(phases) if split is None else split)

    def scaled(factor: float) -> tuple[float, ...]:
        return tuple(factor * ratio for ratio in ratios)

    found = calibrate(
        lambda factor: plan(scaled(factor)), shares=shares, target=target, delta=delta
    )
    return PhasedCalibration(scaled(found.noise_multiplier), found.epsilon)
