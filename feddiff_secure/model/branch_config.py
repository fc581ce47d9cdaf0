"""The shape of a diffusion branch, free of torch so that a configuration can be read without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from feddiff_secure.errors import DataError

GROUPS = 8  # of every GroupNorm; widths are multiples of it
MAX_WIDTH = 512  # channels of a level
MAX_LEVELS = 6
MAX_CHANNELS = 64  # input or output channels
MAX_PATCH = 16  # grid points a token
MAX_CLASSES = 255
_PARTS = ("token_interaction", "frequency_parser", "classes")  # absent means the plain network


@dataclass(frozen=True)
class BranchConfig:
    """The shape of a branch; stored beside its weights.

    Attributes:
        axes: 1 (spectral axis) or 2 (rows and columns of a tile).
        in_channels: input channels, noised signal first, conditioning after.
        out_channels: channels of the predicted v.
        patch: grid points a token; 1 keeps every point.
        widths: channels of each level, multiples of 8; the last level also holds the attention.
        heads: attention heads.
        token_interaction: FedDiff's token interaction in the attention.
        frequency_parser: FedDiff's frequency-domain parser behind every encoder block.
        classes: K > 0 for a branch that can be told the class, else 0.
    """

    axes: int
    in_channels: int
    out_channels: int
    patch: int
    widths: tuple[int, ...]
    heads: int = 4
    token_interaction: bool = False
    frequency_parser: bool = False
    classes: int = 0

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; a part that is absent is left out."""
        fields = {key: value for key, value in asdict(self).items() if value or key not in _PARTS}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> BranchConfig:
        """Parse `to_json`'s output and nothing else.

        Raises:
            DataError: not canonical JSON, a key is missing or unknown, or a value out of range.
        """
        hint = "the file is damaged or from another version"
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise DataError(f"branch config is not JSON ({error})", hint) from error
        keys = {"axes", "in_channels", "out_channels", "patch", "widths", "heads"}
        if not isinstance(raw, dict) or set(raw) - set(_PARTS) != keys:
            raise DataError(
                f"branch config must have the keys {sorted(keys)} and may have {sorted(_PARTS)}",
                hint,
            )
        limits = {"axes": 2, "in_channels": MAX_CHANNELS, "out_channels": MAX_CHANNELS}
        limits |= {"patch": MAX_PATCH, "heads": GROUPS}
        for key, limit in limits.items():
            if type(raw[key]) is not int or not 1 <= raw[key] <= limit:
                raise DataError(f"branch config: {key} must be an integer in 1..{limit}", hint)
        config = BranchConfig(
            **{key: raw[key] for key in limits}, widths=_widths(raw["widths"]), **_parts(raw)
        )
        if config.to_json() != text:
            raise DataError("branch config is not in canonical form", hint)
        return config


def _parts(raw: dict[str, Any]) -> dict[str, Any]:
    """The optional parts that are present; to_json never writes an absent one."""
    hint = "the file is damaged or from another version"
    for key in ("token_interaction", "frequency_parser"):
        if raw.get(key, True) is not True:
            raise DataError(f"branch config: {key} must be true or left out", hint)
    classes = raw.get("classes", 1)
    if type(classes) is not int or not 1 <= classes <= MAX_CLASSES:
        raise DataError(f"branch config: classes must be in 1..{MAX_CLASSES} or left out", hint)
    return {key: raw[key] for key in _PARTS if key in raw}


def _widths(raw: object) -> tuple[int, ...]:
    valid = isinstance(raw, list) and 1 <= len(raw) <= MAX_LEVELS
    widths = raw if isinstance(raw, list) else []
    if not valid or not all(
        type(width) is int and 0 < width <= MAX_WIDTH and width % GROUPS == 0 for width in widths
    ):
        raise DataError(
            f"branch config: widths must be 1..{MAX_LEVELS} multiples of 8 up to {MAX_WIDTH}",
            "the file is damaged or from another version",
        )
    return tuple(widths)


PRIOR_BRANCHES: Mapping[str, BranchConfig] = MappingProxyType(
    {
        "hsi": BranchConfig(axes=1, in_channels=3, out_channels=1, patch=4, widths=(48, 64, 96)),
        "lidar": BranchConfig(axes=2, in_channels=2, out_channels=2, patch=1, widths=(32, 48)),
    }
)
"""The shipped branches, by modality. HSI input: x_t, coverage, position."""
