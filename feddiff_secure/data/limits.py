"""The bounds every data file is held to before anything large is allocated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds on what a reader accepts; each is inclusive and names its unit."""

    file_bytes: int = 16 * 2**30  # bytes on disk
    array_bytes: int = 4 * 2**30  # bytes of one array after decompression
    attribute_bytes: int = 2**20  # bytes of one attribute, before its strings are followed
    channels: int = 4096  # bands or LiDAR layers a modality
    side: int = 65_535  # pixels along one side of a raster
    scenes: int = 100_000  # rasters in one file
    classes: int = 1000
    name_chars: int = 200  # characters of a class, channel, site or scene name
    crs_chars: int = 8192  # characters of a coordinate reference system (WKT or authority code)
    objects: int = 1000  # links at the root of a file


DEFAULT_LIMITS = Limits()
