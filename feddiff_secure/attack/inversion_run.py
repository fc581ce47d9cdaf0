"""Inversion of a recorded run: its exchanged features, or updates of its configuration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from feddiff_privacy.clipping import TileExamples
from feddiff_secure.attack.feature_inversion import invert_features, signal_rows
from feddiff_secure.attack.gradient_inversion import GradientInversion, HeldSpectra
from feddiff_secure.attack.inversion_report import InversionReport
from feddiff_secure.attack.rerun import Material, RecordedRun, same_plan
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.tiles import TileSet
from feddiff_secure.errors import UsageError
from feddiff_secure.federation.examples import describe, labelled_examples, steps
from feddiff_secure.federation.prepare import Prepared, prepare
from feddiff_secure.federation.progress import Progress
from feddiff_secure.federation.run import default_features
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.paper.exchange import FILE_NAME, load_exchange
from feddiff_secure.paper.paper_model_file import load_paper_model

LEAST_ATTEMPTS, MOST_ATTEMPTS = 10, 2000


def inversion_run(
    run: RecordedRun, *, attempts: int, seed: int, progress: Progress
) -> InversionReport:
    """Attack; nothing is written, nothing is charged to a budget.

    Args:
        run: the recorded run, of either profile.
        attempts: tiles to attack, of each kind of observation.
        seed: of targets and candidates; never of keys or noise.
        progress: receives stages and steps.

    Raises:
        UsageError, DataError: numbers, a run or data that cannot be attacked.
        ProtocolAbortedError: a round could not be completed.
    """
    if not LEAST_ATTEMPTS <= attempts <= MOST_ATTEMPTS:
        raise UsageError(
            f"attempts is {attempts}", f"give a number from {LEAST_ATTEMPTS} to {MOST_ATTEMPTS}"
        )
    rng = np.random.default_rng([seed, 7])
    prepared = prepare(run.config)
    if run.config.profile == "paper":
        progress.stage("inversion", 1)
        scores = invert_features(
            prepared,
            load_paper_model(run.directory),
            load_exchange(run.directory / FILE_NAME),
            attempts=attempts,
            rng=rng,
        )
        progress.advance()
    else:
        attack = _gradient_inversion(run, prepared, progress)
        progress.stage("inversion", attempts)
        scores = attack.run(attempts=attempts, rng=rng, progress=progress)
    return InversionReport(run, seed, tuple(scores))


def _gradient_inversion(
    run: RecordedRun, prepared: Prepared, progress: Progress
) -> GradientInversion:
    features = default_features(run.config, prepared.dataset.layout, prepared.tile)
    if "hsi" not in prepared.owners[0].layout.names:
        raise UsageError(
            f"{prepared.names[0]} holds no HSI: there is no spectrum to reconstruct",
            "attack a run whose first owner holds HSI",
        )
    progress.stage("features", sum(steps(tiles) for tiles in prepared.owners))
    held = {
        name: _held(features, tiles, progress)
        for name, tiles in zip(prepared.names, prepared.owners, strict=True)
    }
    widths = features.widths
    material = Material(
        owners={name: one.examples for name, one in held.items()},
        tile=prepared.tile,
        classes=len(prepared.dataset.classes),
        features=features,
    )
    return GradientInversion(
        noised=same_plan(run, material),
        plain=material.plan(_without_noise(run.config)),
        held=held,
        hsi_features=widths["hsi"],
    )


def _without_noise(config: RunConfig) -> RunConfig:
    """The same run in masked mode without noise."""
    return replace(
        config,
        epsilon=math.inf,
        noise=None,
        mechanism="discrete_gaussian",
        aggregation="masked",
        custodian=False,
        clip=config.clip_norm,
        sampling_rate=1.0,
    )


def _held(features: FeatureMap, tiles: TileSet, progress: Progress) -> HeldSpectra:
    """ψ of the labelled pixels, and their spectra in the same order."""
    examples = labelled_examples(features, describe(features, tiles, progress))
    area = [block.height * block.width for block in tiles]
    unit = np.concatenate([np.repeat(b.unit, n) for b, n in zip(tiles, area, strict=True)])
    label = np.concatenate([block.label.reshape(-1) for block in tiles]).astype(np.int64)
    known = np.flatnonzero(label > 0)
    if "hsi" not in tiles.layout.names:
        return HeldSpectra(examples, np.zeros((len(known), 1)))
    spectra = signal_rows(tiles, "hsi")[known]
    # Grouped as ψ was, by the same rule, so that the rows agree.
    grouped = TileExamples.group(spectra, label[known] - 1, unit[known])
    return HeldSpectra(examples, grouped.features)
