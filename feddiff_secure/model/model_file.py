"""The model file: all that prediction needs, and nothing that tells two equal models apart.

`model.safetensors` holds one float64 tensor a modality, `weights.<modality>` of shape (K, D_m),
where the run adapted the HSI branch also `adapter.hsi` of shape (P,), and one metadata entry,
`model`: the canonical JSON of the format's name, the class names and the public feature map (sensor
layout, tile side, seeds, scales, digests of projections and priors, size of the adapter).
It holds no time, no aggregation mode and no configuration digest, so equal models are equal
files. (One entry, because the library writes several in no fixed order.)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feddiff_secure.model.described_tensors import (
    check_classes,
    check_says,
    check_tensors,
    read_described,
)
from feddiff_secure.model.prior import FOLDER, chosen_priors
from feddiff_secure.model.psi import FeatureMap
from feddiff_secure.model.weights_file import adapter_tensor, file_bytes, split_weights

FORMAT = "feddiff-secure model 1"
MOST_BYTES = 1 << 28
_FIELDS = {"format", "classes", "features"}
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
    tensors |= adapter_tensor(model.features.adapter)
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
    described, tensors = read_described(
        path, "model", most_bytes=MOST_BYTES, fields=_FIELDS, hint=_HINT
    )
    check_says(described, "format", FORMAT, path, _HINT)
    classes = check_classes(described["classes"], path, _HINT)
    kept = path.with_name(FOLDER)
    priors = chosen_priors(kept) if kept.is_dir() else {}
    features = FeatureMap.from_dict(described["features"], priors)
    weights = {f"weights.{m}": (len(classes), width) for m, width in features.widths.items()}
    zeros = adapter_tensor(features.adapter)
    expected = {**weights, **{name: values.shape for name, values in zeros.items()}}
    check_tensors(tensors, expected, np.float64, path, _HINT)
    for name in zeros:
        features = features.with_adapter(tensors[name])
    return Model(features, np.concatenate([tensors[name] for name in weights], axis=1), classes)
