"""The shipped priors load, denoise better than no prior, and a tampered file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from feddiff_secure.data.simulate.heights import random_height_tiles
from feddiff_secure.data.simulate.spectra import random_spectra
from feddiff_secure.errors import DataError
from feddiff_secure.model import prior as prior_module
from feddiff_secure.model.diffusion import v_loss
from feddiff_secure.model.inputs import hsi_conditioning, lidar_signal
from feddiff_secure.model.prior import load_prior, save_prior, shipped_prior
from feddiff_secure.model.schedule import linear_schedule
from feddiff_secure.model.wavelengths import resampling, standardise


def rewrite(path: Path, target: Path, change: str) -> None:
    """Copy a prior with one thing wrong."""
    tensors = load_file(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    name = sorted(tensors)[0]
    match change:
        case "missing tensor":
            del tensors[name]
        case "extra tensor":
            tensors["extra"] = torch.zeros(1)
        case "other shape":
            tensors[name] = torch.zeros(3, 3)
        case "other type":
            tensors[name] = tensors[name].to(torch.float16)
        case "not finite":
            tensors[name] = torch.full_like(tensors[name], float("nan"))
        case "other version":
            metadata["format"] = "feddiff-secure prior 2"
        case "extra metadata":
            metadata["more"] = "1"
        case "other modality":
            metadata["modality"] = "radar"
        case "swapped modality":
            metadata["modality"] = "hsi"
        case "other config":
            metadata["config"] = metadata["config"].replace('"patch":1', '"patch":2')
    save_file(tensors, target, metadata=metadata)


@pytest.mark.parametrize("modality", ["hsi", "lidar"])
def test_a_shipped_prior_loads_and_is_small(modality: str) -> None:
    loaded = load_prior(modality)
    assert loaded.modality == modality
    assert len(loaded.digest) == 64
    assert "simulated" in loaded.provenance
    assert shipped_prior(modality).stat().st_size <= 8 * 1024 * 1024
    assert not any(parameter.requires_grad for parameter in loaded.branch.parameters())


@pytest.mark.parametrize(
    "change",
    [
        "missing tensor",
        "extra tensor",
        "other shape",
        "other type",
        "not finite",
        "other version",
        "extra metadata",
        "other modality",
        "swapped modality",
        "other config",
    ],
)
def test_a_tampered_prior_is_refused(tmp_path: Path, change: str) -> None:
    target = tmp_path / "prior.safetensors"
    rewrite(shipped_prior("lidar"), target, change)
    with pytest.raises(DataError, match=r"prior\.safetensors"):
        load_prior(target)


def test_an_untampered_copy_is_accepted(tmp_path: Path) -> None:
    target = tmp_path / "prior.safetensors"
    rewrite(shipped_prior("lidar"), target, "nothing")
    assert load_prior(target).modality == "lidar"


def test_a_file_that_is_missing_cut_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot read"):
        load_prior(tmp_path / "absent")
    cut = tmp_path / "cut"
    cut.write_bytes(shipped_prior("lidar").read_bytes()[:-4])
    with pytest.raises(DataError, match="not a safetensors file"):
        load_prior(cut)
    monkeypatch.setattr(prior_module, "MAX_PRIOR_BYTES", 1000)
    with pytest.raises(DataError, match="1000 bytes at most"):
        load_prior("lidar")


def test_a_saved_prior_keeps_its_digest_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "again.safetensors"
    digest = save_prior(path, "lidar", load_prior("lidar").branch, "a test")
    again = load_prior(path)
    assert (again.digest, again.provenance) == (digest, "a test")


@pytest.mark.parametrize("bands", [72, 144, 360, 369])
def test_the_hsi_prior_denoises_spectra_of_any_sensor(bands: int) -> None:
    """Predicting v = 0 would lose about 1, the variance of a standardised spectrum."""
    last = 1000.0 if bands <= 144 else 2450.0
    at = np.linspace(400.0, last, bands)
    sampling = resampling(bands, tuple(at))
    spectra = random_spectra(np.random.default_rng(99), 64, at).astype(np.float32)
    x0 = torch.from_numpy(standardise(spectra, sampling)[:, None])
    condition = torch.from_numpy(np.repeat(hsi_conditioning(sampling)[None], 64, axis=0))
    loss = v_loss(
        load_prior("hsi").branch,
        linear_schedule(),
        x0,
        conditioning=condition,
        mask=condition[:, :1],
        generator=torch.Generator().manual_seed(0),
    )
    assert loss.item() < 0.35


@pytest.mark.parametrize(("side", "share"), [(1, 0.9), (4, 0.7), (16, 0.6)])
def test_the_lidar_prior_denoises_tiles_of_any_side(side: int, share: float) -> None:
    """Below the loss of predicting v = 0; one pixel has no neighbours to learn from."""
    tiles = torch.from_numpy(
        lidar_signal(random_height_tiles(np.random.default_rng(99), 256, side))
    )
    branch = load_prior("lidar").branch

    def loss() -> float:
        return v_loss(
            branch,
            linear_schedule(),
            tiles,
            conditioning=torch.zeros(256, 0, side, side),
            mask=torch.ones(1),
            generator=torch.Generator().manual_seed(0),
        ).item()

    trained = loss()
    handle = branch.register_forward_hook(lambda _m, _i, out: torch.zeros_like(out))
    assert trained < share * loss()
    handle.remove()
