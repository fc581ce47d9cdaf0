"""The rows behind the published tables: folds that are disjoint, and what the classifiers see."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.data.scene import Dataset
from feddiff_secure.federation.prepare import Prepared, prepare
from scripts.accuracy_table import divided
from scripts.classical import labelled_rows
from scripts.make_tiny_table import tiny_table
from tests.support.topologies import tiny_scene

FOLDS = 3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scene") / "scene.h5"
    write_scene(path, Dataset((tiny_scene(side=32),)))
    return str(path)


def prepared(data: str, folds: int, seed: int = 0) -> list[Prepared]:
    with divided(data, folds, seed) as parts:
        return [
            prepare(RunConfig(data=d, test=t, seed=seed, epsilon=math.inf, tile=2), splitter)
            for d, t, splitter in parts
        ]


def test_a_scene_is_tested_once_over_and_never_on_what_a_model_saw(scene: str) -> None:
    tested = []
    for part in prepared(scene, FOLDS):
        test = set(part.test.units.unit.tolist())
        assert not any(test & set(owner.units.unit.tolist()) for owner in part.owners)
        tested += sorted(test)
    assert len(tested) == len(set(tested)) > 0


def test_a_table_with_regions_is_divided_by_them(tmp_path: Path) -> None:
    path = tmp_path / "table.h5"
    write_scene(path, tiny_table(pixels=240, bands=8, seed=0))
    with divided(str(path), FOLDS, 0) as parts:
        assert all(part.test is not None and part.splitter is None for part in parts)
        assert len(parts) == FOLDS


def test_without_folds_a_run_sets_its_own_test_part_aside(scene: str) -> None:
    with divided(scene, 0, 0) as parts:
        assert [tuple(part) for part in parts] == [(scene, None, None)]


def test_rows_without_tile_means_are_the_pixels_own_values(scene: str) -> None:
    (part,) = prepared(scene, 0)
    own = labelled_rows([part.test], tile_means=False)
    both = labelled_rows([part.test])
    channels = sum(len(entry.channels) for entry in part.dataset.layout.modalities)
    assert own.values.shape[1] == channels
    assert both.values.shape[1] == 2 * channels
    assert np.array_equal(own.label, both.label)
    pixels = {
        row.tobytes()
        for block in part.test
        for row in block.hsi.transpose(0, 2, 3, 1).reshape(-1, block.hsi.shape[1])
    }
    bands = part.dataset.layout.get("hsi")
    assert bands is not None
    assert {row[: len(bands.channels)].tobytes() for row in own.values} <= pixels


def test_a_row_says_its_setting_and_is_made_once(scene: str, tmp_path: Path) -> None:
    done = tmp_path / "rows.jsonl"
    command = [sys.executable, "-m", "scripts.ablation", "--data", scene, "--seeds", "1"]
    command += ["--variants", "raw", "--epsilons", "inf", "--rounds", "2", "--only", "hsi"]
    command += ["--folds", "2", "--done", str(done)]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row = json.loads(first)
    setting = {key: row[key] for key in ("variant", "epsilon", "only", "rounds", "clip", "folds")}
    assert setting == {
        "variant": "raw",
        "epsilon": "inf",
        "only": "hsi",
        "rounds": 2,
        "clip": None,
        "folds": 2,
    }
    done.write_text(first)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
