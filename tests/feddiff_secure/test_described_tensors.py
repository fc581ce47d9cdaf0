"""Model files are read strictly: other metadata, fields, names, shapes or types are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from feddiff_secure.errors import DataError
from feddiff_secure.model.described_tensors import (
    check_classes,
    check_says,
    check_tensors,
    read_described,
)

HINT = "get another"
GOOD: dict[str, Any] = {"format": "f/1", "classes": ["soil", "water"]}
TENSORS = {"a": np.ones((2, 3)), "b": np.zeros(4)}
SHAPES = {"a": (2, 3), "b": (4,)}


def written(folder: Path, described: object = GOOD, **more: str) -> Path:
    path = folder / "m.safetensors"
    text = described if isinstance(described, str) else json.dumps(described)
    save_file(TENSORS, path, metadata={"model": text, **more})
    return path


def read(path: Path, most_bytes: int = 10_000) -> tuple[dict[str, Any], dict[str, Any]]:
    return read_described(path, "model", most_bytes=most_bytes, fields=GOOD.keys(), hint=HINT)


def test_a_file_of_the_form_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = written(tmp_path)
    described, tensors = read(path)
    assert described == GOOD
    check_tensors(tensors, SHAPES, np.float64, path, HINT)
    check_says(described, "format", "f/1", path, HINT)
    assert check_classes(described["classes"], path, HINT) == ("soil", "water")


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ("{", "description is not JSON"),
        ("[" * 100_000, "description is not JSON"),
        ([1], "has other fields"),
        ({"format": "f/1"}, "has other fields"),
        ({**GOOD, "more": 1}, "has other fields"),
    ],
)
def test_another_description_is_refused(tmp_path: Path, described: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(written(tmp_path, described), most_bytes=1_000_000)


def test_other_metadata_another_size_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="metadata"):
        read(written(tmp_path, author="somebody"))
    with pytest.raises(DataError, match="larger than 100 bytes"):
        read(written(tmp_path), most_bytes=100)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none")
    torn = written(tmp_path)
    torn.write_bytes(torn.read_bytes()[:-5])
    with pytest.raises(DataError, match="not a safetensors file"):
        read(torn)


@pytest.mark.parametrize(
    "classes",
    ["soil", [], ["soil", "soil"], ["soil", ""], ["soil", 1], [str(n) for n in range(256)], None],
    ids=str,
)
def test_classes_that_are_not_different_names_are_refused(classes: object) -> None:
    with pytest.raises(DataError, match="not 1 to 255 different names"):
        check_classes(classes, Path("m"), HINT)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a": np.ones((2, 3))}, "'b' is missing or unexpected"),
        ({**TENSORS, "c": np.ones(1)}, "'c' is missing or unexpected"),
        ({**TENSORS, "a": np.ones((3, 2))}, "a is float64"),
        ({**TENSORS, "a": np.ones((2, 3), np.float32)}, "a is float32"),
        ({**TENSORS, "b": np.array([0, 0, np.nan, 0])}, "b has values that are not finite"),
        ({**TENSORS, "b": np.array([0, np.inf, 0, 0])}, "b has values that are not finite"),
    ],
)
def test_other_tensors_are_refused_by_name(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_tensors(changed, SHAPES, np.float64, Path("m"), HINT)


def test_another_format_is_refused_and_named() -> None:
    with pytest.raises(DataError, match="format 'f/2', not 'f/1'"):
        check_says({"format": "f/2"}, "format", "f/1", Path("m"), HINT)
