"""The public files of a job: everything a coordinator and a node need to build the same features.

    config.toml    the run's configuration, with its digest
    layout.json    the sensors, the classes, the side of a tile, and the owners' names; no number of
                   anybody's data

A node builds the features from these alone and checks that its own data has this layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rfc8785

from feddiff_crypto.encoding import Value
from feddiff_crypto.errors import PolicyError
from feddiff_crypto.keys import is_party_name
from feddiff_crypto.masking.policy import Policy
from feddiff_secure.config.bounds import MOST_OWNERS, MOST_TILE
from feddiff_secure.config.load import dump_config, parse_config
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.data.checks import check_names
from feddiff_secure.data.layout import SensorLayout
from feddiff_secure.data.limits import DEFAULT_LIMITS
from feddiff_secure.errors import DataError, UsageError
from feddiff_secure.transcript.files import read_bytes
from feddiff_secure.transport.job_folder import PUBLIC_FOLDER

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
        tile: side of a tile, pixels. owners: their names, in roster order.
    """

    config: RunConfig
    layout: SensorLayout
    classes: tuple[str, ...]
    tile: int
    owners: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_names(self.owners, "owners", 2, MOST_OWNERS)
        _check_names(self.classes, "classes", 1, DEFAULT_LIMITS.classes)
        wanted = self.config.owner_count
        if wanted is not None and wanted != len(self.owners):
            raise UsageError(
                f"owners is {wanted} in the configuration, {len(self.owners)} are named",
                "name as many owners as the configuration has",
            )
        if any(not is_party_name(name) for name in self.owners):
            raise DataError(f"{LAYOUT_FILE}: an owner's name is no party name", _HINT)

    @property
    def threshold(self) -> int:
        """τ: the fewest owners that a round can be completed with.

        Raises:
            UsageError: owners, dropouts and colluders that leave no guarantee.
        """
        config, owners = self.config, len(self.owners)
        try:
            return Policy(owners, config.dropouts, config.colluders_for(owners)).threshold
        except PolicyError as error:
            raise UsageError(
                str(error), "raise --owners, or lower --colluders or --dropouts"
            ) from error

    def to_files(self) -> dict[str, bytes]:
        """Name → content."""
        return {CONFIG_FILE: dump_config(self.config).encode(), LAYOUT_FILE: self._layout()}

    def to_message(self) -> dict[str, Value]:
        """The fields of the message that prepares a node."""
        return {"config": dump_config(self.config).encode(), "layout": self._layout()}

    def _layout(self) -> bytes:
        fields: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "layout": self.layout.to_dict(),
            "classes": list(self.classes),
            "tile": self.tile,
            "owners": list(self.owners),
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
        tile = fields["tile"]
        if type(tile) is not int or not 1 <= tile <= MOST_TILE:
            raise DataError(f"{LAYOUT_FILE}: tile is not 1..{MOST_TILE}", _HINT)
        for name in ("classes", "owners"):
            value = fields[name]
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise DataError(f"{LAYOUT_FILE}: {name} is no list of names", _HINT)
        layout = SensorLayout.from_dict(fields["layout"])
        return cls(config, layout, tuple(fields["classes"]), tile, tuple(fields["owners"]))

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


def read_job(folder: Path) -> JobFiles:
    """The public files in a job's configuration folder.

    Raises:
        UsageError, DataError: as `JobFiles.from_files`.
        VerificationError: a file that cannot be read.
    """
    names = (CONFIG_FILE, LAYOUT_FILE)
    return JobFiles.from_files(
        {name: read_bytes(folder / PUBLIC_FOLDER / name, MOST_BYTES) for name in names}
    )


_HINT = "the job is made by: feddiff-secure submit"
_FIELDS = {"format", "version", "layout", "classes", "tile", "owners"}


def _check_names(names: tuple[str, ...], what: str, least: int, most: int) -> None:
    if not least <= len(names) <= most:
        raise DataError(f"{LAYOUT_FILE}: {len(names)} {what}, not {least}..{most}", _HINT)
    check_names(names, f"{LAYOUT_FILE}: {what}")


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
