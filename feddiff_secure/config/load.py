"""Read and write the configuration as TOML: strict in keys and types, with a digest.

A resolved configuration carries `config_digest`, the SHA-256 of its canonical JSON (RFC 8785).
Reading a file that carries a digest checks it, so that an edited copy is noticed.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rfc8785
import tomli_w

from feddiff_secure.config.paper import with_profile_defaults
from feddiff_secure.config.schema import RunConfig
from feddiff_secure.errors import UsageError

DIGEST_KEY = "config_digest"
MOST_BYTES = 1 << 20  # of a configuration file

_KINDS = {"float": "a number", "int": "an integer", "bool": "true or false"}
_TYPES: dict[str, str] = {
    f.name: str(f.type).removesuffix(" | None") for f in dataclasses.fields(RunConfig)
}


def config_digest(config: RunConfig) -> str:
    """SHA-256 (hex) of the canonical JSON of a configuration; infinity is the string "inf"."""
    plain = {k: "inf" if v == math.inf else v for k, v in config.to_dict().items()}
    return hashlib.sha256(rfc8785.dumps(plain)).hexdigest()


def dump_config(config: RunConfig) -> str:
    """The TOML text of a resolved configuration, with its digest."""
    return tomli_w.dumps({DIGEST_KEY: config_digest(config), **config.to_dict()})


def load_config(path: Path, overrides: Mapping[str, Any]) -> RunConfig:
    """A configuration from a file, with command-line values over it.

    Args:
        path: the TOML file.
        overrides: values given on the command line; they win over the file.

    Raises:
        UsageError: an unreadable file, an unknown key, a wrong type or value, a digest that does
            not match.
    """
    return parse_config(_read(path), str(path), overrides)


def parse_config(data: bytes, source: str, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A configuration from the bytes of a file, with other values over it.

    Args:
        data: TOML in UTF-8. source: its name, for messages. overrides: win over the file.

    Raises:
        UsageError: as `load_config`.
    """
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond any limit
        raise UsageError(f"{source}: not TOML: {error}", "see docs/configuration.md") from error
    digest = values.pop(DIGEST_KEY, None)
    check_keys(values, source)
    if digest is not None and digest != config_digest(RunConfig(**with_profile_defaults(values))):
        raise UsageError(
            f"{source}: {DIGEST_KEY} does not match the values",
            f"the file was edited: remove its {DIGEST_KEY} line to use it",
        )
    return RunConfig(**with_profile_defaults({**values, **(overrides or {})}))


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path}: larger than {MOST_BYTES} bytes", "give a TOML file")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give a readable TOML file") from error


def kind_of(key: str) -> str:
    """What type of value a key takes, in words."""
    return _KINDS.get(_TYPES[key], "text in quotes")


def check_keys(values: Mapping[str, Any], source: str) -> None:
    """Refuse unknown keys, naming the nearest known one, and values of another type.

    Raises:
        UsageError: naming the key.
    """
    for key, value in values.items():
        if key not in _TYPES:
            near = difflib.get_close_matches(key, _TYPES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(_TYPES)}"
            raise UsageError(f"{source}: unknown key {key[:80]!r}", hint)
        expected = _TYPES[key]
        if expected == "float":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        elif expected == "int":
            fits = isinstance(value, int) and not isinstance(value, bool)
        elif expected == "bool":
            fits = isinstance(value, bool)
        else:
            fits = isinstance(value, str)
        if not fits:
            raise UsageError(f"{source}: {key} is {str(value)[:80]!r}", f"give {kind_of(key)}")
