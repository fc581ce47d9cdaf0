"""What the statement says of a run in words: mechanism, sampling, accesses, sources.

Kept beside the code it speaks of, so that a change to a mechanism meets its description.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from feddiff_privacy.events import Event
from feddiff_privacy.statement import ACCOUNTANT, DataAccess, PhaseSampling
from feddiff_secure.federation.plan import Plan

RANDOM_SOURCE = (
    "AES-256-CTR, keyed by the operating system's generator (feddiff_crypto.randomness), for "
    "noise, sampling, keys and masks; the configuration's seed decides partition and projections "
    "only"
)
_LIBRARIES = ("dp-accounting", "opacus", "numpy", "scipy", "cryptography")
_NOISE_NAMES = {"discrete_gaussian": "discrete Gaussian", "skellam": "Skellam"}


def mechanism_in_words(plan: Plan) -> str:
    """One sentence on what a release is."""
    return (
        f"Per release: each tile's summed gradient is clipped to C ({_other_values(plan)}), an "
        "owner's sum is rounded to an "
        f"integer grid, every owner adds a share of {_NOISE_NAMES[plan.mechanism]} noise from the "
        "operating system's randomness, and the shares are summed."
    )


def _other_values(plan: Plan) -> str:
    """What is clipped in the phases before training."""
    mean = "in the phase mean: the mean of its features, to 1"
    if plan.prior is None:
        return mean
    return (
        f"{mean}; in the phase prior: its mean gradient of the diffusion loss, over all its pixels "
        f"and the round's public draws of noise, to {plan.prior.clip:g}"
    )


def accountant_in_words(plan: Plan) -> str:
    """What computes ε of the plan's noise."""
    if plan.mechanism == "skellam":
        return "renyi bound of the Skellam mechanism (arXiv 2110.04995)"
    return ACCOUNTANT


def sampling(plan: Plan, events: Sequence[Event]) -> list[PhaseSampling]:
    """For each phase: what the accountant assumed, and what the owners did."""
    return [
        PhaseSampling(
            phase=event.phase,
            assumed=f"{event.sampler} at rate {event.sampling_rate:g}",
            executed=_executed(plan, event.phase),
        )
        for event in events
    ]


def _executed(plan: Plan, phase: str) -> str:
    sampler = plan.sampler(phase)
    if sampler.kind == "full_batch":
        return "full_batch at rate 1: every tile in every release"
    return (
        f"poisson at rate {sampler.rate:g}: every owner includes each tile independently by its "
        "own secure randomness, never by shuffling; empty batches are released too"
    )


def data_accesses(plan: Plan, priors: Sequence[str]) -> list[DataAccess]:
    """Everything in a run that reads private data, and whether ε covers it."""
    private = plan.noise != "none"
    counted = plan.nominal_tiles is None
    return [
        DataAccess("gradients of the labelled tiles, every attempt", private, "phase train"),
        DataAccess(
            "number of training tiles (denominator, δ check)",
            private or not counted,
            "phase count" if counted else f"not read: {plan.nominal_tiles} is public",
        ),
        *_prior_access(plan, private),
        *_mean_access(plan, private),
        DataAccess("scaling of sensor values", True, "not read: constants of the sensor"),
        DataAccess(
            "frozen features",
            True,
            f"not learnt from the owners{_but_adapted(plan)}: "
            + ("; ".join(priors) or "descriptors alone"),
        ),
        DataAccess(
            "hyper-parameters (clip, rounds, step rule, kernel widths)",
            False,
            "not read by a run: one public rule; tuning them on private data would not be covered",
        ),
        DataAccess("class names, sensor layout, regions of the split", False, "taken as public"),
        DataAccess(
            "test metrics and maps", False, "computed without noise; they stay with the owner"
        ),
    ]


def _prior_access(plan: Plan, private: bool) -> list[DataAccess]:
    if plan.prior is None:
        return []
    what = "gradients of the diffusion loss at all tiles, labelled or not, every attempt"
    return [DataAccess(what, private, "phase prior")]


def _but_adapted(plan: Plan) -> str:
    if plan.prior is None:
        return ""
    return f", but for the {plan.prior.size} numbers of the adapter (phase prior)"


def _mean_access(plan: Plan, private: bool) -> list[DataAccess]:
    if plan.blocks is None:
        return []
    what = "mean of the features over the labelled tiles, and the number of tiles by modality"
    return [DataAccess(what, private, "phase mean")]


def libraries() -> dict[str, str]:
    """Versions of the libraries that computed ε, the noise and the masks."""
    return {name: version(name) for name in _LIBRARIES}
