"""Scenes refuse what does not fit, and layouts tell sensors apart by naming the field."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from feddiff_secure.data.layout import ModalityLayout, SensorLayout
from feddiff_secure.data.scaling import SATURATING, Scaling
from feddiff_secure.data.scene import Dataset, Modality, Scene
from feddiff_secure.errors import DataError

HSI = ModalityLayout("hsi", ("a", "b"), (400.0, 500.0))
LIDAR = ModalityLayout("lidar", ("height",))
BOTH = SensorLayout((HSI, LIDAR))


def scene(**changes: Any) -> Scene:
    fields: dict[str, Any] = {
        "modalities": {"lidar": Modality("lidar", np.zeros((1, 3, 4), np.float32), ("height",))},
        "label": np.ones((3, 4), dtype=np.int16),
        "classes": ("grass",),
        **changes,
    }
    return Scene(**fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": {}}, "holds no modality"),
        ({"label": np.ones((4, 3), np.int16)}, "label has shape"),
        ({"label": np.ones((3, 4), np.int32)}, "not int16"),
        ({"label": np.ones(12, np.int16)}, "labels of shape|label has shape"),
        ({"label": np.full((3, 4), 2, np.int16)}, r"labels 2\.\.2 leave 0\.\.1"),
        ({"classes": ("grass", "grass")}, "occurs twice"),
        ({"classes": tuple(f"c{n}" for n in range(1001))}, "1001 classes exceed 1000"),
        ({"region": np.ones((3, 3), np.int32)}, "region"),
        ({"region": np.full((3, 4), -1, np.int32)}, "region"),
        ({"group": -1}, "group -1"),
        ({"site": "a\nb"}, "unprintable"),
        ({"transform": (1.0, 0.0, 0.0, 2.0, 0.0, 0.0)}, "invertible"),
        ({"name": ""}, "name of 0"),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scene(**changes)


def test_a_value_that_is_not_finite_is_refused_and_counted() -> None:
    values = np.zeros((1, 3, 4), np.float32)
    values[0, 0, :2] = np.nan
    with pytest.raises(DataError, match="lidar: 2 of 12 values"):
        Modality("lidar", values, ("height",))


def test_a_data_set_is_scenes_or_a_table_of_one_layout() -> None:
    other = {"lidar": Modality("lidar", np.zeros((1, 3, 4), np.float32), ("intensity",))}
    with pytest.raises(DataError, match="needs scenes or a table"):
        Dataset()
    with pytest.raises(DataError, match="channel 'intensity', expected 'height'"):
        Dataset(scenes=(scene(), scene(modalities=other)))
    with pytest.raises(DataError, match="class names differ"):
        Dataset(scenes=(scene(), scene(classes=("road",))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ("a", "b", "c"), "wavelengths_nm": None}, "3 channels, expected 2"),
        ({"channels": ("a", "x")}, "channel 'x', expected 'b'"),
        ({"wavelengths_nm": None}, "one side only"),
        ({"wavelengths_nm": (400.0, 501.0)}, "differ by up to 1.00 nm"),
        ({"support": "neighbourhood"}, "support neighbourhood, expected pixel"),
        ({"scaling": "saturating"}, "scaling saturating, expected factor"),
    ],
)
def test_a_layout_that_differs_is_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        BOTH.check_same(SensorLayout((replace(HSI, **changes), LIDAR)), "test.h5")


def test_a_missing_modality_is_accepted_only_where_it_is_allowed() -> None:
    alone = SensorLayout((LIDAR,))
    BOTH.check_same(alone, "test.h5", allow_missing=True)
    with pytest.raises(DataError, match=r"holds lidar, expected hsi\+lidar"):
        BOTH.check_same(alone, "test.h5")
    with pytest.raises(DataError, match="expected lidar"):
        alone.check_same(BOTH, "test.h5", allow_missing=True)


def test_a_layout_comes_back_from_json() -> None:
    assert SensorLayout.from_dict(json.loads(json.dumps(BOTH.to_dict()))) == BOTH
    canonical = json.dumps(BOTH.to_dict()).replace("400.0", "400")
    assert SensorLayout.from_dict(json.loads(canonical)) == BOTH


@pytest.mark.parametrize(
    "change",
    [
        {"name": "radar"},
        {"channels": "ab"},
        {"channels": []},
        {"channels": [1, 2]},
        {"wavelengths_nm": ["400", "500"]},
        {"wavelengths_nm": [True, 500.0]},
        {"wavelengths_nm": [500.0, 400.0]},
        {"support": "patch"},
        {"scaling": None},
        {"extra": 1},
    ],
)
def test_a_damaged_layout_is_refused(change: dict[str, Any]) -> None:
    fields = BOTH.to_dict()
    fields["modalities"][0] |= change
    with pytest.raises(DataError):
        SensorLayout.from_dict(fields)
    with pytest.raises(DataError):
        SensorLayout.from_dict({"modalities": list(reversed(BOTH.to_dict()["modalities"]))})


def test_the_saturating_map_is_bounded_monotone_and_odd() -> None:
    raw = np.linspace(-1e5, 1e5, 10_001)
    mapped = SATURATING.apply(raw)
    assert np.abs(mapped).max() < 1.0
    assert (np.diff(mapped) > 0).all()
    assert np.allclose(mapped, -mapped[::-1], atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_finite_and_positive_is_a_caller_error(factor: float) -> None:
    with pytest.raises(ValueError, match="finite and positive"):
        Scaling((factor,))
