"""Training checkpoints in safetensors: weights, their average, and Adam's moments. No pickle."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from feddiff_secure.errors import DataError
from feddiff_secure.model.unet import UNet


def save_checkpoint(
    path: Path, branch: UNet, average: UNet, optimiser: torch.optim.Adam, step: int
) -> None:
    """Write everything a run needs to continue after `step` steps; atomic by rename."""
    tensors: dict[str, Tensor] = {"step": torch.tensor([step])}
    for name, parameter in branch.named_parameters():
        state = optimiser.state[parameter]
        tensors[f"branch.{name}"] = parameter.detach()
        tensors[f"first.{name}"] = state["exp_avg"]
        tensors[f"second.{name}"] = state["exp_avg_sq"]
    for name, parameter in average.named_parameters():
        tensors[f"average.{name}"] = parameter.detach()
    partial = path.with_name(path.name + ".partial")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
    partial.replace(path)


@torch.no_grad()
def load_checkpoint(path: Path, branch: UNet, average: UNet, optimiser: torch.optim.Adam) -> int:
    """Restore a checkpoint into the given objects and return its step.

    Raises:
        DataError: the file is not a checkpoint of this branch.
    """
    hint = "delete the checkpoint to start again"
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable checkpoint ({error})", hint) from error
    parts = ("branch", "average", "first", "second")
    shapes = {name: p.shape for name, p in branch.named_parameters()}
    expected = {f"{part}.{name}": shape for name, shape in shapes.items() for part in parts}
    found = {name: tensor.shape for name, tensor in tensors.items() if name != "step"}
    if "step" not in tensors or found != expected:
        raise DataError(f"{path}: tensors differ from this branch's", hint)
    step = int(tensors["step"][0])
    for name, parameter in average.named_parameters():
        parameter.copy_(tensors[f"average.{name}"])
    for name, parameter in branch.named_parameters():
        parameter.copy_(tensors[f"branch.{name}"])
        optimiser.state[parameter] = {
            "step": torch.tensor(float(step)),
            "exp_avg": tensors[f"first.{name}"],
            "exp_avg_sq": tensors[f"second.{name}"],
        }
    return step
