"""`--prior PATH`: a public branch of one's own, kept with the model, and never an unproven one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from feddiff_secure.data.hdf5_writer import write_scene
from feddiff_secure.model.prior import load_prior, save_prior, shipped_prior
from scripts.make_tiny_table import tiny_table
from tests.support.command_line import Cli


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.h5"
    write_scene(path, tiny_table(pixels=120, bands=20, seed=0))
    return path


def own_prior(path: Path, provenance: str) -> Path:
    """The shipped HSI branch with other last weights: other features than the shipped ones."""
    branch = load_prior("hsi").branch
    with torch.no_grad():
        for tensor in branch.middle.parameters():
            tensor.mul_(1.5)
    save_prior(path, "hsi", branch, provenance)
    return path


def options(tiny: Path, out: Path, prior: Path) -> list[object]:
    few = ["--rounds", 2, "--delta", 1e-3, "--owners", 2, "--seed", 3]
    return ["run", "--data", tiny, "--out", out, "--epsilon", "inf", "--prior", prior, *few]


def test_a_run_with_an_own_prior_keeps_it_and_predicts_with_it(
    tiny: Path, tmp_path: Path, cli: Cli
) -> None:
    prior = own_prior(tmp_path / "mine.safetensors", "public spectra of a field campaign")
    out = tmp_path / "run"
    code, _, err = cli(*options(tiny, out, prior), "--quiet")
    assert code == 0, err
    kept = out / "prior" / "hsi.safetensors"
    assert kept.read_bytes() == prior.read_bytes()
    prior.unlink()  # the run directory is all that prediction needs
    code, text, err = cli("predict", out, "--data", tiny, "--out", tmp_path / "map.png", "--json")
    assert code == 0, err
    assert json.loads(text)["accuracy"]["oa"] > 0.2
    assert "field campaign" in (out / "privacy.md").read_text()
    assert cli("audit", "verify", out)[0] == 0
    kept.write_bytes(shipped_prior("hsi").read_bytes())
    code, _, err = cli("predict", out, "--data", tiny, "--out", tmp_path / "again.png")
    assert code == 3
    assert "priors" in err
    assert cli("audit", "verify", out)[0] == 6


def test_an_own_prior_gives_another_model(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    prior = own_prior(tmp_path / "mine.safetensors", "public spectra of a field campaign")
    folder = tmp_path / "branches"
    folder.mkdir()
    shutil.copy(shipped_prior("hsi"), folder / "hsi.safetensors")
    for name, choice in (("own", prior), ("copy", folder), ("shipped", "simulated")):
        assert cli(*options(tiny, tmp_path / name, Path(choice)), "--quiet")[0] == 0
    models = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("own", "copy", "shipped")]
    assert models[0] != models[1]
    assert models[1] == models[2]


@pytest.mark.parametrize("provenance", ["", "our own fields", "simulated", "public"])
def test_a_prior_that_does_not_say_what_it_saw_is_refused(
    provenance: str, tiny: Path, tmp_path: Path, cli: Cli
) -> None:
    prior = own_prior(tmp_path / "mine.safetensors", provenance)
    code, _, err = cli(*options(tiny, tmp_path / "run", prior))
    assert code == 2
    assert "provenance" in err
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize("fault", ["missing", "empty folder", "wrong modality", "not a prior"])
def test_a_wrong_prior_is_refused(fault: str, tiny: Path, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "prior"
    if fault != "missing":
        path.mkdir()
    if fault == "wrong modality":
        shutil.copy(shipped_prior("hsi"), path / "lidar.safetensors")
    if fault == "not a prior":
        (path / "hsi.safetensors").write_bytes(b"{}" * 40)
    code, _, err = cli(*options(tiny, tmp_path / "run", path))
    assert code == 3
    assert len(err.strip().splitlines()) == 2
    assert not (tmp_path / "run.partial").exists()
