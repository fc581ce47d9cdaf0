"""Wavelengths as files state them, in nanometres.

ENVI headers, GDAL's band metadata and people give nanometres or micrometres. Where a file gives no
unit, the range tells: optical sensors see 0.2 to 30 µm, so numbers up to 30 are micrometres and
numbers from 200 on nanometres. Everything between is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence

from feddiff_secure.errors import DataError

NANOMETRES = frozenset({"nm", "nanometer", "nanometers", "nanometre", "nanometres"})
MICROMETRES = frozenset(
    {"um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre"}
    | {"micrometres"}
)
NO_UNIT = frozenset({"", "unknown", "none"})
MOST_MICROMETRES = 30.0
LEAST_NANOMETRES = 200.0
DECIMALS = 6  # of a nanometre: takes the rounding of a product away, no sensor knows its own


def in_nanometres(
    values: Sequence[float], unit: str | None, where: str
) -> tuple[tuple[float, ...], str | None]:
    """Wavelengths in nanometres, and what was converted or assumed, in words.

    Args:
        values: one a band, as stored.
        unit: as stored, any case; None where the file states none.
        where: for messages.

    Raises:
        DataError: another unit, or none and a range that tells none.
    """
    word = (unit or "").strip().lower()
    if word in NANOMETRES:
        return tuple(float(value) for value in values), None
    if word in MICROMETRES:
        return _times_1000(values), "wavelengths converted from micrometres to nanometres"
    if word not in NO_UNIT:
        raise DataError(
            f"{where}: wavelength unit {unit!r} is not one of nm and µm",
            "state wavelengths in nanometres or micrometres",
        )
    if values and max(values) <= MOST_MICROMETRES:
        return _times_1000(values), "wavelengths have no unit: taken as micrometres by their range"
    if values and min(values) >= LEAST_NANOMETRES:
        return (
            tuple(float(value) for value in values),
            "wavelengths have no unit: taken as nanometres by their range",
        )
    raise DataError(
        f"{where}: wavelengths have no unit, and {min(values, default=0):g} to "
        f"{max(values, default=0):g} tells none",
        "state the unit: nm or um",
    )


def _times_1000(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value) * 1000.0, DECIMALS) for value in values)
