"""What a run would do, from the same plan it would make; nothing is released, charged or written.

Owners, tiles and the noise are those of the run. Seconds are an estimate: descriptors are timed on
a few of the run's own tiles on this machine, rounds follow from rates of the reference machine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feddiff_crypto.he.parameters import DEGREE, EncryptedPlan
from feddiff_crypto.he.seal_format import SEED_BYTES
from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.ledger.reading import read_ledger
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.federation.adversaries import Adversary, adversaries
from feddiff_secure.federation.examples import adapter_of, blocks_of, steps
from feddiff_secure.federation.ledgers import ledger_errors
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import Prepared, prepare
from feddiff_secure.federation.preprocessing import check_preprocessing
from feddiff_secure.federation.run import (
    SESSION_BYTES,
    check_available,
    check_labelled,
    default_features,
)
from feddiff_secure.model.psi import FeatureMap

_PROBED_PIXELS = 1024  # described to time the rest: one step of `describe`

# Seconds on the reference machine (2 cores), from `python -m benchmarks` (rows round, noise, mask)
# and docs/results.md; an estimate and nothing that a run relies on.
_OWNER_ROUND = 6e-3  # keys, shares and signatures of one owner, one round
_COORDINATE = 4e-8  # noise, rounding and masks, one coordinate of one owner
_GRADIENT = 1.2e-9  # one product of the clipped gradient: labelled pixel × class × feature
_GRADIENT_PASSES = 2.0  # a round of the adapter over the time of the descriptors
_STATEMENT = 2.5  # accounting and its second opinion


@dataclass(frozen=True, slots=True, eq=False)
class Foresight:
    """What a run would do.

    Attributes:
        config: the configuration. prepared: the data, divided.
        plan: the public numbers; None in profile `paper`, which has none.
        adversaries: ε by adversary; empty without a finite ε.
        left: ε that is left in each existing ledger of `--ledger`, None for no limit.
        seconds: estimated, by stage; empty in profile `paper`.
    """

    config: RunConfig
    prepared: Prepared
    plan: Plan | None
    adversaries: list[Adversary]
    left: Mapping[str, float | None]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The object of `run --dry-run --json`."""
        prepared, plan = self.prepared, self.plan
        return {
            "dry_run": True,
            "profile": self.config.profile,
            "deployment": "simulated",
            "owners": list(prepared.names),
            "tiles_by_owner": [steps(tiles) for tiles in prepared.owners],
            "test_tiles": steps(prepared.test),
            "test": prepared.how,
            "tile": prepared.tile,
            "epsilon_target": None if plan is None else plan.epsilon,
            "delta": None if plan is None else plan.delta,
            "noise": "none" if plan is None else plan.noise,
            "noise_multiplier": None if plan is None else plan.noise_multiplier,
            "adversaries": [
                {"name": row.name, "epsilon": row.epsilon, "assumption": row.assumption}
                for row in self.adversaries
            ],
            "rounds": self.config.rounds,
            "releases": None if plan is None else sum(plan.phases.values()),
            "vector_bytes_per_owner": None if plan is None else vector_bytes(plan),
            "ledger_epsilon_left": dict(self.left),
            "estimated_seconds": dict(self.seconds),
        }


def foresee(config: RunConfig) -> Foresight:
    """Make the plan of a run without running it.

    Raises:
        UsageError, DataError: input that a run would refuse.
    """
    check_available(config)
    began = time.perf_counter()
    prepared = prepare(config)
    check_labelled(prepared)
    if config.profile == "paper":
        return Foresight(config, prepared, None, [], {}, {})
    features = default_features(config, prepared.dataset.layout, prepared.tile)
    check_preprocessing(config, prepared.dataset.layout, features.networks)
    plan = make_plan(
        config,
        session=SecureRandom().random_bytes(SESSION_BYTES),
        owners=prepared.names,
        tile=prepared.tile,
        classes=len(prepared.dataset.classes),
        features=sum(features.widths.values()),
        hsi_features=features.widths.get("hsi"),
        blocks=blocks_of(features, config),
        adapter=adapter_of(features),
    )
    rows = [] if plan.epsilon is None else adversaries(plan, plan.events())
    planned = time.perf_counter() - began
    seconds = {"data and plan": planned, **_estimate(plan, prepared, features)}
    return Foresight(config, prepared, plan, rows, _ledgers_left(config, prepared.names), seconds)


def vector_bytes(plan: Plan) -> int:
    """Bytes of the vectors that one owner sends in the whole run, without keys and signatures."""
    return sum(rounds * _vector(plan, phase) for phase, rounds in plan.phases.items())


def _vector(plan: Plan, phase: str) -> int:
    dimension = plan.grid(phase).dimension
    if plan.aggregation != "encrypted":
        return dimension * plan.ring_bits // 8
    chunks = EncryptedPlan(len(plan.owners), dimension).chunks
    if plan.custodian is not None:
        return chunks * 2 * DEGREE * 8  # both polynomials
    return chunks * (DEGREE * 8 + SEED_BYTES)  # one, and the seed of the other


def _estimate(plan: Plan, prepared: Prepared, features: FeatureMap) -> dict[str, float]:
    whole = prepared.owners if prepared.ground is None else [prepared.ground]
    parts = [*whole, prepared.test]
    pixels = sum(block.label.size for tiles in parts for block in tiles)
    labelled = sum(np.count_nonzero(block.label) for tiles in prepared.owners for block in tiles)
    size, owners = plan.classes * plan.features, len(plan.owners)
    a_round = owners * (_OWNER_ROUND + _COORDINATE * size) + _GRADIENT * labelled * size
    described = pixels * _seconds_a_pixel(features, parts)
    adapting = 0 if plan.prior is None else _GRADIENT_PASSES * plan.prior.rounds + 1
    return {
        "features": described,
        "rounds": plan.rounds * a_round + adapting * described,
        "account": 0.0 if plan.epsilon is None else _STATEMENT,
    }


def _seconds_a_pixel(features: FeatureMap, parts: list[TileSet]) -> float:
    """The time of one pixel's descriptors here, from the largest block of the run's tiles."""
    block = max((block for tiles in parts for block in tiles), key=lambda block: block.label.size)
    area = block.height * block.width
    sample = block.take(np.arange(min(len(block), max(1, _PROBED_PIXELS // area))))
    features.describe(sample)  # the first call also loads and warms up
    began = time.perf_counter()
    features.describe(sample)
    return (time.perf_counter() - began) / sample.label.size


def _ledgers_left(config: RunConfig, owners: tuple[str, ...]) -> dict[str, float | None]:
    """What is left in the ledgers that the run would draw on, read without a lock."""
    if config.ledger is None:
        return {}
    with ledger_errors():
        paths = {name: Path(config.ledger) / f"{name}.{config.holding}.jsonl" for name in owners}
        return {name: read_ledger(path).left for name, path in paths.items() if path.exists()}
