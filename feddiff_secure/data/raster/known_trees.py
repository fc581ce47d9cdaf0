"""Folders of public benchmark scenes, as the package `rs-fusion-datasets` lays them out.

Source: the package's loaders `fetch_houston2013`, `fetch_trento`, `fetch_muufl` and
`_fetch_trento_mat` (versions 0.9 to 1.0), each of which unpacks an archive below a folder of the
scene's name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.data.mat5_nested import read_nested, read_nested_names
from feddiff_secure.data.raster.layer import FieldName
from feddiff_secure.data.raster.manifest import LayerSource, SceneFiles

_CONTEST = "2013_IEEE_GRSS_DF_Contest"
_TRENTO_BANDS = 63
_TRENTO_RANGE = (402.89, 989.09)  # nm; the package spaces the bands evenly over it
_TRENTO_CLASSES = ("Apple Trees", "Building", "Ground", "Woods", "Vineyard", "Roads")


def known_tree(folder: Path) -> SceneFiles | None:
    """The scene of a benchmark's folder, or of the one below it; None where it is none."""
    below = sorted(entry for entry in folder.iterdir() if entry.is_dir())[:100]
    for place in (folder, *below):
        for kind in (_houston, _trento, _muufl, _labels_apart):
            found = kind(folder, place)
            if found is not None:
                return found
    return None


def _houston(folder: Path, place: Path) -> SceneFiles | None:
    """The 2013 contest: GeoTIFFs, and ENVI's ROI text of training and test samples."""
    if not (place / f"{_CONTEST}_CASI.tif").is_file():
        return None
    layers: dict[FieldName, LayerSource] = {
        "hsi": LayerSource(file=place / f"{_CONTEST}_CASI.tif"),
        "lidar": LayerSource(file=place / f"{_CONTEST}_LiDAR.tif"),
    }
    return _with_labels(
        folder, layers, [place / f"{_CONTEST}_Samples_{part}.txt" for part in ("TR", "VA")]
    )


def _trento(folder: Path, place: Path) -> SceneFiles | None:
    """Three MATLAB files of one array each."""
    if not (place / "Italy_hsi.mat").is_file():
        return None
    centres = np.linspace(*_TRENTO_RANGE, _TRENTO_BANDS).tolist()
    layers: dict[FieldName, LayerSource] = {
        "hsi": LayerSource(
            file=place / "Italy_hsi.mat",
            dataset="data",
            wavelengths=tuple(centres),
            wavelength_units="nm",
        ),
        "lidar": LayerSource(file=place / "Italy_lidar.mat", dataset="data"),
        "labels": LayerSource(file=place / "allgrd.mat", dataset="mask_test"),
    }
    return SceneFiles(path=folder, layers=layers, grid="hsi", classes=_TRENTO_CLASSES)


def _muufl(folder: Path, place: Path) -> SceneFiles | None:
    """One MATLAB file whose structure `hsi` holds both images, labels, names and wavelengths."""
    file = place / "MUUFLGulfportSceneLabels" / "muufl_gulfport_campus_1_hsi_220_label.mat"
    if not file.is_file():
        return None
    centres = read_nested(file, "hsi.info.wavelength", DEFAULT_LIMITS).reshape(-1).tolist()
    names = read_nested_names(file, "hsi.sceneLabels.Materials_Type", DEFAULT_LIMITS)
    layers: dict[FieldName, LayerSource] = {
        "hsi": LayerSource(file=file, dataset="hsi.Data", wavelengths=tuple(centres)),
        "lidar": LayerSource(file=file, dataset="hsi.Lidar.0.z"),
        "labels": LayerSource(file=file, dataset="hsi.sceneLabels.labels", nodata=-1),
    }
    classes = tuple(name.strip() for name in names)
    return SceneFiles(path=folder, layers=layers, grid="hsi", classes=classes)


def _labels_apart(folder: Path, place: Path) -> SceneFiles | None:
    """`HSI.mat`, `LiDAR.mat`, `TRLabel.mat`, `TSLabel.mat`, each of one array."""
    if not (place / "HSI.mat").is_file() or not (place / "TRLabel.mat").is_file():
        return None
    layers: dict[FieldName, LayerSource] = {
        "hsi": LayerSource(file=place / "HSI.mat"),
        "lidar": LayerSource(file=place / "LiDAR.mat"),
    }
    return _with_labels(folder, layers, [place / "TRLabel.mat", place / "TSLabel.mat"])


def _with_labels(
    folder: Path, layers: dict[FieldName, LayerSource], files: list[Path]
) -> SceneFiles:
    """Training and test samples joined, of which the second may be absent."""
    sources = [LayerSource(file=file) for file in files if file == files[0] or file.is_file()]
    return SceneFiles(
        path=folder,
        layers={**layers, "labels": sources[0]},
        grid="hsi",
        more_labels=tuple(sources[1:]),
    )
