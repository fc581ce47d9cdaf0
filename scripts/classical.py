"""Classifiers without federation or privacy, for comparison: SVM and random forest on raw values.

Both see every pixel of every owner in one place. Rows are the channels of both modalities and, in
tiles of more than one pixel, the tile's mean of each (unless left out), so that they have what ψ
has. Columns are standardised by the training rows. Hyper-parameters are chosen by cross-validation
that keeps regions (or groups, or tiles) together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from feddiff_secure.data.tiles import NO_ID, TileBlock, TileSet

FOLDS = 4
MOST_TUNING_ROWS = 3000  # an SVM's cost grows with their square


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled pixels.

    Attributes:
        values: (n, D) float32.
        label: (n,) 1…K.
        together: (n,) what cross-validation may not part.
    """

    values: NDArray[np.float32]
    label: NDArray[np.int64]
    together: NDArray[np.int64]


def labelled_rows(parts: list[TileSet], *, tile_means: bool = True) -> Rows:
    """The labelled pixels of some tiles, both modalities side by side.

    Args:
        parts: the tiles.
        tile_means: whether rows hold the means of their tile too.
    """
    found = [_of_block(block, tile_means) for tiles in parts for block in tiles]
    values, label, together = (np.concatenate(column) for column in zip(*found, strict=True))
    return Rows(values, label, together)


def _of_block(
    block: TileBlock, tile_means: bool
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    area = block.height * block.width
    columns = []
    for values in block.modalities.values():
        pixels = values.reshape(len(block), values.shape[1], area).transpose(0, 2, 1)
        columns.append(pixels.reshape(-1, values.shape[1]))
        if tile_means and area > 1:
            columns.append(np.repeat(pixels.mean(axis=1), area, axis=0))
    label = block.label.reshape(-1).astype(np.int64)
    kept = label > 0
    together = next(
        (ids for ids in (block.region, block.group) if (ids != NO_ID).all()), block.unit
    )
    return (
        np.concatenate(columns, axis=1)[kept].astype(np.float32),
        label[kept],
        np.repeat(together.astype(np.int64), area)[kept],
    )


def svm(train: Rows, test: Rows, seed: int) -> NDArray[np.int64]:
    """Labels by an SVM with a Gaussian kernel; C and γ tuned."""
    width = train.values.shape[1]
    grid = {
        "model__C": [1, 10, 100, 1000],
        "model__gamma": [g / width for g in (0.03, 0.1, 0.3, 1)],
    }
    return _tuned(SVC(cache_size=500), grid, train, test, seed)


def forest(train: Rows, test: Rows, seed: int) -> NDArray[np.int64]:
    """Labels by a random forest; the features tried at a split and the leaves' size tuned."""
    model = RandomForestClassifier(300, random_state=seed, n_jobs=1)
    grid = {"model__max_features": ["sqrt", 0.2], "model__min_samples_leaf": [1, 3]}
    return _tuned(model, grid, train, test, seed)


def _tuned(
    model: Any, grid: Mapping[str, list[Any]], train: Rows, test: Rows, seed: int
) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(train.label))[:MOST_TUNING_ROWS]
    pipeline = Pipeline([("scale", StandardScaler()), ("model", model)])
    search = GridSearchCV(pipeline, dict(grid), cv=GroupKFold(FOLDS), refit=False)
    search.fit(train.values[picked], train.label[picked], groups=train.together[picked])
    pipeline.set_params(**search.best_params_).fit(train.values, train.label)
    return np.asarray(pipeline.predict(test.values), dtype=np.int64)
