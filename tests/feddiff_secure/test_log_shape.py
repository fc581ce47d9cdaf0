"""The log shape: closed in the row, blind to gain, white within simulated classes, and strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.fft import dct

from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.layout import ModalityLayout, SensorLayout
from feddiff_secure.data.simulate.neighbourhoods import class_batch
from feddiff_secure.errors import DataError
from feddiff_secure.federation.run import default_features
from feddiff_secure.model import log_shape as log_shape_module
from feddiff_secure.model.kernels import KERNELS, kinds_of
from feddiff_secure.model.log_shape import (
    GRIDS_NM,
    LOG_SHAPE_OUTPUTS,
    grid_of,
    load_log_shape,
    log_coefficients,
    save_log_shape,
    shipped_log_shape,
)
from feddiff_secure.model.psi import FeatureMap
from scripts.make_log_shape import whitening
from tests.support.random_tiles import block

Rows = np.ndarray[Any, np.dtype[np.float32]]


def wavelengths(last_nm: float, bands: int = 40) -> tuple[float, ...]:
    return tuple(float(w) for w in np.linspace(400.0, last_nm, bands))


def layout(last_nm: float, bands: int = 40) -> SensorLayout:
    names = tuple(f"band {i}" for i in range(bands))
    hsi = ModalityLayout("hsi", names, wavelengths(last_nm, bands))
    return SensorLayout((hsi, ModalityLayout("lidar", ("dsm",))))


def spectra(count: int, bands: int, seed: int = 0) -> Rows:
    drawn = np.random.default_rng(seed).random((count, bands), dtype=np.float32)
    return np.asarray(0.05 + 0.9 * drawn, dtype=np.float32)


@settings(max_examples=15, deadline=None)
@given(bands=st.integers(1, 400), count=st.integers(1, 300))
def test_a_row_depends_on_one_spectrum_alone(bands: int, count: int) -> None:
    rows, shape = spectra(count, bands), shipped_log_shape()
    found = shape(rows, None)
    assert found.shape == (count, LOG_SHAPE_OUTPUTS)
    assert np.all(np.isfinite(found))
    assert np.array_equal(found[:1], shape(rows[:1], None))
    assert np.array_equal(found[count // 2 :], shape(rows[count // 2 :], None))


@pytest.mark.parametrize(("last_nm", "grid"), [(1000.0, "near"), (2500.0, "full")])
def test_the_coefficients_are_those_of_a_cosine_transform_of_the_logarithm(
    last_nm: float, grid: str
) -> None:
    at = GRIDS_NM[grid]
    assert at[-1] == last_nm
    rows = spectra(6, at.size)
    logs = np.log(rows.astype(np.float64))
    logs -= logs.mean(axis=1, keepdims=True)
    direct = dct(logs, norm="ortho", axis=1)[:, :48] * 2 / np.sqrt(at.size)
    found = log_coefficients(rows, tuple(float(w) for w in at))
    assert np.allclose(found, direct, atol=1e-5)
    whitened = shipped_log_shape()(rows, tuple(float(w) for w in at))
    assert np.allclose(whitened[:, :-1], direct @ shipped_log_shape().matrices[grid], atol=1e-3)


@pytest.mark.parametrize("last_nm", [1000.0, 2500.0])
def test_a_gain_common_to_all_bands_changes_the_level_alone(last_nm: float) -> None:
    rows, at = spectra(5, 40), wavelengths(last_nm)
    dim, bright = (shipped_log_shape()(rows * np.float32(gain), at) for gain in (0.5, 1.0))
    assert np.allclose(dim[:, :-1], bright[:, :-1], atol=1e-4)
    assert np.allclose(bright[:, -1], 2 * dim[:, -1])


def test_values_at_and_below_zero_are_finite_and_dark_bands_count_alike() -> None:
    rows = spectra(1, 40)
    at = wavelengths(2500.0)
    floors = []
    for value in (-5.0, 0.0, 1e-3):
        rows[0, 3] = value
        floors.append(shipped_log_shape()(rows, at)[0, :-1])
    assert np.array_equal(floors[0], floors[1])
    assert np.array_equal(floors[1], floors[2])


@pytest.mark.parametrize("grid", sorted(GRIDS_NM))
def test_within_a_simulated_class_the_well_lit_directions_vary_alike(grid: str) -> None:
    """Classes that the matrices were not computed from; before, variances span five decades."""
    at = GRIDS_NM[grid]
    given = tuple(float(w) for w in at)
    drawn, classes = class_batch(np.random.default_rng(99), 40, 50, at)
    drawn = drawn.astype(np.float32)
    means = np.eye(40)[classes]
    spread = {}
    for name, rows in (
        ("plain", log_coefficients(drawn, given)[:, 1:]),
        ("white", shipped_log_shape()(drawn, given)[:, :-1]),
    ):
        centre = means.T @ rows / 50
        variances = np.linalg.eigvalsh(np.cov((rows - centre[classes]).T))
        spread[name] = variances[-1] / np.median(variances)
    assert spread["plain"] > 100
    assert spread["white"] < spread["plain"] / 10
    total = shipped_log_shape()(drawn, given)[:, :-1].var(axis=0).sum()
    assert 0.3 < total < 3.0


def test_the_shipped_matrices_are_what_the_script_computes() -> None:
    """Up to the signs and rotations that an eigenvector may have: products are compared."""
    shipped = shipped_log_shape().matrices["near"].astype(np.float64)
    again = whitening(GRIDS_NM["near"], 0, 40).astype(np.float64)
    assert np.allclose(shipped @ shipped.T, again @ again.T, rtol=1e-3, atol=1e-3)


def test_sensors_are_put_on_the_grid_that_they_see() -> None:
    assert grid_of(40, wavelengths(2500.0)) == "full"
    assert grid_of(40, wavelengths(1000.0)) == "near"
    assert grid_of(40, None) == "near"


def test_fine_spectra_have_their_parts_and_leave_those_of_robust_as_they_are() -> None:
    near, far = (kinds_of(layout(last), 4, learned=True, spectra="fine") for last in (1e3, 2.5e3))
    hsi = [("hsi", source) for source in ("embedding", "diffusion", "log-shape")]
    assert [kind for kind in near if kind[0] == "hsi"] == hsi
    assert [kind for kind in far if kind[0] == "hsi"] == hsi[1:]
    assert list(KERNELS)[-1] == ("hsi", "log-shape")  # a part's seed is its place
    robust = FeatureMap.public(layout(1e3), tile=1, seed=3)
    fine = FeatureMap.public(layout(1e3), tile=1, seed=3, spectra="fine")
    drawn = {(part.modality, part.source): part.projection.digest for part in fine.parts}
    drawn.pop(("hsi", "log-shape"))
    assert drawn == {(part.modality, part.source): part.projection.digest for part in robust.parts}
    assert "log_shape" not in robust.to_dict()


def test_without_networks_spectra_are_described_by_their_transform() -> None:
    found = kinds_of(layout(2.5e3), 1, learned=False, spectra="fine")
    assert found == kinds_of(layout(2.5e3), 1, learned=False)


@pytest.mark.parametrize("last_nm", [1000.0, 2500.0])
def test_a_map_of_fine_spectra_reads_back_has_norm_one_and_names_its_file(last_nm: float) -> None:
    config = RunConfig(spectra="fine", epsilon=float("inf"))
    features = default_features(config, layout(last_nm), 2)
    again = FeatureMap.from_dict(json.loads(json.dumps(features.to_dict())))
    assert again.to_dict() == features.to_dict()
    assert any(shipped_log_shape().digest[:16] in line for line in features.provenance)
    tiles = block(3, 2, bands=40, channels=1)
    psi = np.concatenate(list(features.psi(tiles).values()), axis=1)
    assert np.allclose(np.linalg.norm(psi, axis=1), 1.0, atol=1e-4)
    assert np.array_equal(psi, np.concatenate(list(again.psi(tiles).values()), axis=1))


def test_a_model_of_other_matrices_is_refused() -> None:
    fields = FeatureMap.public(layout(2500.0), tile=1, spectra="fine").to_dict()
    fields["log_shape"] = "0" * 64
    with pytest.raises(DataError, match="log_shape is not what this installation has"):
        FeatureMap.from_dict(fields)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("missing", "near"),
        ("extra", "more"),
        ("shape", "full"),
        ("not finite", "full"),
        ("version", "metadata"),
        ("nothing", None),
    ],
)
def test_a_tampered_file_is_refused(tmp_path: Path, change: str, named: str | None) -> None:
    path = tmp_path / "log_shape.safetensors"
    shipped = shipped_log_shape()
    assert save_log_shape(path, shipped.matrices, shipped.provenance) == shipped.digest
    tensors: dict[str, Any] = dict(shipped.matrices)
    metadata = {log_shape_module.FORMAT: "a test"}
    match change:
        case "missing":
            del tensors["near"]
        case "extra":
            tensors["more"] = np.zeros(1, dtype=np.float32)
        case "shape":
            tensors["full"] = np.zeros((48, 47), dtype=np.float32)
        case "not finite":
            tensors["full"] = np.full((48, 48), np.inf, dtype=np.float32)
        case "version":
            metadata = {"feddiff-secure log shape 2": "a test"}
    save_file(tensors, path, metadata=metadata)
    if named is None:
        assert load_log_shape(path).provenance == "a test"
        return
    with pytest.raises(DataError, match=named):
        load_log_shape(path)


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"\0" * (log_shape_module.MAX_LOG_SHAPE_BYTES + 1))
    with pytest.raises(DataError, match="at most"):
        load_log_shape(path)
