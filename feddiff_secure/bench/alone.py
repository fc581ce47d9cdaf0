"""Training without a federation: one holder with its tiles, all noise its own.

What a federation is compared with: an owner that trains alone at the same ε, and one trusted holder
of everybody's tiles. The releases, the noise and the update rule are those of a run; only the sum
has one contribution and nothing is masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.accountant import epsilon
from feddiff_privacy.clipping import TileExamples, clipped_mean_sum, clipped_sum
from feddiff_secure.aggregation.centring import centred, folded, released_centre
from feddiff_secure.aggregation.contribution import contribution
from feddiff_secure.aggregation.update import Iterates, UpdateRule
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.step_size import update_rule

Array = NDArray[np.float64]


def train_alone(plan: Plan, examples: TileExamples, random: SecureRandom) -> Array:
    """The weights (K, D) that one holder learns by itself.

    Args:
        plan: of `paired` topology with `local` noise, or none: one contribution then carries all
            the noise that its ε needs, and the plan's other owners do not take part.
        examples: the holder's labelled tiles.
        random: secure randomness for noise and sampling.

    Raises:
        ValueError: a plan of other noise or topology.
    """
    if plan.noise == "distributed" or plan.topology != "paired":
        raise ValueError(f"one holder cannot train by {plan.noise} noise, {plan.topology}")
    tiles = plan.nominal_tiles
    if tiles is None:
        counted = _released(plan, "count", np.array([float(examples.tiles)]), random)
        tiles = max(1, int(counted[0]))
    centre = None
    if plan.blocks is not None:
        total = _released(plan, "mean", clipped_mean_sum(examples), random)
        noise = np.full(plan.features, plan.share("mean"))
        centre = released_centre(total, plan.blocks, plan.grid("mean").scale, noise)
        examples = examples.with_features(centred(examples.features, centre, plan.blocks))
    iterates = Iterates(_rule(plan, tiles), np.zeros((plan.classes, plan.features)))
    for _ in range(plan.rounds):
        sampled = plan.sampler("train").draw(examples.tiles, random)
        value = clipped_sum(examples, iterates.query, plan.clip, sampled).ravel()
        iterates.apply(_released(plan, "train", value, random))
    weights = iterates.model()
    if centre is None or plan.blocks is None:
        return weights
    return folded(weights, centre, plan.blocks)


def epsilon_alone(plan: Plan) -> float | None:
    """ε of such a training towards whoever gets the model; None without noise."""
    if plan.epsilon is None:
        return None
    return epsilon(plan.events(), shares=1, delta=plan.delta)


def together(parts: Iterator[TileExamples]) -> TileExamples:
    """The tiles of several owners as those of one holder; each stays a tile of its own."""
    held = [part for part in parts if part.tiles]
    sizes = [np.diff(np.append(part.starts, len(part.labels))) for part in held]
    number = np.cumsum([0, *(part.tiles for part in held)])
    return TileExamples.group(
        np.concatenate([part.features for part in held]),
        np.concatenate([part.labels for part in held]),
        np.concatenate(
            [
                np.repeat(np.arange(part.tiles) + first, size)
                for part, first, size in zip(held, number, sizes, strict=False)
            ]
        ),
    )


def _rule(plan: Plan, tiles: int) -> UpdateRule:
    """The public rule at the noise of one share, which is all that is in the sum."""
    return update_rule(
        replace(plan, noise_multiplier=plan.noise_multiplier / plan.noise_factor), tiles
    )


def _released(plan: Plan, phase: str, value: Array, random: SecureRandom) -> NDArray[np.int64]:
    made = contribution(
        value,
        plan.grid(phase),
        coordinate_bound=plan.coordinate_bound(phase),
        share_std=plan.share(phase),
        mechanism=plan.mechanism,
        source=random,
        rounding=plan.rounding,
    )
    return plan.grid(phase).ring.from_ring(made.vector)
