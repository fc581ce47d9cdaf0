"""The payload that leaves owners in the paper profile, and its file: strict both ways.

Format `feddiff-secure feature exchange 1`: a safetensors file with one metadata entry,
`exchange`, the canonical JSON (RFC 8785) of `{"format": …, "guarantee": "no privacy guarantee",
"owners": [{"name": …, "modality": …}, …]}`, and the float32 tensors `<name>.left`,
`<name>.values` and `<name>.right` of each owner. Rows of `left` are the owner's pixels: block,
tile, row, column. (One entry, because the library writes several in no fixed order.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785
from numpy.typing import NDArray
from safetensors.numpy import save

from feddiff_secure.config.bounds import MOST_OWNERS
from feddiff_secure.config.paper import NO_GUARANTEE
from feddiff_secure.errors import DataError
from feddiff_secure.model.described_tensors import check_names, check_says, read_described
from feddiff_secure.paper.low_rank import LowRankFeatures

FILE_NAME = "exchange.safetensors"
FORMAT = "feddiff-secure feature exchange 1"
MOST_BYTES = 1 << 30
_KEY = "exchange"
_FIELDS = {"format", "guarantee", "owners"}
_NAME = re.compile(r"[a-z0-9-]{1,64}")
_HINT = "give the run directory that `feddiff-secure run --profile paper` wrote"


@dataclass(frozen=True, slots=True, eq=False)
class OwnerFeatures:
    """What one owner sent.

    Attributes:
        name: the owner. modality: `hsi` or `lidar`.
        factors: of the features of all its pixels.
    """

    name: str
    modality: str
    factors: LowRankFeatures


@dataclass(frozen=True, slots=True, eq=False)
class Exchanged:
    """What all owners sent, in roster order."""

    owners: tuple[OwnerFeatures, ...]

    def of(self, name: str) -> OwnerFeatures:
        """What one owner sent.

        Raises:
            DataError: no such owner.
        """
        for owner in self.owners:
            if owner.name == name:
                return owner
        raise DataError(f"{FILE_NAME}: holds nothing of {name}", _HINT)


def exchange_bytes(exchanged: Exchanged) -> bytes:
    """The content of the file; equal payloads give equal bytes."""
    tensors = {}
    for owner in exchanged.owners:
        factors = owner.factors
        for part in ("left", "values", "right"):
            tensors[f"{owner.name}.{part}"] = getattr(factors, part)
    described: dict[str, Any] = {
        "format": FORMAT,
        "guarantee": NO_GUARANTEE,
        "owners": [{"name": o.name, "modality": o.modality} for o in exchanged.owners],
    }
    return save(tensors, {_KEY: rfc8785.dumps(described).decode()})


def load_exchange(path: Path) -> Exchanged:
    """Read the file strictly.

    Raises:
        DataError: a missing or oversized file, another format, owners or tensors that are not
            exactly the ones described, or factors that do not fit each other.
    """
    described, tensors = read_described(
        path, _KEY, most_bytes=MOST_BYTES, fields=_FIELDS, hint=_HINT
    )
    check_says(described, "guarantee", NO_GUARANTEE, path, _HINT)
    check_says(described, "format", FORMAT, path, _HINT)
    owners = _owners(described["owners"], path)
    expected = {f"{name}.{part}" for name, _ in owners for part in ("left", "values", "right")}
    check_names(tensors, expected, path, _HINT)
    return Exchanged(tuple(_owner(name, kind, tensors, path) for name, kind in owners))


def _owner(
    name: str, modality: str, tensors: Mapping[str, NDArray[Any]], path: Path
) -> OwnerFeatures:
    try:
        factors = LowRankFeatures(
            tensors[f"{name}.left"], tensors[f"{name}.values"], tensors[f"{name}.right"]
        )
    except DataError as error:
        raise DataError(f"{path}: {name}: {error}", error.hint) from error
    return OwnerFeatures(name, modality, factors)


def _owners(listed: object, path: Path) -> list[tuple[str, str]]:
    """Names and modalities of the owners."""
    if not isinstance(listed, list) or not 2 <= len(listed) <= MOST_OWNERS:
        raise DataError(f"{path}: owners are not 2 to {MOST_OWNERS}", _HINT)
    owners = [_entry(entry, path) for entry in listed]
    if len({name for name, _ in owners}) != len(owners):
        raise DataError(f"{path}: an owner is named twice", _HINT)
    return owners


def _entry(entry: object, path: Path) -> tuple[str, str]:
    if not isinstance(entry, dict) or set(entry) != {"name", "modality"}:
        raise DataError(f"{path}: an owner is not a name and a modality", _HINT)
    name, modality = entry["name"], entry["modality"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"{path}: owner {name!r:.80} is no name", _HINT)
    if modality not in {"hsi", "lidar"}:
        raise DataError(f"{path}: modality {modality!r:.40} of {name} is unknown", _HINT)
    return name, modality
