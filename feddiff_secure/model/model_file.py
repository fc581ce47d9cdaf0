"""The model file: all that prediction needs, and nothing that tells two equal models apart.

`model.safetensors` holds one float64 tensor a modality, `weights.<modality>` of shape (K, D_m),
and one metadata entry, `model`: the canonical JSON of the format's name, the class names and the
public feature map (sensor layout, tile side, seeds, scales, digests of projections and priors).
It holds no time, no aggregation mode and no configuration digest, so equal models are equal
files. (One entry, because the library writes several in no fixed order.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from feddiff_secure.errors import DataError
from feddiff_secure.model.prior import FOLDER, Prior, chosen_priors
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.weights_file import file_bytes, split_weights

FORMAT = "feddiff-secure model 1"
MOST_BYTES = 1 << 28
MOST_CLASSES = 255
_HINT = "give the run directory, or model.safetensors, that `feddiff-secure run` wrote"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A land-cover model.

    Attributes:
        features: ψ, the public feature map.
        weights: W, (K, D) float64; columns in the order of `features.widths`.
        classes: K class names.
    """

    features: FeatureMap
    weights: NDArray[np.float64]
    classes: tuple[str, ...]


def model_bytes(model: Model) -> bytes:
    """The content of the model file; equal models give equal bytes."""
    tensors = split_weights(model.weights, model.features.widths)
    return file_bytes(tensors, description(model.features, model.classes))


def description(features: FeatureMap, classes: tuple[str, ...]) -> dict[str, Any]:
    """What the model file says beside its tensors; fixed before anything is trained."""
    return {"format": FORMAT, "classes": list(classes), "features": features.to_dict()}


def load_model(path: Path) -> Model:
    """Read a model file strictly.

    Args:
        path: the file, or the run directory that holds it.

    Raises:
        DataError: a missing or oversized file, another format, tensors of other names, shapes or
            types, numbers that are not finite, or a feature map this installation cannot rebuild.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise DataError(f"{path}: no such file", _HINT)
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path}: larger than {MOST_BYTES} bytes", _HINT)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a safetensors file: {error}", _HINT) from error
    kept = path.with_name(FOLDER)
    priors = chosen_priors(kept) if kept.is_dir() else {}
    features, classes = _described(metadata, path, priors)
    return Model(features, _weights(tensors, features, len(classes), path), classes)


def _described(
    metadata: Mapping[str, str], path: Path, priors: Mapping[str, Prior]
) -> tuple[FeatureMap, tuple[str, ...]]:
    if set(metadata) != {"model"}:
        raise DataError(f"{path}: metadata {sorted(metadata)}, not the one of a model", _HINT)
    try:
        described: Any = json.loads(metadata["model"])
    except ValueError as error:
        raise DataError(f"{path}: its description is not JSON", _HINT) from error
    if not isinstance(described, dict) or set(described) != {"format", "classes", "features"}:
        raise DataError(f"{path}: its description has other fields", _HINT)
    if described["format"] != FORMAT:
        raise DataError(f"{path}: format {described['format']!r:.60}, not {FORMAT!r}", _HINT)
    classes = described["classes"]
    if (
        not isinstance(classes, list)
        or not 1 <= len(classes) <= MOST_CLASSES
        or not all(isinstance(name, str) and name for name in classes)
        or len(set(classes)) != len(classes)
    ):
        raise DataError(f"{path}: classes are not 1 to {MOST_CLASSES} different names", _HINT)
    return FeatureMap.from_dict(described["features"], priors), tuple(classes)


def _weights(
    tensors: Mapping[str, NDArray[Any]], features: FeatureMap, classes: int, path: Path
) -> NDArray[np.float64]:
    expected = {f"weights.{m}": (classes, width) for m, width in features.widths.items()}
    if set(tensors) != set(expected):
        raise DataError(f"{path}: tensors {sorted(tensors)}, not {sorted(expected)}", _HINT)
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype != np.float64:
            raise DataError(
                f"{path}: {name} is {tensor.dtype} {tensor.shape}, not float64 {shape}", _HINT
            )
        if not np.isfinite(tensor).all():
            raise DataError(f"{path}: {name} has values that are not finite", _HINT)
    return np.concatenate([tensors[name] for name in expected], axis=1)
