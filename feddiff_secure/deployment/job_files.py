"""The public files of a job: everything a coordinator and a node need to build the same features.

    config.toml    the run's configuration, with its digest
    layout.json    the sensors, the classes and the side of a tile; no number of anybody's data

A node builds the features from these alone and checks that its own data has this layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import rfc8785

from feddiff_crypto.encoding import Value
from feddiff_secure.config.bounds import MOST_TILE
from feddiff_secure.config.load import dump_config, parse_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.checks import check_names
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.errors import DataError

CONFIG_FILE: Final = "config.toml"
LAYOUT_FILE: Final = "layout.json"
FORMAT: Final = "feddiff-secure layout"
VERSION: Final = 1
MOST_BYTES: Final = 1 << 20  # of each of the two


@dataclass(frozen=True, slots=True)
class JobFiles:
    """What a job says to all who take part.

    Attributes:
        config: the configuration. layout: of the sensors. classes: their names, 1..K.
        tile: side of a tile, pixels.
    """

    config: RunConfig
    layout: SensorLayout
    classes: tuple[str, ...]
    tile: int

    def to_files(self) -> dict[str, bytes]:
        """Name → content."""
        return {CONFIG_FILE: dump_config(self.config).encode(), LAYOUT_FILE: self._layout()}

    def to_message(self) -> dict[str, Value]:
        """The fields of the message that prepares a node."""
        return {"config": dump_config(self.config).encode(), "layout": self._layout()}

    def _layout(self) -> bytes:
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "layout": self.layout.to_dict(),
            "classes": list(self.classes),
            "tile": self.tile,
        }
        return rfc8785.dumps(fields)

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> JobFiles:
        """Read the two files.

        Raises:
            UsageError: a configuration that is none, or was edited.
            DataError: a layout that is none.
        """
        for name in (CONFIG_FILE, LAYOUT_FILE):
            if len(files.get(name, b"")) > MOST_BYTES:
                raise DataError(f"{name}: {len(files[name])} bytes > {MOST_BYTES}", _HINT)
        config = parse_config(files.get(CONFIG_FILE, b""), CONFIG_FILE)
        fields = _object(files.get(LAYOUT_FILE, b""))
        tile, classes = fields["tile"], fields["classes"]
        if type(tile) is not int or not 1 <= tile <= MOST_TILE:
            raise DataError(f"{LAYOUT_FILE}: tile is not 1..{MOST_TILE}", _HINT)
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise DataError(f"{LAYOUT_FILE}: classes are no list of names", _HINT)
        if not 1 <= len(classes) <= DEFAULT_LIMITS.classes:
            raise DataError(
                f"{LAYOUT_FILE}: {len(classes)} classes, not 1..{DEFAULT_LIMITS.classes}", _HINT
            )
        check_names(tuple(classes), f"{LAYOUT_FILE}: classes")
        return cls(config, SensorLayout.from_dict(fields["layout"]), tuple(classes), tile)

    @classmethod
    def from_message(cls, message: Mapping[str, Value]) -> JobFiles:
        """Read the message that prepares a node.

        Raises:
            UsageError, DataError: as `from_files`.
        """
        config, layout = message.get("config"), message.get("layout")
        if not isinstance(config, bytes) or not isinstance(layout, bytes) or len(message) != 2:
            raise DataError("prepare: not a configuration and a layout", _HINT)
        return cls.from_files({CONFIG_FILE: config, LAYOUT_FILE: layout})


_HINT = "the job is made by: feddiff-secure submit"
_FIELDS = {"format", "version", "layout", "classes", "tile"}


def _object(data: bytes) -> dict[str, Any]:
    try:
        fields: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{LAYOUT_FILE}: not JSON", _HINT) from error
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise DataError(f"{LAYOUT_FILE}: other fields than {', '.join(sorted(_FIELDS))}", _HINT)
    if fields["format"] != FORMAT or fields["version"] != VERSION:
        raise DataError(f"{LAYOUT_FILE}: format {fields['format']!r:.60}", _HINT)
    return fields
