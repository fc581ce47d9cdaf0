"""Public priors: diffusion branches shipped as safetensors files, loaded strictly.

A prior file holds the float32 tensors of one `UNet` and four metadata strings: `format` (version),
`modality`, `config` (the branch's shape, canonical JSON) and `provenance` (what it was trained
on). A file with a missing, extra, misshapen or non-finite tensor is refused; so is one over the
size limit. The SHA-256 of the file identifies the prior in configurations and models.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from feddiff_secure.config.adaptation import DP
from feddiff_secure.errors import DataError
from feddiff_secure.model.branch_config import PRIOR_BRANCHES, BranchConfig

if TYPE_CHECKING:
    from torch import Tensor

    from feddiff_secure.model.unet import UNet

FORMAT = "feddiff-secure prior 1"
MAX_PRIOR_BYTES = 8 * 1024 * 1024
SIMULATED = "simulated"
FOLDER = "prior"
"""Where a run directory keeps the branches that are not the shipped ones."""
_METADATA_KEYS = {"format", "modality", "config", "provenance"}
_HINT = "use the shipped prior (`simulated`) or a file written by scripts/make_prior.py"


@dataclass(frozen=True)
class Prior:
    """A frozen, public diffusion branch.

    Attributes:
        modality: "hsi" or "lidar".
        branch: the network in evaluation mode, without gradients.
        digest: SHA-256 of the file, hexadecimal.
        provenance: what the file says it was trained on (a statement, not verified here).
    """

    modality: str
    branch: UNet
    digest: str
    provenance: str


def save_prior(path: Path, modality: str, branch: UNet, provenance: str) -> str:
    """Write a branch as a prior file and return the SHA-256 of the file; atomic by rename."""
    from safetensors.torch import save  # noqa: PLC0415 - torch is loaded only where it is needed

    data = save(
        {name: tensor.detach().contiguous() for name, tensor in branch.state_dict().items()},
        metadata={
            "format": FORMAT,
            "modality": modality,
            "config": branch.config.to_json(),
            "provenance": provenance,
        },
    )
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    load_prior(partial)  # it must read back before it counts as written
    partial.replace(path)
    return hashlib.sha256(data).hexdigest()


def shipped_prior(modality: str) -> Path:
    """Where the package keeps its own prior of a modality ("hsi" or "lidar").

    Raises:
        DataError: the installation lacks the file.
    """
    found = resources.files("feddiff_secure.model") / "priors" / f"{modality}.safetensors"
    path = Path(str(found))
    if modality not in PRIOR_BRANCHES or not path.is_file():
        raise DataError(f"no shipped prior for {modality!r}", "reinstall feddiff-secure")
    return path


def load_prior(name_or_path: str | Path) -> Prior:
    """Load a prior: "hsi" or "lidar" for the shipped ones, else the path of a file.

    Raises:
        DataError: missing, too large, not safetensors, unknown format version, or any tensor
            that is not exactly the one its config asks for.
    """
    shipped = isinstance(name_or_path, str) and name_or_path in PRIOR_BRANCHES
    path = shipped_prior(str(name_or_path)) if shipped else Path(name_or_path)
    data = _read(path)
    metadata, tensors = _parse(path, data)
    config = BranchConfig.from_json(metadata["config"])
    if metadata["modality"] not in PRIOR_BRANCHES:
        raise DataError(f"{path}: unknown modality {metadata['modality']!r}", _HINT)
    if config.axes != PRIOR_BRANCHES[metadata["modality"]].axes:
        raise DataError(f"{path}: a {metadata['modality']} prior cannot have its axes", _HINT)
    return Prior(
        modality=metadata["modality"],
        branch=_build(path, config, tensors),
        digest=hashlib.sha256(data).hexdigest(),
        provenance=metadata["provenance"],
    )


def prior_files(choice: str | Path) -> dict[str, Path]:
    """The files of a choice of prior, by modality; none for the shipped branches.

    Args:
        choice: `simulated`, `dp` (which begins with the shipped branches), a prior file, or a
            folder with `hsi.safetensors`, `lidar.safetensors` or both; the modality that it lacks
            keeps the shipped branch.

    Raises:
        DataError: neither a prior file nor a folder with one.
    """
    if choice in {SIMULATED, DP}:
        return {}
    path = Path(choice)
    if path.is_dir():
        found = {name: path / f"{name}.safetensors" for name in PRIOR_BRANCHES}
        found = {name: file for name, file in found.items() if file.is_file()}
        if not found:
            raise DataError(f"prior: {path} holds no hsi.safetensors or lidar.safetensors", _HINT)
        return found
    return {load_prior(path).modality: path}


def chosen_priors(choice: str | Path) -> dict[str, Prior]:
    """The branches of a choice of prior, by modality; none for the shipped ones.

    Raises:
        DataError: as `prior_files` and `load_prior`, or a file of the other modality.
    """
    found = {}
    for modality, path in prior_files(choice).items():
        prior = load_prior(path)
        if prior.modality != modality:
            raise DataError(f"{path}: a prior of {prior.modality}, not {modality}", _HINT)
        found[modality] = prior
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PRIOR_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot read the prior ({error.strerror})", _HINT) from error
    if len(data) > MAX_PRIOR_BYTES:
        raise DataError(f"{path}: a prior may have {MAX_PRIOR_BYTES} bytes at most", _HINT)
    return data


def _parse(path: Path, data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    import json  # noqa: PLC0415

    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load  # noqa: PLC0415

    try:
        tensors = load(data)  # checks the header against the data's length
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file ({error})", _HINT) from error
    if set(metadata) != _METADATA_KEYS or metadata["format"] != FORMAT:
        raise DataError(f"{path}: its metadata is not that of {FORMAT!r}", _HINT)
    return metadata, tensors


def _build(path: Path, config: BranchConfig, tensors: dict[str, Tensor]) -> UNet:
    import torch  # noqa: PLC0415

    from feddiff_secure.model.unet import UNet  # noqa: PLC0415

    with torch.device("meta"):
        branch = UNet(config)
    expected = branch.state_dict()
    if set(expected) != set(tensors):
        odd = sorted(set(expected) ^ set(tensors))[0]
        raise DataError(f"{path}: tensor {odd!r} is missing or unexpected", _HINT)
    for name, wanted in expected.items():
        given = tensors[name]
        if given.shape != wanted.shape or given.dtype != torch.float32:
            raise DataError(f"{path}: tensor {name!r} must be float32 {tuple(wanted.shape)}", _HINT)
        if not bool(torch.isfinite(given).all()):
            raise DataError(f"{path}: tensor {name!r} is not finite", _HINT)
    branch.load_state_dict(tensors, assign=True)  # no random initialisation is ever drawn
    return branch.eval().requires_grad_(False)
