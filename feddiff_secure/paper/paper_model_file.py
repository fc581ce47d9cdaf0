"""The model file of the paper profile: strict both ways, and not to be taken for a private model.

Format `feddiff-secure paper model 1`: a safetensors file with one metadata entry, `paper_model`,
the canonical JSON (RFC 8785) of format, guarantee (that there is none), classes, sensor layout,
tile side and the network's shape (widths, timesteps, head_width), and the float32 tensors
`branch.<modality>.<name>`, `range.<modality>.low` and `.high`, and `head.<name>`. A private
model's entry is called `model`, so neither file is read as the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn

from feddiff_secure.config.paper import NO_GUARANTEE
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.errors import DataError
from feddiff_secure.model.branch_config import GROUPS, MAX_LEVELS, MAX_WIDTH
from feddiff_secure.model.described_tensors import (
    check_classes,
    check_says,
    check_tensors,
    read_described,
)
from feddiff_secure.model.model_file import MOST_BYTES
from feddiff_secure.model.schedule import STEPS
from feddiff_secure.model.unet import UNet
from feddiff_secure.paper.branch_training import branch_config
from feddiff_secure.paper.channel_range import ChannelRange
from feddiff_secure.paper.connected_head import ConnectedHead
from feddiff_secure.paper.paper_model import PaperModel
from feddiff_secure.paper.schedule import PaperSchedule

FORMAT = "feddiff-secure paper model 1"
MOST_TIMESTEPS = 16
MOST_SIDE = 64
_KEY = "paper_model"
_FIELDS = {
    "format", "guarantee", "classes", "layout", "tile", "widths", "timesteps", "head_width",
}  # fmt: skip
_HINT = "give the run directory that `feddiff-secure run --profile paper` wrote"


def paper_model_bytes(model: PaperModel) -> bytes:
    """The content of the file; equal models give equal bytes."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for modality, branch in model.branches.items():
        tensors |= _named(f"branch.{modality}", branch)
        tensors[f"range.{modality}.low"] = model.ranges[modality].low
        tensors[f"range.{modality}.high"] = model.ranges[modality].high
    tensors |= _named("head", model.head)
    described: dict[str, Any] = {
        "format": FORMAT,
        "guarantee": NO_GUARANTEE,
        "classes": list(model.classes),
        "layout": model.layout.to_dict(),
        "tile": model.tile,
        "widths": list(model.schedule.widths),
        "timesteps": list(model.schedule.timesteps),
        "head_width": model.schedule.head_width,
    }
    return save(tensors, {_KEY: rfc8785.dumps(described).decode()})


def is_paper_model(path: Path) -> bool:
    """Whether a run directory or file holds a model of the paper profile; False if unreadable."""
    path = path / "model.safetensors" if path.is_dir() else path
    try:
        with safe_open(path, framework="numpy") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError):
        return False  # the reader of private models says what is wrong


def load_paper_model(path: Path) -> PaperModel:
    """Read a model file strictly.

    Args:
        path: the file, or the run directory that holds it.

    Raises:
        DataError: a missing or oversized file, another format, fields out of range, or tensors of
            other names, shapes or types, or with numbers that are not finite.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    described, tensors = read_described(
        path, _KEY, most_bytes=MOST_BYTES, fields=_FIELDS, hint=_HINT
    )
    classes = _checked(described, path)
    schedule = _schedule(described, path)
    layout = SensorLayout.from_dict(described["layout"])
    branches: dict[str, UNet] = {
        entry.name: UNet(branch_config(len(entry.channels), schedule))
        for entry in layout.modalities
    }
    head = ConnectedHead(schedule, len(classes))
    expected = {f"head.{name}": tuple(p.shape) for name, p in head.state_dict().items()}
    for entry in layout.modalities:
        state = branches[entry.name].state_dict()
        expected |= {f"branch.{entry.name}.{name}": tuple(p.shape) for name, p in state.items()}
        for end in ("low", "high"):
            expected[f"range.{entry.name}.{end}"] = (len(entry.channels),)
    check_tensors(tensors, expected, np.float32, path, _HINT)
    for modality, branch in branches.items():
        _fill(branch, f"branch.{modality}", tensors)
    _fill(head, "head", tensors)
    ranges = {
        m: ChannelRange(tensors[f"range.{m}.low"], tensors[f"range.{m}.high"]) for m in branches
    }
    return PaperModel(branches, ranges, head, schedule, layout, classes, described["tile"])


def _named(prefix: str, module: nn.Module) -> dict[str, NDArray[np.float32]]:
    return {f"{prefix}.{name}": value.numpy() for name, value in module.state_dict().items()}


def _fill(module: nn.Module, prefix: str, tensors: Mapping[str, NDArray[Any]]) -> None:
    state = {name: torch.from_numpy(tensors[f"{prefix}.{name}"]) for name in module.state_dict()}
    module.load_state_dict(state)
    module.eval()


def _checked(described: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """Check what is not the network's shape; returns the class names."""
    check_says(described, "guarantee", NO_GUARANTEE, path, _HINT)
    check_says(described, "format", FORMAT, path, _HINT)
    if not isinstance(described["layout"], dict):
        raise DataError(f"{path}: layout is not an object", _HINT)
    _integer(described["tile"], 1, MOST_SIDE, "tile", path)
    return check_classes(described["classes"], path, _HINT)


def _schedule(described: Mapping[str, Any], path: Path) -> PaperSchedule:
    """The shape of the networks; how they were trained is no part of the file."""
    for name, most in (("widths", MAX_LEVELS), ("timesteps", MOST_TIMESTEPS)):
        if not isinstance(described[name], list) or not 1 <= len(described[name]) <= most:
            raise DataError(f"{path}: {name} is not a list of 1 to {most} numbers", _HINT)
    for width in described["widths"]:
        _integer(width, GROUPS, MAX_WIDTH, "a width", path)
        if width % GROUPS:
            raise DataError(f"{path}: width {width} is no multiple of {GROUPS}", _HINT)
    for step in described["timesteps"]:
        _integer(step, 1, STEPS, "a timestep", path)
    _integer(described["head_width"], 2, MAX_WIDTH, "head_width", path)
    return PaperSchedule(
        widths=tuple(described["widths"]),
        timesteps=tuple(described["timesteps"]),
        head_width=described["head_width"],
    )


def _integer(value: object, low: int, high: int, name: str, path: Path) -> None:
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{path}: {name} is {value!r:.40}, not an integer in {low}..{high}", _HINT)
