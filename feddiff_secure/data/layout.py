"""The sensor layout: everything about the data that is public before a value is read.

Channel counts, names, wavelengths, support and the scaling rule are properties of the sensors,
not of the ground they looked at. The layout travels with the model; no private statistic does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from feddiff_secure.data.checks import check_names, check_wavelengths
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.scaling import ScalingKind
from feddiff_secure.errors import DataError

ModalityName = Literal["hsi", "lidar"]
Support = Literal["pixel", "neighbourhood"]
MODALITY_NAMES: tuple[ModalityName, ...] = get_args(ModalityName)
SUPPORTS: tuple[Support, ...] = get_args(Support)
SCALING_KINDS: tuple[ScalingKind, ...] = get_args(ScalingKind)

WAVELENGTH_TOLERANCE_NM = 0.1  # rounding of stored wavelengths, not a sensor difference


@dataclass(frozen=True)
class ModalityLayout:
    """The public constants of one sensor.

    Attributes:
        name: `hsi` or `lidar`.
        channels: a unique name for each channel.
        wavelengths_nm: band centres in nanometres, strictly increasing, or None where unknown.
        support: `pixel`, or `neighbourhood` where a value was computed from the surroundings
            of its pixel, so that no pixel-level claim is possible.
        scaling: whether a constant factor or the fixed saturating map was applied.
    """

    name: ModalityName
    channels: tuple[str, ...]
    wavelengths_nm: tuple[float, ...] | None = None
    support: Support = "pixel"
    scaling: ScalingKind = "factor"

    def __post_init__(self) -> None:
        if self.name not in MODALITY_NAMES:
            raise DataError(f"modality {self.name!r} is unknown", "use `hsi` or `lidar`")
        if not 1 <= len(self.channels) <= DEFAULT_LIMITS.channels:
            raise DataError(
                f"{self.name}: {len(self.channels)} channels, outside 1..{DEFAULT_LIMITS.channels}",
                "give at least one channel",
            )
        check_names(self.channels, f"{self.name}: channels")
        if self.wavelengths_nm is not None:
            check_wavelengths(self.wavelengths_nm, len(self.channels), f"{self.name}: wavelengths")
        if self.support not in SUPPORTS:
            raise DataError(
                f"{self.name}: support {self.support!r} is unknown", f"use one of {SUPPORTS}"
            )
        if self.scaling not in SCALING_KINDS:
            raise DataError(
                f"{self.name}: scaling {self.scaling!r} is unknown", f"use one of {SCALING_KINDS}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The layout as JSON-ready values; `from_dict` reads it back."""
        return {
            "name": self.name,
            "channels": list(self.channels),
            "wavelengths_nm": None if self.wavelengths_nm is None else list(self.wavelengths_nm),
            "support": self.support,
            "scaling": self.scaling,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModalityLayout:
        """Reads what `to_dict` wrote.

        Raises:
            DataError: a field is missing, unknown, of the wrong type or out of range.
        """
        _check_fields(fields, ("name", "channels", "wavelengths_nm", "support", "scaling"))
        channels, wavelengths = fields["channels"], fields["wavelengths_nm"]
        _check_list(channels, (str,), "channels")
        if wavelengths is not None:
            _check_list(wavelengths, (int, float), "wavelengths_nm")
        return cls(
            name=cast(ModalityName, fields["name"]),  # __post_init__ checks the three literals
            channels=tuple(channels),
            wavelengths_nm=None if wavelengths is None else tuple(map(float, wavelengths)),
            support=cast(Support, fields["support"]),
            scaling=cast(ScalingKind, fields["scaling"]),
        )


@dataclass(frozen=True)
class SensorLayout:
    """The layouts of the modalities that a data set holds, `hsi` before `lidar`."""

    modalities: tuple[ModalityLayout, ...]

    def __post_init__(self) -> None:
        names = tuple(modality.name for modality in self.modalities)
        if names not in {("hsi",), ("lidar",), ("hsi", "lidar")}:
            raise DataError(
                f"layout: modalities {names} are not hsi, lidar, or hsi then lidar",
                "hold one or both modalities, each once",
            )

    @property
    def names(self) -> tuple[ModalityName, ...]:
        """The modalities held, `hsi` before `lidar`."""
        return tuple(modality.name for modality in self.modalities)

    def get(self, name: str) -> ModalityLayout | None:
        """The layout of one modality, or None where it is not held."""
        return next((modality for modality in self.modalities if modality.name == name), None)

    @property
    def support(self) -> Support:
        """`neighbourhood` as soon as one modality's values look beyond their pixel."""
        if any(modality.support == "neighbourhood" for modality in self.modalities):
            return "neighbourhood"
        return "pixel"

    def check_same(self, other: SensorLayout, what: str, *, allow_missing: bool = False) -> None:
        """Refuses data whose sensors differ from these.

        Args:
            other: the layout to compare.
            what: what it belongs to, for the message (a file name).
            allow_missing: accept an `other` that holds only some of these modalities (an
                absent modality adds nothing to the model's scores).

        Raises:
            DataError: a modality is missing or extra, or a field differs; the message names it.
        """
        extra = set(other.names) - set(self.names)
        missing = set() if allow_missing else set(self.names) - set(other.names)
        if extra or missing:
            raise DataError(
                f"{what}: holds {'+'.join(other.names)}, expected {'+'.join(self.names)}",
                "use data of the same modalities",
            )
        for theirs in other.modalities:
            ours = self.get(theirs.name)
            assert ours is not None
            field = _first_difference(ours, theirs)
            if field is not None:
                raise DataError(
                    f"{what}: {theirs.name}: {field}",
                    "use data of the same sensors and the same import",
                )

    def to_dict(self) -> dict[str, Any]:
        """The layout as JSON-ready values; `from_dict` reads it back."""
        return {"modalities": [modality.to_dict() for modality in self.modalities]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> SensorLayout:
        """Reads what `to_dict` wrote.

        Raises:
            DataError: a field is missing, unknown, of the wrong type or out of range.
        """
        _check_fields(fields, ("modalities",))
        _check_list(fields["modalities"], (dict,), "modalities")
        return cls(tuple(ModalityLayout.from_dict(entry) for entry in fields["modalities"]))


def _first_difference(ours: ModalityLayout, theirs: ModalityLayout) -> str | None:
    """The first field in which two layouts of one modality differ, in words."""
    if len(ours.channels) != len(theirs.channels):
        return f"{len(theirs.channels)} channels, expected {len(ours.channels)}"
    if ours.channels != theirs.channels:
        pairs = zip(ours.channels, theirs.channels, strict=True)
        mine, other = next(pair for pair in pairs if pair[0] != pair[1])
        return f"channel {other!r}, expected {mine!r}"
    if (ours.wavelengths_nm is None) != (theirs.wavelengths_nm is None):
        return "wavelengths are given on one side only"
    if ours.wavelengths_nm is not None and theirs.wavelengths_nm is not None:
        gap = float(np.abs(np.subtract(ours.wavelengths_nm, theirs.wavelengths_nm)).max())
        if gap > WAVELENGTH_TOLERANCE_NM:
            return f"wavelengths differ by up to {gap:.2f} nm (bound {WAVELENGTH_TOLERANCE_NM} nm)"
    for field in ("support", "scaling"):
        if getattr(ours, field) != getattr(theirs, field):
            return f"{field} {getattr(theirs, field)}, expected {getattr(ours, field)}"
    return None


def _check_fields(fields: object, expected: tuple[str, ...]) -> None:
    """Refuses anything but a mapping with exactly the expected keys."""
    if not isinstance(fields, Mapping) or set(fields) != set(expected):
        raise DataError(
            f"layout: the fields are not exactly {', '.join(expected)}", "the file is damaged"
        )


def _check_list(value: object, kinds: tuple[type, ...], field: str) -> None:
    """Refuses anything but a list of at most the channel limit with items of the given types.

    Canonical JSON writes 400.0 as 400, so a list of floats may come back with integers.
    """
    if (
        not isinstance(value, list)
        or len(value) > DEFAULT_LIMITS.channels
        or not all(isinstance(item, kinds) and not isinstance(item, bool) for item in value)
    ):
        raise DataError(
            f"layout: `{field}` is not a list of {kinds[-1].__name__}", "the file is damaged"
        )
