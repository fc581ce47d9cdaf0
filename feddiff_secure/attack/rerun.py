"""A recorded run, read back strictly, and its data brought to where training begins."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feddiff_crypto.randomness import SecureRandom
from feddiff_privacy.clipping import TileExamples
from feddiff_secure.config.load import load_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.federation.examples import blocks_of, describe, labelled_examples, steps
from feddiff_secure.federation.plan import Plan
from feddiff_secure.federation.plan_making import make_plan
from feddiff_secure.federation.prepare import prepare
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run import default_features
from feddiff_secure.model.psi import FeatureMap

MOST_STATEMENT_BYTES = 1 << 22
_SESSION_BYTES = 16
_SAME = 1e-6  # relative: noise multipliers of one plan made twice


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """What a run directory claims.

    Attributes:
        directory: where it lies.
        config: its configuration, with the data's path as given now.
        epsilon: claimed ε of the calibrated row; `inf` for a non-private run.
        delta: claimed δ.
        noise_multiplier: facing the calibrated row; 0 without noise.
    """

    directory: Path
    config: RunConfig
    epsilon: float
    delta: float
    noise_multiplier: float


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The data of a run, ready to be trained on.

    Attributes:
        owners: name → labelled tiles, in roster order.
        tile: side of a tile, pixels.
        classes: K. features: ψ.
    """

    owners: Mapping[str, TileExamples]
    tile: int
    classes: int
    features: FeatureMap

    def plan(self, config: RunConfig) -> Plan:
        """A plan for this data with a session of its own."""
        return make_plan(
            config,
            session=SecureRandom().random_bytes(_SESSION_BYTES),
            owners=tuple(self.owners),
            tile=self.tile,
            classes=self.classes,
            features=sum(self.features.widths.values()),
            hsi_features=self.features.widths.get("hsi"),
            blocks=blocks_of(self.features, config),
        )


def read_run(directory: Path, data: str | None = None) -> RecordedRun:
    """Read `config.toml` and the claims of `privacy.json`.

    Args:
        directory: a finished run directory.
        data: where the run's data file lies now; None for where it lay.

    Raises:
        UsageError: no run directory, a configuration that was edited, or one with `prior dp`.
        DataError: a statement that is missing, too large or wrong.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "give the --out directory of a run")
    overrides = {} if data is None else {"data": data}
    config = load_config(directory / "config.toml", overrides)
    if config.adapts:
        raise UsageError(
            "attacks on a run with prior dp: canaries are given as features, and its features "
            "changed while it ran",
            "attack a run with --prior simulated; audit verify covers this one",
        )
    path = directory / "privacy.json"
    fields = _statement(path)
    epsilon = _number(path, fields, "epsilon", 0.0, 1e6, nullable=not config.is_private)
    nothing = config.profile == "paper"  # claims no δ either
    return RecordedRun(
        directory=directory,
        config=config,
        epsilon=math.inf if epsilon is None else epsilon,
        delta=_number(path, fields, "delta", 0.0, 1.0, nullable=nothing) or config.delta,
        noise_multiplier=_number(path, fields, "noise_multiplier", 0.0, 1e9) or 0.0,
    )


def load_material(config: RunConfig, progress: Progress) -> Material:
    """Read, cut, deal and describe the data as the run did.

    Raises:
        DataError, UsageError: data that cannot be run.
    """
    prepared = prepare(config)
    features = default_features(config, prepared.dataset.layout, prepared.tile)
    progress.stage("features", sum(steps(tiles) for tiles in prepared.owners))
    owners = {
        name: labelled_examples(features, describe(features, tiles, progress))
        for name, tiles in zip(prepared.names, prepared.owners, strict=True)
    }
    return Material(
        owners=owners,
        tile=prepared.tile,
        classes=len(prepared.dataset.classes),
        features=features,
    )


def same_plan(run: RecordedRun, material: Material) -> Plan:
    """The run's plan, made again.

    An encrypted run is repeated in masked mode: the sums are the same bit for bit, and the row that
    ε is calibrated to does not count on encryption.

    Raises:
        DataError: its noise is not the recorded one: other data, or another version.
    """
    plan = material.plan(run.config)
    if not math.isclose(plan.noise_multiplier, run.noise_multiplier, rel_tol=_SAME):
        raise DataError(
            f"{run.directory / 'privacy.json'}: noise_multiplier is {run.noise_multiplier:g}, the "
            f"same configuration gives {plan.noise_multiplier:g} here",
            "audit with the version that made the run, and with the same data",
        )
    if plan.aggregation == "encrypted":
        return replace(plan, aggregation="masked", custodian=None)
    return plan


def _statement(path: Path) -> dict[str, Any]:
    hint = "give a finished run directory"
    try:
        if path.stat().st_size > MOST_STATEMENT_BYTES:
            raise DataError(f"{path}: larger than {MOST_STATEMENT_BYTES} bytes", hint)
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}", hint) from error
    if not isinstance(fields, dict):
        raise DataError(f"{path}: not a JSON object", hint)
    return fields


def _number(
    path: Path,
    fields: Mapping[str, Any],
    name: str,
    low: float,
    high: float,
    *,
    nullable: bool = False,
) -> float | None:
    value = fields.get(name)
    if value is None and nullable and name in fields:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise DataError(
            f"{path}: {name} is {str(value)[:40]!r}, not a number from {low:g} to {high:g}",
            "give a finished run directory whose statement was not edited",
        )
    return float(value)
