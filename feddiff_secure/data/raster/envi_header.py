"""ENVI header files (`.hdr`): strict parsing, and the size of the data file they describe.

Source: NV5 Geospatial, "ENVI Header Files" (ENVI documentation): the first line is `ENVI`, then
`key = value` lines, a value in braces may span lines, `;` starts a comment. GDAL reads the values;
what it reads loosely, or not at all, is checked and taken from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feddiff_secure.data.raster.layer import Colour
from feddiff_secure.errors import DataError

MAX_BYTES = 4 * 2**20  # of a header
DATA_TYPES = {  # ENVI's code → numpy
    1: "u1",
    2: "i2",
    3: "i4",
    4: "f4",
    5: "f8",
    6: "c8",
    9: "c16",
    12: "u2",
    13: "u4",
    14: "i8",
    15: "u8",
}
INTERLEAVES = ("bsq", "bil", "bip")
DATA_SUFFIXES = ("", ".img", ".dat", ".bsq", ".bil", ".bip", ".raw", ".bin")
HINT = "write the header again, or repair the line"


@dataclass(frozen=True)
class EnviHeader:
    """The fields of a header, keys in lower case; values in braces without them."""

    path: Path
    fields: dict[str, str]

    def text(self, key: str) -> str | None:
        """A field as it is, or None."""
        return self.fields.get(key)

    def items(self, key: str) -> tuple[str, ...] | None:
        """A field as a list, split at commas, or None."""
        value = self.fields.get(key)
        return None if value is None else tuple(part.strip() for part in value.split(","))

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """A field as a list of reals, or None.

        Raises:
            DataError: an item is no number.
        """
        items = self.items(key)
        if items is None:
            return None
        try:
            return tuple(float(item) for item in items)
        except ValueError as error:
            raise DataError(
                f"{self.path}: `{key}` is no list of numbers ({_short(self.fields[key])})", HINT
            ) from error

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A field as one integer.

        Raises:
            DataError: absent without a default, no integer, or outside low..high.
        """
        stated = self.fields.get(key)
        if stated is None and default is not None:
            return default
        try:
            value = int(stated or "")
        except ValueError as error:
            raise DataError(
                f"{self.path}: `{key}` is {_short(stated)}, not an integer", HINT
            ) from error
        if not low <= value <= high:
            raise DataError(f"{self.path}: `{key}` is {value}, outside {low}..{high}", HINT)
        return value

    def class_names(self) -> tuple[str, ...] | None:
        """Names of classes 1..K of a classification; the header's first is that of 0.

        Raises:
            DataError: their number is not that of `classes`.
        """
        names = self.items("class names")
        if names is None:
            return None
        stated = self.integer("classes", 1, 65_536, default=len(names))
        if len(names) != stated:
            raise DataError(
                f"{self.path}: `class names` lists {len(names)}, `classes` says {stated}", HINT
            )
        return names[1:]

    def class_colours(self) -> tuple[Colour, ...] | None:
        """RGB of classes 1..K from `class lookup`, or None.

        Raises:
            DataError: not triples of 0..255.
        """
        numbers = self.numbers("class lookup")
        if numbers is None:
            return None
        if len(numbers) % 3 or any(not 0 <= n <= 255 or n != int(n) for n in numbers):
            raise DataError(f"{self.path}: `class lookup` holds no triples of 0..255", HINT)
        triples = [(int(r), int(g), int(b)) for r, g, b in np.reshape(numbers, (-1, 3)).tolist()]
        return tuple(triples[1:])


def read_envi_header(path: Path) -> EnviHeader:
    """Parses a header.

    Raises:
        DataError: missing, too large, no ENVI header, a line that is neither a field nor a comment,
            or a field twice.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: larger than {MAX_BYTES} bytes", "give an ENVI header")
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "give the .hdr beside its data") from error
    lines = _decoded(raw).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines[0].strip() != "ENVI":
        raise DataError(f"{path}: the first line is not `ENVI`", "give an ENVI header")
    fields: dict[str, str] = {}
    at = 1
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if not line or line.startswith(";"):
            continue
        key, equals, value = line.partition("=")
        key, value = " ".join(key.lower().split()), value.strip()
        if not equals or not key or key in fields:
            what = "stated twice" if key in fields else "no `key = value`"
            raise DataError(f"{path}: line {at}: {_short(line)} is {what}", HINT)
        if value.startswith("{"):
            while "}" not in value:
                if at == len(lines):
                    raise DataError(f"{path}: the brace after `{key}` is never closed", HINT)
                value += " " + lines[at].strip()
                at += 1
            value = value[1 : value.index("}")].strip()
        fields[key] = value
    return EnviHeader(path, fields)


def is_envi_header(path: Path) -> bool:
    """Whether the first line is that of an ENVI header."""
    with path.open("rb") as file:
        return file.readline(16).strip() == b"ENVI"


def find_header(data: Path) -> Path | None:
    """The header of a data file: `x.img` has `x.hdr` or `x.img.hdr`; None where there is none."""
    names = (data.with_name(data.name + ".hdr"), data.with_suffix(".hdr"))
    return next((path for path in names if path != data and path.is_file()), None)


def data_file(header: Path) -> Path:
    """The data file that a header describes.

    Raises:
        DataError: none, or several, lie beside it.
    """
    stem = header.with_suffix("")
    names = [stem.with_name(stem.name + suffix) for suffix in DATA_SUFFIXES]
    found = [path for path in names if path.is_file()]
    if len(found) != 1:
        how = "no data file lies" if not found else f"{len(found)} data files lie"
        raise DataError(
            f"{header}: {how} beside it", f"name it as the header, with one of {DATA_SUFFIXES[1:]}"
        )
    return found[0]


def check_data_size(header: EnviHeader, data: Path) -> None:
    """Refuses a data file that is not of the size which its header states.

    Raises:
        DataError: a needed field is absent or out of range, or the sizes differ.
    """
    samples = header.integer("samples", 1, 2**31 - 1)
    lines = header.integer("lines", 1, 2**31 - 1)
    bands = header.integer("bands", 1, 65_536)
    offset = header.integer("header offset", 0, 2**40, default=0)
    header.integer("byte order", 0, 1, default=0)
    code = header.integer("data type", 1, 15)
    if code not in DATA_TYPES:
        raise DataError(f"{header.path}: `data type` {code} is none of ENVI's", HINT)
    interleave = (header.text("interleave") or "bsq").lower()
    if interleave not in INTERLEAVES:
        raise DataError(
            f"{header.path}: `interleave` is {_short(interleave)}", f"one of {INTERLEAVES}"
        )
    if header.integer("file compression", 0, 1, default=0):
        raise DataError(f"{header.path}: `file compression` is not read", "store it uncompressed")
    expected = offset + samples * lines * bands * np.dtype(DATA_TYPES[code]).itemsize
    found = data.stat().st_size
    if found != expected:
        raise DataError(
            f"{data}: {found} bytes, its header {header.path.name} describes {expected} "
            f"({lines} lines × {samples} samples × {bands} bands)",
            "the data is cut short, or the header belongs to another file",
        )


def _decoded(raw: bytes) -> str:
    """UTF-8, as new writers use for µ, or else Latin-1, of which every byte is a character."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _short(text: str | None) -> str:
    return "absent" if text is None else repr(text[:60])
