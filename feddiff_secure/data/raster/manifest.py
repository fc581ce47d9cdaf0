"""Scene manifests: a small TOML file that says which file is which layer of a scene.

    hsi = "reflectance.img"
    lidar = { file = "dsm.tif", scale = 0.02 }
    labels = "ground_truth.tif"
    classes = ["grass", "trees"]

docs/formats/rasters.md lists every key.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.raster.layer import FieldName
from feddiff_secure.errors import DataError

MANIFEST_SUFFIX = ".toml"
MANIFEST_NAME = "scene.toml"
MAX_BYTES = 2**20
FIELDS: tuple[FieldName, ...] = get_args(FieldName)
_SCENE_KEYS = (*FIELDS, "grid", "classes", "site")
_LABEL_KEYS = ("file", "dataset", "nodata")
_UNITS = ("nm", "um")
_DOC = "see docs/formats/rasters.md"


@dataclass(frozen=True, kw_only=True)
class LayerSource:
    """One layer of a scene; what is None is taken from its file.

    Attributes:
        file: where it lies.
        dataset: name within an HDF5 or MATLAB file.
        nodata: stored value of missing pixels (of labels: unlabelled ones).
        scale: factors, one or one a band.
        wavelengths: band centres in `wavelength_units`.
        wavelength_units: `nm` or `um`.
        support: `pixel` or `neighbourhood`.
        channels: band names.
    """

    file: Path
    dataset: str | None = None
    nodata: float | None = None
    scale: tuple[float, ...] | None = None
    wavelengths: tuple[float, ...] | None = None
    wavelength_units: str | None = None
    support: str | None = None
    channels: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class SceneFiles:
    """The layers of one scene.

    Attributes:
        path: the manifest, folder or file that names them; its stem names the scene.
        layers: by field; at least one modality.
        grid: the layer whose grid the scene takes.
        more_labels: further label files, joined with the first (training and test samples).
        classes: class names; None takes those of the labels.
        site: name of the place or organisation.
    """

    path: Path
    layers: Mapping[FieldName, LayerSource]
    grid: FieldName
    more_labels: tuple[LayerSource, ...] = ()
    classes: tuple[str, ...] | None = None
    site: str | None = None


def read_manifest(path: Path) -> SceneFiles:
    """Reads a manifest; file names are relative to its folder.

    Raises:
        DataError: missing, too large, no TOML, an unknown key, or a value of another type.
    """
    values = _toml(path)
    _refuse_unknown(values, _SCENE_KEYS, str(path))
    labels = values.get("labels")
    several = labels if isinstance(labels, list) and labels else [labels]
    values["labels"] = several[0]
    layers = {
        field: _layer(values[field], field, path)
        for field in FIELDS
        if values.get(field) is not None
    }
    if not {"hsi", "lidar"} & set(layers):
        raise DataError(f"{path}: names neither `hsi` nor `lidar`", _DOC)
    grid = values.get("grid", "hsi" if "hsi" in layers else "lidar")
    if grid not in layers:
        raise DataError(
            f"{path}: grid is {grid!r}, which is no layer of the scene",
            f"name one of {', '.join(layers)}",
        )
    return SceneFiles(
        path=path,
        layers=layers,
        grid=next(field for field in FIELDS if field == grid),
        more_labels=tuple(_layer(more, "labels", path) for more in several[1:]),
        classes=_names(values.get("classes"), f"{path}: classes"),
        site=_text(values.get("site"), f"{path}: site"),
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes", "give a scene manifest")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "check the path given with --data") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not TOML: {error}", _DOC) from error


def _refuse_unknown(values: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise DataError(f"{where}: unknown key {key!r}", hint)


def _layer(value: object, field: FieldName, path: Path) -> LayerSource:
    where = f"{path}: {field}"
    if isinstance(value, str):
        value = {"file": value}
    if not isinstance(value, dict):
        raise DataError(f"{where} is {value!r}", "give a file name in quotes, or a table")
    _refuse_unknown(
        value,
        _LABEL_KEYS if field == "labels" else [entry.name for entry in fields(LayerSource)],
        where,
    )
    name = _text(value.get("file"), f"{where}.file")
    if not name:
        raise DataError(f"{where} names no `file`", 'give file = "…"')
    units = _text(value.get("wavelength_units"), f"{where}.wavelength_units")
    if units is not None and units not in _UNITS:
        raise DataError(f"{where}.wavelength_units is {units!r}", f"one of {', '.join(_UNITS)}")
    return LayerSource(
        file=path.parent / name,
        dataset=_text(value.get("dataset"), f"{where}.dataset"),
        nodata=_number(value.get("nodata"), f"{where}.nodata"),
        scale=_numbers(value.get("scale"), f"{where}.scale"),
        wavelengths=_numbers(value.get("wavelengths"), f"{where}.wavelengths"),
        wavelength_units=units,
        support=_text(value.get("support"), f"{where}.support"),
        channels=_names(value.get("channels"), f"{where}.channels"),
    )


def _text(value: object, where: str) -> str | None:
    if value is None or (isinstance(value, str) and "\0" not in value):
        return value
    raise DataError(f"{where} is {value!r}", "give text in quotes")


def _number(value: object, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise DataError(f"{where} is {value!r}", "give a number")
    return float(value)


def _numbers(value: object, where: str) -> tuple[float, ...] | None:
    """One number, or a list of them."""
    if value is None:
        return None
    items = value if isinstance(value, list) else [value]
    if not 1 <= len(items) <= DEFAULT_LIMITS.channels:
        raise DataError(f"{where} has {len(items)} numbers", "give one, or one a band")
    numbers = [_number(item, where) for item in items]
    return tuple(number for number in numbers if number is not None)


def _names(value: object, where: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where} is {str(value)[:80]!r}", 'give a list of names: ["…", "…"]')
    return tuple(value)
