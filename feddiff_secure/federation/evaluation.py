"""What a trained model is applied to and how well it does: test labels and maps.

It reads data without noise: of the simulation, or of a public test file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.federation.examples import (
    Described,
    Describer,
    part_of,
    predicted_labels,
    steps,
)
from feddiff_secure.federation.prepare import Prepared
from feddiff_secure.federation.progress import Progress
from feddiff_secure.model.model_file import Model
from feddiff_secure.model.psi import FeatureMap


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """What the trained model is applied to.

    Attributes:
        test: the tiles that the metrics are computed on.
        mapped: the tiles that the maps are painted from.
    """

    test: Described
    mapped: list[Described]

    def again(self, test: Described, owners: Sequence[Described]) -> Evaluated:
        """The same tiles, described anew."""
        tested = any(part is self.test for part in self.mapped)
        return Evaluated(test, [*owners, test] if tested else list(owners))


def describe_parts(
    features: FeatureMap, prepared: Prepared, progress: Progress, describer: Describer
) -> tuple[list[Described], Evaluated]:
    """Descriptors of the owners' tiles, and of what is evaluated.

    In split the ground is described once, with both modalities, and each owner takes its part.
    """
    whole = prepared.owners if prepared.ground is None else [prepared.ground]
    parts = [*whole, prepared.test]
    progress.stage("features", sum(steps(tiles) for tiles in parts))
    *trained, test = [describer(features, tiles, progress) for tiles in parts]
    owners = trained
    if prepared.ground is not None:
        owners = [part_of(trained[0], tiles) for tiles in prepared.owners]
    return owners, Evaluated(test, [*trained, test] if prepared.test_is_part else trained)


def tested_labels(
    model: Model, described: Described
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """True and predicted labels of the labelled test pixels."""
    predicted = predicted_labels(model.features, model.weights, described)
    true = [block.label for block in described.tiles]
    flat_true = np.concatenate([part.ravel() for part in true])
    flat_predicted = np.concatenate([part.ravel() for part in predicted])
    labelled = flat_true > 0
    return flat_true[labelled], flat_predicted[labelled]


def painted(model: Model, described: Sequence[Described]) -> list[NDArray[np.int16]]:
    """Predicted labels put back where their pixels came from."""
    whole: list[NDArray[np.int16]] | None = None
    for part in described:
        values = predicted_labels(model.features, model.weights, part)
        maps = part.tiles.paint(values, np.int16(0))
        whole = (
            maps
            if whole is None
            else [np.where(new > 0, new, old) for new, old in zip(maps, whole, strict=True)]
        )
    assert whole is not None
    return whole
