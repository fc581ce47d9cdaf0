"""The white-box canary audit: a rerun of the real training with canaries in one owner's data.

The adversary is the strongest that the guarantee is stated against. It sees the sum of every
round and the model it was taken at, knows every tile but the canaries, and takes the known ones'
gradients off. Per canary it adds up, over rounds, the inner product of what is left with the
canary's clipped gradient. For full-batch Gaussian releases that is the likelihood ratio test, so
no better score exists: with g_t the clipped gradient and σ the noise,

    score = Σ_t ⟨S_t, g_t⟩ / (σ √Σ_t ‖g_t‖²)    ~ N(0, 1) out,  N(√Σ‖g_t‖² / σ, 1) in,

and the distance is √T·C/σ if the gradient is at the clip in every round: the claim's own μ but for
the rounding allowance of 1 % and the count's 1 % of μ². The count itself is not scored: every
canary adds the same to it. Neither is the mean of ψ, where it is released: a canary is short, so
that release tells little of it.

Where tiles are sampled (rate below 1), the known tiles' gradients are taken off by their
expectation; the scores are then no longer the best, and no longer normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_privacy.attacks.gaussian_estimate import GaussianEstimate, gaussian_estimate
from feddiff_privacy.attacks.gaussian_one_run import gaussian_mu_bound, gaussian_one_run_bound
from feddiff_privacy.attacks.guesses import Guesses, LowerBound, guess, planned_guesses
from feddiff_privacy.attacks.one_run import one_run_bound, one_run_epsilon
from feddiff_privacy.calibrate import target_mu
from feddiff_privacy.clipping import TileExamples
from feddiff_secure.attack.canaries import Canaries
from feddiff_secure.attack.observer import ObservedFederation, View
from feddiff_secure.federation.local_model import split_query
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.round import Attempt
from feddiff_secure.federation.training import train

ALTERNATIVE = 2.0
"""Guesses are planned against a mechanism with this many times the claimed μ: half the noise."""


@dataclass(frozen=True, slots=True, eq=False)
class CanaryScores:
    """What the adversary computed.

    Attributes:
        scores: (m,), in standard deviations of the claimed noise (in units of C without noise).
        included: (m,), the coins.
        view: who colluded and how many noise shares were left.
        signal: (m,), the mean that the score of an included canary has: its clipped gradients'
            total length over the claimed noise.
    """

    scores: NDArray[np.float64]
    included: NDArray[np.bool_]
    view: View
    signal: NDArray[np.float64]

    @property
    def evidence(self) -> NDArray[np.float64]:
        """Log-likelihood ratio of in against out under the claimed noise, (m,)."""
        return self.signal * (self.scores - self.signal / 2)


@dataclass(frozen=True, slots=True)
class CanaryFindings:
    """What the scores show.

    Attributes:
        bounds: lower bounds on ε, each on its own.
        estimate: by the normal model; an estimate, not a bound. None without noise.
        noise_ratio: deviation of the scores that are out over the claimed noise: 1 is honest,
            1/2 is half the noise. None without noise.
        gradient_ratio: mean gap of scores in and out over the gap that clipped gradients make: 1
            is honest, above 1 is a clip that does not hold.
    """

    bounds: tuple[LowerBound, ...]
    estimate: GaussianEstimate | None
    noise_ratio: float | None
    gradient_ratio: float


def canary_scores(
    plan: Plan,
    owners: Mapping[str, TileExamples],
    *,
    canaries: int,
    rng: np.random.Generator,
    progress: Progress,
) -> CanaryScores:
    """Train once with canaries in the first owner's data and score them.

    Args:
        plan: the plan of the recorded run (with a session of its own).
        owners: name → labelled tiles, in roster order.
        canaries: m.
        rng: of canaries and coins; keys, noise and sampling are the operating system's.
        progress: receives one step a round.

    Raises:
        UsageError: more canaries than orthogonal directions, or fewer than 20.
        ProtocolAbortedError: a round could not be completed.
    """
    drawn = Canaries.draw(
        canaries,
        classes=plan.classes,
        features=plan.features,
        clip=plan.clip,
        rng=rng,
        blocks=plan.blocks,
    )
    federation = ObservedFederation.of(plan, owners, drawn)
    view = federation.view
    inner = np.zeros(canaries)
    squares = np.zeros(canaries)

    def observe(attempt: Attempt, total: NDArray[np.int64]) -> None:
        shown = split_query(attempt.weights, plan)
        unknown = federation.released(total, attempt.weights)
        trained = drawn.centred(shown.centre, plan.blocks)
        products, lengths = trained.project(shown.weights, plan.clip, unknown)
        inner[:] += products
        squares[:] += lengths

    train(
        federation.exchange,
        federation.registry,
        plan,
        check_count=lambda _tiles: None,  # nothing of a rerun is published
        log=lambda _line: None,
        progress=progress,
        on_sum=observe,
    )
    noise = plan.train_share_std * math.sqrt(view.shares) / plan.scale or plan.clip
    length = np.sqrt(np.maximum(squares, 1e-300))
    return CanaryScores(inner / (length * noise), drawn.included, view, length / noise)


def assess(
    found: CanaryScores, *, claimed: float, delta: float, sampling_rate: float
) -> CanaryFindings:
    """Bounds and estimate from scores.

    Args:
        found: the scores.
        claimed: the ε that the run states, or `inf`; it only decides how many guesses are made.
        delta: δ.
        sampling_rate: below 1 the Gaussian bound is left out, because the claim's trade-off curve
            is then not a Gaussian's.
    """
    m = len(found.scores)
    against = ALTERNATIVE * target_mu(claimed, delta) if math.isfinite(claimed) else math.inf

    def guesses(shown: Callable[[Guesses], float]) -> Guesses:
        return guess(found.evidence, found.included, planned_guesses(m, against, shown))

    bounds = [one_run_bound(guesses(lambda g: one_run_epsilon(g, delta)), delta)]
    if sampling_rate == 1:
        bounds.append(gaussian_one_run_bound(guesses(gaussian_mu_bound), delta))
    outside, inside = found.scores[~found.included], found.scores[found.included]
    expected = sampling_rate * float(found.signal[found.included].mean())
    noisy = found.view.shares > 0
    return CanaryFindings(
        bounds=tuple(bounds),
        estimate=gaussian_estimate(found.scores, found.included, delta) if noisy else None,
        noise_ratio=float(outside.std(ddof=1)) if noisy else None,
        gradient_ratio=float(inside.mean() - outside.mean()) / expected,
    )
