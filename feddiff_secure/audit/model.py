"""Step 4: the model file, re-derived from the sums by the code that trains.

Every release was computed on a model whose hash the owners signed with their keys; each has to be
the one that follows from the sums before it. The last one, with the description in the log, must
give the model file byte for byte. In encrypted mode the sums are unknown here, and the file's
weights must be those that at least τ owners signed in their last words.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from feddiff_crypto.fixedpoint import RingArray
from feddiff_secure.audit.history import History
from feddiff_secure.audit.roster import Run
from feddiff_secure.audit.verdict import StepFailedError, require
from feddiff_secure.federation.context import model_hash
from feddiff_secure.federation.local_model import LocalModel
from feddiff_secure.model.weights_file import (
    ADAPTER,
    adapter_size_of,
    adapter_tensor,
    file_bytes,
    split_weights,
    widths_of,
)
from feddiff_secure.transcript.files import read_bytes

MODEL = "model.safetensors"
_MOST_BYTES = 1 << 28


def check_derivation(directory: Path, run: Run, history: History, sums: Sequence[RingArray]) -> str:
    """Derive the model from the sums and compare it with the file; the file's SHA-256.

    Raises:
        StepFailedError, FeddiffError: the first thing that does not hold.
    """
    model = LocalModel(run.plan)
    for leaf, total in zip(history.rounds, sums, strict=True):
        key = leaf.key
        where = f"{key.phase} round {key.round_index}"
        found = model_hash(model.query_for(key.phase))
        require(
            leaf.model == found,
            f"{where} was computed on model {leaf.model.hex()}, the sums before it give "
            f"{found.hex()}",
        )
        require(model.in_step(key.phase, key.round_index), f"{where} is out of step")
        model.apply(run.plan.grid(key.phase).ring.from_ring(total), key.phase)
    rounds = sum(leaf.key.phase == "train" for leaf in history.rounds)
    derived = _file(history, model.model(rounds), model.adapter)
    data = read_bytes(directory / MODEL, _MOST_BYTES)
    derived_hash = hashlib.sha256(derived).hexdigest()
    require(
        data == derived,
        f"{MODEL} has SHA-256 {hashlib.sha256(data).hexdigest()}, the sums give {derived_hash}",
    )
    return derived_hash


def check_form(directory: Path, history: History) -> NDArray[np.float64]:
    """The weights in the model file, which is of the form and description in the log.

    Raises:
        StepFailedError, FeddiffError: it is not.
    """
    data = read_bytes(directory / MODEL, _MOST_BYTES)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StepFailedError(f"{MODEL}: not safetensors: {error}") from None
    wanted = [f"weights.{modality}" for modality in widths_of(history.features.model)]
    adapter = tensors.pop(ADAPTER, None)
    require(set(tensors) == set(wanted), f"{MODEL}: tensors {sorted(tensors)}, not {wanted}")
    for name in wanted:
        tensor = tensors[name]
        require(tensor.dtype == np.float64 and tensor.ndim == 2, f"{MODEL}: {name} is no matrix")
    require(len({len(tensors[name]) for name in wanted}) == 1, f"{MODEL}: rows differ")
    weights = np.concatenate([tensors[name] for name in wanted], axis=1)
    derived = _file(history, weights, adapter)
    require(derived == data, f"{MODEL} is not described as the log says")
    return weights


def check_signed(directory: Path, run: Run, history: History) -> int:
    """How many owners signed the weights in the model file (encrypted mode).

    Raises:
        StepFailedError, CryptoError, FeddiffError: fewer than τ.
    """
    found = model_hash(check_form(directory, history))
    signed = Counter(word.model for word in history.end.owners.values())
    run.plan.policy.require(f"owners that signed the model {found.hex()}", signed[found])
    return signed[found]


def _file(
    history: History, weights: NDArray[np.float64], adapter: NDArray[np.float64] | None
) -> bytes:
    described = history.features.model
    widths = widths_of(described)
    require(
        sum(widths.values()) == weights.shape[1],
        f"the feature map in the log has {sum(widths.values())} columns, the plan "
        f"{weights.shape[1]}",
    )
    size = adapter_size_of(described)
    found = None if adapter is None else adapter.shape
    require(
        found == (None if size is None else (size,)),
        f"the feature map in the log has an adapter of {size} numbers, the file {found}",
    )
    return file_bytes({**split_weights(weights, widths), **adapter_tensor(adapter)}, described)
