"""The bytes of a model file from its tensors and description, as a verifier rebuilds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray
from safetensors.numpy import save

from feddiff_secure.errors import DataError

ADAPTER = "adapter.hsi"
_HINT = "the description of the model is damaged, or of another version"


def split_weights(
    weights: NDArray[np.float64], widths: Mapping[str, int]
) -> dict[str, NDArray[np.float64]]:
    """The tensors `weights.<modality>`, (K, D_m), of the module's weights (K, ΣD_m).

    Args:
        weights: W.
        widths: columns by modality, in their order.
    """
    tensors, start = {}, 0
    for modality, width in widths.items():
        part = weights[:, start : start + width]
        tensors[f"weights.{modality}"] = np.ascontiguousarray(part, dtype=np.float64)
        start += width
    return tensors


def adapter_tensor(adapter: NDArray[np.float64] | None) -> dict[str, NDArray[np.float64]]:
    """The tensor `adapter.hsi`, (P,), of a run that adapted the HSI branch; else none."""
    if adapter is None:
        return {}
    return {ADAPTER: np.ascontiguousarray(adapter, dtype=np.float64)}


def adapter_size_of(described: Mapping[str, Any]) -> int | None:
    """P, from a model's description alone; None where no branch was adapted.

    Raises:
        DataError: the description names another adapter than that of the HSI branch.
    """
    named = described["features"].get("adapter")
    if named is None:
        return None
    if not isinstance(named, dict) or set(named) != {"hsi"} or type(named["hsi"]) is not int:
        raise DataError("model: its adapter is not one of the hsi branch", _HINT)
    return int(named["hsi"])


def file_bytes(tensors: Mapping[str, NDArray[np.float64]], described: Mapping[str, Any]) -> bytes:
    """The one form of a model file: the tensors and the description as canonical JSON."""
    return save(dict(tensors), {"model": rfc8785.dumps(dict(described)).decode()})


def widths_of(described: Mapping[str, Any]) -> dict[str, int]:
    """Columns by modality, from a model's description alone.

    Raises:
        DataError: the description has no such parts.
    """
    widths: dict[str, int] = {}
    try:
        for block in described["features"]["columns"]:
            modality, columns = block["modality"], block["columns"]
            if not isinstance(modality, str) or type(columns) is not int or columns < 1:
                raise DataError("model: columns of its feature map have no width", _HINT)
            widths[modality] = widths.get(modality, 0) + columns
    except (KeyError, TypeError) as error:
        raise DataError(f"model: its feature map has no {error}", _HINT) from None
    return widths
