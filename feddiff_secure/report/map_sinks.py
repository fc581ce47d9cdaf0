"""Where the windows of a map go: a GeoTIFF, an HDF5 file, or a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from feddiff_secure.data.scene import Affine
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.report.geotiff import MapGeotiff, open_map_geotiff
from feddiff_secure.report.landcover_map import Colour, LandcoverMap, write_map_png

MOST_PICTURE_SIDE = 2048  # pixels; larger maps are thinned for the picture
NO_CRS = "out: {} needs one scene with a CRS"
NO_CRS_HINT = "write a .png or .h5"
_H5_CHUNK = 256

Labels = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class MapFrame:
    """What a map is of.

    Attributes:
        shape: (H, W).
        classes: names of labels 1..K.
        colours: RGB 0..255 of each class, or None for the palette.
        crs: of the scene, or None.
        transform: of the scene, or None.
        name: of the scene.
    """

    shape: tuple[int, int]
    classes: tuple[str, ...]
    colours: Sequence[Colour] | None
    crs: str | None
    transform: Affine | None
    name: str


class MapSink(Protocol):
    """Takes the windows of one map, each pixel once."""

    def write(self, row: int, col: int, labels: Labels, reference: Labels | None) -> None:
        """The labels (h, w) of a window at a pixel, and the reference labels there, if any."""
        ...


@contextmanager
def open_sink(path: Path, frame: MapFrame) -> Iterator[MapSink]:
    """The file of a map, by its suffix: .tif, .tiff, .h5, else a picture.

    It appears only when all went well.

    Raises:
        UsageError: a GeoTIFF without a CRS, or without the `geo` extra.
        DataError: it cannot be written.
    """
    if path.suffix in {".tif", ".tiff"}:
        if frame.crs is None:
            raise UsageError(NO_CRS.format(path.suffix), NO_CRS_HINT)
        with open_map_geotiff(
            path, frame.shape, frame.classes, frame.crs, frame.transform, colours=frame.colours
        ) as file:
            yield _Tiff(file)
    elif path.suffix == ".h5":
        with _open_h5(path, frame) as dataset:
            yield _H5(dataset)
    else:
        picture = _Picture(frame)
        yield picture
        picture.save(path)


class _Tiff:
    def __init__(self, file: MapGeotiff) -> None:
        self._file = file

    def write(self, row: int, col: int, labels: Labels, reference: Labels | None) -> None:
        del reference  # the file holds the prediction alone
        self._file.write(row, col, labels)


class _H5:
    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset

    def write(self, row: int, col: int, labels: Labels, reference: Labels | None) -> None:
        del reference
        height, width = labels.shape
        self._dataset[row : row + height, col : col + width] = labels.astype(np.uint16)


class _Picture:
    """Every n-th pixel of the map and of the reference."""

    def __init__(self, frame: MapFrame) -> None:
        self._frame = frame
        self._step = max(1, -(-max(frame.shape) // MOST_PICTURE_SIDE))
        thin = tuple(-(-side // self._step) for side in frame.shape)
        self._predicted = np.zeros(thin, dtype=np.int16)
        self._reference = np.zeros(thin, dtype=np.int16)

    def write(self, row: int, col: int, labels: Labels, reference: Labels | None) -> None:
        down, across = -row % self._step, -col % self._step
        part = labels[down :: self._step, across :: self._step]
        top, left = (row + down) // self._step, (col + across) // self._step
        at = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        self._predicted[at] = part
        if reference is not None:
            self._reference[at] = reference[down :: self._step, across :: self._step]

    def save(self, path: Path) -> None:
        """Draw what was gathered."""
        reference = self._reference if self._reference.any() else None
        entry = LandcoverMap(self._predicted, reference, name=self._frame.name)
        write_map_png(path, [entry], self._frame.classes, colours=self._frame.colours)


@contextmanager
def _open_h5(path: Path, frame: MapFrame) -> Iterator[h5py.Dataset]:
    """`label` of docs/formats/scene.md, with the class names and the place."""
    partial = path.with_name(path.name + ".partial")
    chunks = (min(_H5_CHUNK, frame.shape[0]), min(_H5_CHUNK, frame.shape[1]))
    try:
        with h5py.File(partial, "w") as file:
            file.attrs["classes"] = list(frame.classes)
            for name, value in (("crs", frame.crs), ("transform", frame.transform)):
                if value is not None:
                    file.attrs[name] = value
            yield file.create_dataset(
                "label", frame.shape, dtype=np.uint16, chunks=chunks, compression="gzip"
            )
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})", "check the folder") from error
    finally:
        partial.unlink(missing_ok=True)
