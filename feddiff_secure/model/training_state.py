"""Everything a training run needs to go on bit for bit: one strict file, no pickle.

Format `feddiff-secure training state 1`: a safetensors file with one metadata entry, `state`, the
canonical JSON of

    format, step (finished steps), numpy {name: PCG64 state}, optimiser [hyper-parameters a group]

and the tensors `module.<name>.<key>` (weights and buffers of each module: branch, average, …),
`optimiser.<i>.<key>` (moments and step of parameter i) and `generator.<name>` (the state of a
torch generator, bytes). What a file holds must be exactly what the objects given to `load` have;
all of it is checked before anything is changed. Only the machine's own arithmetic is outside:
another processor or thread count may round differently.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from feddiff_secure.errors import DataError, UsageError

FORMAT = "feddiff-secure training state 1"
MOST_BYTES = 1 << 30
_HINT = "give the checkpoint of this very training, or delete it to start again"
_FIELDS = {"format", "step", "numpy", "optimiser"}
_PCG64 = {"state": 128, "inc": 128, "has_uint32": 1, "uinteger": 32}  # bits of each number


@dataclass(frozen=True)
class TrainingState:
    """The live objects of a training run; saving reads them, loading changes them in place.

    Attributes:
        modules: by name, e.g. `branch` and its moving `average`.
        optimiser: over parameters of the modules.
        generators: torch generators by name.
        numpy_generators: PCG64 generators by name.
    """

    modules: Mapping[str, nn.Module]
    optimiser: torch.optim.Optimizer
    generators: Mapping[str, torch.Generator] = field(default_factory=dict)
    numpy_generators: Mapping[str, np.random.Generator] = field(default_factory=dict)


def save_training_state(path: Path, state: TrainingState, step: int) -> None:
    """Write a checkpoint after `step` finished steps; atomic by rename, read back first.

    Raises:
        UsageError: a numpy generator is not PCG64, or a hyper-parameter is not a plain number.
    """
    described = {
        "format": FORMAT,
        "step": step,
        "numpy": {name: _pcg64(name, g) for name, g in state.numpy_generators.items()},
        "optimiser": [_hyper(group) for group in state.optimiser.param_groups],
    }
    tensors = _module_tensors(state) | _moments(state.optimiser)
    tensors |= {f"generator.{name}": g.get_state() for name, g in state.generators.items()}
    data = save_tensors(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
        metadata={"state": _canonical(described)},
    )
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    _checked(partial, state)  # it must read back before it counts as written
    partial.replace(path)


@torch.no_grad()
def load_training_state(path: Path, state: TrainingState) -> int:
    """Restore a checkpoint into the given objects.

    Returns:
        The number of finished steps.

    Raises:
        DataError: missing, larger than 1 GiB, not of this format, or not of these objects.
    """
    described, tensors = _checked(path, state)
    for name, tensor in _module_tensors(state).items():
        tensor.copy_(tensors[name])
    current = state.optimiser.state_dict()
    groups = [
        {**own, **saved}
        for own, saved in zip(current["param_groups"], _groups(described), strict=True)
    ]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
    state.optimiser.load_state_dict({"state": moments, "param_groups": groups})
    for name, generator in state.generators.items():
        generator.set_state(tensors[f"generator.{name}"])
    for name, numpy_generator in state.numpy_generators.items():
        saved = {key: int(value) for key, value in described["numpy"][name].items()}
        numpy_generator.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": saved["state"], "inc": saved["inc"]},
            "has_uint32": saved["has_uint32"],
            "uinteger": saved["uinteger"],
        }
    return int(described["step"])


def _module_tensors(state: TrainingState) -> dict[str, Tensor]:
    """The live weights and buffers by their name in the file."""
    return {
        f"module.{name}.{key}": tensor
        for name, module in state.modules.items()
        for key, tensor in module.state_dict().items()
    }


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for index, values in optimiser.state_dict()["state"].items():
        for key, value in values.items():
            if not isinstance(value, Tensor):
                raise UsageError(f"optimiser state {key!r} is not a tensor", "use Adam or SGD")
            found[f"optimiser.{index}.{key}"] = value
    return found


def _hyper(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's hyper-parameters as JSON has them: numbers, booleans, null, pairs of numbers."""
    found: dict[str, Any] = {}
    for key, value in group.items():
        if key == "params":
            continue
        plain = list(value) if isinstance(value, tuple) else value
        for each in plain if isinstance(plain, list) else [plain]:
            if not (each is None or isinstance(each, bool | int | float)):
                raise UsageError(f"hyper-parameter {key} = {value!r}", "use plain numbers")
        found[key] = plain
    return found


def _groups(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {key: tuple(value) if isinstance(value, list) else value for key, value in group.items()}
        for group in described["optimiser"]
    ]


def _pcg64(name: str, generator: np.random.Generator) -> dict[str, str]:
    """The state as decimal strings: JSON numbers end at 2^53."""
    raw = generator.bit_generator.state
    if raw["bit_generator"] != "PCG64":
        raise UsageError(f"generator {name} is {raw['bit_generator']}", "use numpy's PCG64")
    return {
        "state": str(raw["state"]["state"]),
        "inc": str(raw["state"]["inc"]),
        "has_uint32": str(raw["has_uint32"]),
        "uinteger": str(raw["uinteger"]),
    }


def _canonical(described: Mapping[str, Any]) -> str:
    return json.dumps(described, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checked(path: Path, state: TrainingState) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Parse a file and check that it is a checkpoint of exactly these objects.

    1. size; 2. safetensors; 3. the description; 4. the tensors. Nothing is changed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot read the checkpoint ({error.strerror})", _HINT) from error
    if len(data) > MOST_BYTES:
        raise DataError(f"{path}: a checkpoint may have {MOST_BYTES} bytes at most", _HINT)
    try:
        tensors = load_tensors(data)  # checks the header against the data's length
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text = header.get("__metadata__", {}).get("state", "")
        described = json.loads(text, parse_constant=_refuse_constant)
        canonical = text == _canonical(described)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a checkpoint ({str(error)[:100]})", _HINT) from error
    if set(header["__metadata__"]) != {"state"} or not canonical:
        raise DataError(f"{path}: its description is not canonical", _HINT)
    _check_description(path, described, state)
    _check_tensors(path, tensors, state)
    return described, tensors


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _check_description(path: Path, described: Any, state: TrainingState) -> None:
    if not isinstance(described, dict) or set(described) != _FIELDS:
        raise DataError(f"{path}: its description has other fields than {sorted(_FIELDS)}", _HINT)
    if described["format"] != FORMAT:
        raise DataError(f"{path}: format {described['format']!r:.60}, not {FORMAT!r}", _HINT)
    if type(described["step"]) is not int or not 0 <= described["step"] < 2**63:
        raise DataError(f"{path}: step must be an integer in 0..2^63-1", _HINT)
    numpy = described["numpy"]
    if not isinstance(numpy, dict) or set(numpy) != set(state.numpy_generators):
        raise DataError(f"{path}: numpy generators differ from this training's", _HINT)
    for name, saved in numpy.items():
        if not isinstance(saved, dict) or set(saved) != set(_PCG64):
            raise DataError(f"{path}: generator {name!r} is not a PCG64 state", _HINT)
        for key, bits in _PCG64.items():
            number = saved[key]
            valid = isinstance(number, str) and re.fullmatch("0|[1-9][0-9]{0,38}", number)
            if not valid or int(number) >= 2**bits:
                raise DataError(f"{path}: generator {name!r}: {key} exceeds {bits} bits", _HINT)
    own = [_hyper(group) for group in state.optimiser.param_groups]
    saved_groups = described["optimiser"]
    if not isinstance(saved_groups, list) or len(saved_groups) != len(own):
        raise DataError(f"{path}: the optimiser must have {len(own)} groups", _HINT)
    for mine, theirs in zip(own, saved_groups, strict=True):
        if not isinstance(theirs, dict) or {k: _kind(v) for k, v in theirs.items()} != {
            k: _kind(v) for k, v in mine.items()
        }:
            raise DataError(f"{path}: the optimiser's hyper-parameters are of others", _HINT)


def _kind(value: Any) -> Any:
    """What must agree between a saved and an own hyper-parameter: anything but the number."""
    if isinstance(value, list):
        return [_kind(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, int | float) and math.isfinite(value) else value


def _check_tensors(path: Path, tensors: Mapping[str, Tensor], state: TrainingState) -> None:
    expected = dict(_module_tensors(state))
    expected |= {f"generator.{name}": g.get_state() for name, g in state.generators.items()}
    parameters = [p for group in state.optimiser.param_groups for p in group["params"]]
    for name, tensor in tensors.items():
        match = re.fullmatch(r"optimiser\.(0|[1-9][0-9]{0,6})\.([a-z_]+)", name)
        if match is None:
            continue
        index = int(match[1])
        if index >= len(parameters):
            raise DataError(f"{path}: {name}: there are {len(parameters)} parameters", _HINT)
        expected[name] = parameters[index] if tensor.dim() else torch.zeros(())
    odd = sorted(set(expected) ^ set(tensors))
    if odd:
        raise DataError(f"{path}: tensor {odd[0]!r} is missing or unexpected", _HINT)
    for name, wanted in expected.items():
        found = tensors[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            raise DataError(
                f"{path}: tensor {name!r} must be {wanted.dtype} {tuple(wanted.shape)}", _HINT
            )
        if not bool(torch.isfinite(found).all()):
            raise DataError(f"{path}: tensor {name!r} is not finite", _HINT)
    _check_moments_complete(path, tensors, len(parameters))


def _check_moments_complete(path: Path, tensors: Mapping[str, Tensor], parameters: int) -> None:
    """Either no moments (no step yet) or the same ones for every parameter."""
    keys: dict[str, set[str]] = {}
    for name in tensors:
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            keys.setdefault(index, set()).add(key)
    sets = list(keys.values())
    if sets and (len(sets) != parameters or any(each != sets[0] for each in sets)):
        raise DataError(f"{path}: the optimiser's moments are incomplete", _HINT)
