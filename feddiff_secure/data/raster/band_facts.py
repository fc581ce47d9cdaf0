"""What GeoTIFF tags and ENVI headers say about bands and classes: names, wavelengths, scales."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from feddiff_secure.data.checks import check_wavelengths
from feddiff_secure.data.raster.envi_header import EnviHeader
from feddiff_secure.data.raster.layer import Colour
from feddiff_secure.data.raster.wavelength_units import in_nanometres
from feddiff_secure.errors import DataError

if TYPE_CHECKING:
    import rasterio

MAX_CLASS_TAGS = 1000
_NUMBERED = re.compile(r"(band|layer)[ _]?\d+( ?\(.*\))?", re.IGNORECASE)
_LIST_TAGS = ("wavelengths_nm", "wavelengths", "wavelength")

Wavelengths = tuple[float, ...] | None
Notes = tuple[str, ...]


def band_names(descriptions: tuple[str | None, ...]) -> tuple[str, ...] | None:
    """Names of all bands, or None where they are only numbers, as GDAL and ENVI write them."""
    if any(not name or _NUMBERED.fullmatch(name.strip()) for name in descriptions):
        return None
    names = tuple(str(name).strip() for name in descriptions)
    return names if len(set(names)) == len(names) else None


def tagged_wavelengths(file: rasterio.DatasetReader, path: Path) -> tuple[Wavelengths, Notes]:
    """Band centres from GDAL's metadata, by the first of three ways that all bands have.

    1. `CENTRAL_WAVELENGTH_UM` of each band in the domain `IMAGERY` (GDAL raster data model).
    2. `wavelength` and `wavelength_units` of each band (as GDAL gives them for ENVI files).
    3. A list `wavelengths_nm`, `wavelengths` or `wavelength` of the file, with `wavelength_units`.

    Raises:
        DataError: no numbers, not one a band, not increasing, or of another unit.
    """
    where = f"{path}: wavelengths"
    bands = range(1, file.count + 1)
    central = [file.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM") for band in bands]
    if all(value is not None for value in central):
        return _checked(central, "um", file.count, where, note=False)
    tags = [_lower(file.tags(band)) for band in bands]
    each = [tag.get("wavelength") for tag in tags]
    if all(value is not None for value in each):
        return _checked(each, _unit(tags[0]), file.count, where)
    whole = _lower({**file.tags(ns="ENVI"), **file.tags()})
    for key in _LIST_TAGS:
        if key in whole:
            values = whole[key].strip("{} ").split(",")
            unit = "nm" if key == "wavelengths_nm" else _unit(whole)
            return _checked(list(values), unit, file.count, where)
    return None, ()


def envi_facts(header: EnviHeader, bands: int) -> tuple[Wavelengths, Notes]:
    """Band centres of a header, and a note on bands that it marks as bad.

    Raises:
        DataError: as `tagged_wavelengths`.
    """
    stated = header.items("wavelength")
    if stated is None:
        return None, ()
    unit = header.text("wavelength units")
    found, notes = _checked(list(stated), unit, bands, f"{header.path}: `wavelength`")
    good = header.numbers("bbl")
    bad = 0 if good is None else sum(value == 0 for value in good)
    return found, (*notes, f"`bbl` marks {bad} bands as bad: they are kept") if bad else notes


def band_scale(
    file: rasterio.DatasetReader, header: EnviHeader | None, path: Path
) -> tuple[float, ...] | None:
    """The factor of each band, or one; from GDAL's scales, else ENVI's reflectance scale factor.

    Raises:
        DataError: an offset, which has no place here, or a factor that is no positive number.
    """
    if any(offset != 0 for offset in file.offsets):
        raise DataError(
            f"{path}: bands have an offset {file.offsets[0]:g}",
            "apply it before importing: gdal_translate -unscale",
        )
    scales = tuple(float(scale) for scale in file.scales)
    if any(scale != 1 for scale in scales):
        return scales[:1] if len(set(scales)) == 1 else scales
    divisor = None if header is None else header.numbers("reflectance scale factor")
    if divisor is None or header is None:
        return None
    if len(divisor) != 1 or not divisor[0] > 0:
        raise DataError(
            f"{header.path}: `reflectance scale factor` is no positive number", "state one"
        )
    return (1.0 / divisor[0],)


def tagged_classes(file: rasterio.DatasetReader) -> tuple[str, ...] | None:
    """Class names from the tags `class_1`, `class_2`, … of the first band or of the file."""
    for tags in (_lower(file.tags(1)), _lower(file.tags())):
        names: list[str] = []
        while f"class_{len(names) + 1}" in tags and len(names) < MAX_CLASS_TAGS:
            names.append(tags[f"class_{len(names) + 1}"])
        if names:
            return tuple(names)
    return None


def tagged_colours(file: rasterio.DatasetReader) -> tuple[Colour, ...] | None:
    """RGB of values 1… of the first band's colour table, without the unused black at its end."""
    try:
        table = file.colormap(1)
    except ValueError:  # rasterio's word for "no colour table"
        return None
    colours = [tuple(table[value][:3]) for value in sorted(table) if value > 0]
    while colours and colours[-1] == (0, 0, 0):
        colours.pop()
    return tuple((int(r), int(g), int(b)) for r, g, b in colours) or None


def _checked(
    stated: list[str | None], unit: str | None, bands: int, where: str, *, note: bool = True
) -> tuple[Wavelengths, Notes]:
    try:
        values = [float(value or "") for value in stated]
    except ValueError as error:
        raise DataError(f"{where}: not all are numbers", "give one a band") from error
    found, said = in_nanometres(values, unit, where)
    check_wavelengths(found, bands, where)
    return found, (said,) if said is not None and note else ()


def _lower(tags: dict[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items()}


def _unit(tags: dict[str, str]) -> str | None:
    return tags.get("wavelength_units", tags.get("wavelength_unit", tags.get("wavelength units")))
