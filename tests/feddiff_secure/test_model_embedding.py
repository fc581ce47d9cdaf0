"""The spectral embedding: public, closed in the row, and good at telling materials apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from feddiff_secure.data.simulate.neighbourhoods import class_batch
from feddiff_secure.errors import DataError
from feddiff_secure.model import embedding as embedding_module
from feddiff_secure.model.descriptors import hsi_descriptor
from feddiff_secure.model.embedding import (
    INPUTS,
    OUTPUTS,
    embedding_inputs,
    load_embedding,
    save_embedding,
    shipped_embedding,
)
from feddiff_secure.model.wavelengths import resampling

Rows = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    path = tmp_path / "embedding.safetensors"
    found = shipped_embedding()
    assert save_embedding(path, found.layers, found.provenance) == found.digest
    return path


def spectra(count: int, bands: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).random((count, bands), dtype=np.float32)


def nearest_class_share(rows: Rows, classes: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    """Share of rows whose class mean, over the other rows of the class, is the nearest mean."""
    one_hot = np.eye(classes.max() + 1)[classes]
    count, total = one_hot.sum(axis=0), one_hot.T @ rows
    right = []
    for row, own in zip(rows, classes, strict=True):
        sums, counts = total.copy(), count.copy()
        sums[own] -= row
        counts[own] -= 1
        distance = np.square(sums / counts[:, None] - row).sum(axis=1)
        right.append(distance.argmin() == own)
    return float(np.mean(right))


@settings(max_examples=15, deadline=None)
@given(bands=st.integers(1, 400), count=st.integers(1, 300))
def test_any_sensor_gives_unit_rows_that_depend_on_one_spectrum_alone(
    bands: int, count: int
) -> None:
    embed, sampling = shipped_embedding(), resampling(bands, None)
    rows = spectra(count, bands)
    whole = embed(rows, sampling)
    assert whole.shape == (count, OUTPUTS)
    assert whole.dtype == np.float32
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(embed(rows[::-1], sampling), whole[::-1])
    assert np.array_equal(embed(rows[-1:], sampling), whole[-1:])


def test_the_numpy_layers_are_the_trained_network() -> None:
    sampling, rows = resampling(72, None), spectra(20, 72)
    values = torch.from_numpy(embedding_inputs(rows, sampling))
    layers = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in shipped_embedding().layers]
    for weight, bias in layers[:-1]:
        values = torch.nn.functional.gelu(values @ weight.T + bias)
    expected = torch.nn.functional.normalize(values @ layers[-1][0].T + layers[-1][1], dim=1)
    assert np.allclose(shipped_embedding()(rows, sampling), expected.numpy(), atol=1e-4)


def test_the_inputs_are_spectrum_coverage_and_level_for_short_and_long_sensors() -> None:
    for bands, last in ((72, 1000.0), (200, 2450.0)):
        sampling = resampling(bands, tuple(np.linspace(400.0, last, bands)))
        rows = spectra(3, bands)
        found = embedding_inputs(rows, sampling)
        assert found.shape == (3, INPUTS)
        points = sampling.covered.size
        assert np.array_equal(found[0, 128 : 128 + points], sampling.covered)
        assert np.all(found[:, points:128] == 0.0)
        assert np.all(found[:, 128 + points : 256] == 0.0)
        assert np.allclose(found[:, 256], np.tanh(2.0 * rows.mean(axis=1)), atol=1e-6)


@pytest.mark.parametrize(("bands", "last"), [(72, 1000.0), (160, 2450.0)])
def test_unseen_materials_are_told_apart_better_than_by_the_dct(bands: int, last: float) -> None:
    at = np.linspace(400.0, last, bands)
    found, classes = class_batch(np.random.default_rng(20_000_000), 60, 8, at)
    rows = found.astype(np.float32)
    embedded = shipped_embedding()(rows, resampling(bands, tuple(at)))
    ours = nearest_class_share(embedded, classes)
    assert ours > nearest_class_share(hsi_descriptor(rows), classes) + 0.1


def test_class_batches_follow_their_generator_and_hold_every_class() -> None:
    at = np.linspace(400.0, 1000.0, 30)
    one, classes = class_batch(np.random.default_rng(1), 9, 4, at)
    two, _ = class_batch(np.random.default_rng(1), 9, 4, at)
    other, _ = class_batch(np.random.default_rng(2), 9, 4, at)
    assert one.shape == (36, 30)
    assert np.array_equal(one, two)
    assert not np.allclose(one, other)
    assert np.array_equal(np.bincount(classes), np.full(9, 4))
    assert np.all(np.isfinite(one))


def rewrite(path: Path, change: str) -> None:
    """Spoil one thing in an embedding file."""
    tensors = load_file(path)
    metadata = {embedding_module.FORMAT: "a test"}
    match change:
        case "missing tensor":
            del tensors["bias.2"]
        case "extra tensor":
            tensors["weight.3"] = np.zeros(1, dtype=np.float32)
        case "other shape":
            tensors["bias.0"] = np.zeros(3, dtype=np.float32)
        case "other type":
            tensors["bias.0"] = tensors["bias.0"].astype(np.float64)
        case "not finite":
            tensors["bias.1"] = np.full_like(tensors["bias.1"], np.nan)
        case "other version":
            metadata = {"feddiff-secure embedding 2": "a test"}
        case "extra metadata":
            metadata["more"] = "1"
    save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("missing tensor", "bias.2"),
        ("extra tensor", "weight.3"),
        ("other shape", "bias.0"),
        ("other type", "bias.0"),
        ("not finite", "bias.1"),
        ("other version", "metadata"),
        ("extra metadata", "metadata"),
    ],
)
def test_a_tampered_embedding_is_refused(shipped: Path, change: str, named: str) -> None:
    rewrite(shipped, change)
    with pytest.raises(DataError, match=named):
        load_embedding(shipped)


def test_an_untampered_rewrite_is_accepted(shipped: Path) -> None:
    rewrite(shipped, "nothing")
    assert load_embedding(shipped).provenance == "a test"


def test_a_file_that_is_missing_cut_nested_or_too_large_is_refused(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot read"):
        load_embedding(tmp_path / "absent")
    whole = shipped.read_bytes()
    for spoilt in (whole[:-4], b"", b"\xff" * 64, json.dumps({"a": 1}).encode()):
        shipped.write_bytes(spoilt)
        with pytest.raises(DataError, match="not a safetensors file"):
            load_embedding(shipped)
    monkeypatch.setattr(embedding_module, "MAX_EMBEDDING_BYTES", 1000)
    shipped.write_bytes(whole)
    with pytest.raises(DataError, match="1000 bytes at most"):
        load_embedding(shipped)
