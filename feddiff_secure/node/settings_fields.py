"""The keys of a node's settings: type, bounds and default of each, and the strict check."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from feddiff_privacy.ledger.entries import MOST_LIFETIME, is_holding_name
from feddiff_secure.config.bounds import (
    LEAST_EPSILON,
    MOST_EPSILON,
    MOST_OWNERS,
    MOST_ROUNDS,
    MOST_TILE,
)
from feddiff_secure.config.schema import CHOICES
from feddiff_secure.errors import UsageError

REQUIRED: Final = object()
MOST_LISTED = 1000
LONGEST_PATH = 1024
LONGEST_REVIEW = 7 * 24 * 3600  # seconds
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One key.

    Attributes:
        check: gives the value back in its final type, or raises ValueError with what is wanted.
        default: the value where the key is missing, or REQUIRED.
    """

    check: Callable[[Any], Any]
    default: Any = REQUIRED


def checked(
    values: Mapping[str, Any], fields: Mapping[str, Field], source: str, prefix: str
) -> dict[str, Any]:
    """The values of all fields; missing ones by their default.

    Args:
        values: as the file has them.
        fields: the known keys.
        source: the file, for messages.
        prefix: of the keys, for messages.

    Raises:
        UsageError: an unknown key, naming the nearest; a missing one; a wrong type or value.
    """
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(fields)}"
            raise UsageError(f"{source}: unknown key {prefix}{key}", hint)
    result = {}
    for key, field in fields.items():
        if key not in values:
            if field.default is REQUIRED:
                raise UsageError(f"{source}: no key {prefix}{key}", "docs/deploy.md lists the keys")
            result[key] = field.default
            continue
        try:
            result[key] = field.check(values[key])
        except ValueError as error:
            shown = repr(values[key])[:80]
            raise UsageError(f"{source}: {prefix}{key} is {shown}", f"give {error}") from error
    return result


def _path(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_PATH or "\0" in value:
        raise ValueError(f"a path of 1 to {LONGEST_PATH} characters in quotes")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # one error of a wrong value
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text in quotes")  # one error of a wrong value
    return value


def _holding(value: object) -> str:
    if not isinstance(value, str) or not is_holding_name(value):
        raise ValueError("1 to 64 letters, digits, _ and -, not led by a sign")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise ValueError("64 lower-case hex digits")
    return value


def _digests(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_LISTED:
        raise ValueError(f"a list of at most {MOST_LISTED} digests of 64 hex digits")
    return tuple(_digest(one) for one in value)


def _number(low: float, high: float, *, infinite: bool = False) -> Callable[[Any], float]:
    def check(value: object) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and infinite and value == math.inf:
            return math.inf
        if not is_number or not low <= float(value) <= high:  # type: ignore[arg-type]  # a number by now
            raise ValueError(f"a number from {low:g} to {high:g}" + (", or inf" * infinite))
        return float(value)  # type: ignore[arg-type]  # a number by now

    return check


def _integer(low: int, high: int) -> Callable[[Any], int]:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return check


def _some(choices: tuple[str, ...]) -> Callable[[Any], tuple[str, ...]]:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or any(one not in choices for one in value):
            raise ValueError(f"a list of some of: {', '.join(choices)}")
        return tuple(value)

    return check


def _lifetime(value: object) -> float | None:
    number = _number(LEAST_EPSILON, MOST_LIFETIME, infinite=True)(value)
    return None if math.isinf(number) else number


NODE_FIELDS: Final[dict[str, Field]] = {
    "data": Field(_path, None),
    "lidar_data": Field(_path, None),
    "part": Field(_text, None),
    "holding": Field(_holding),
    "ledger": Field(_path),
    "identity": Field(_path),
    "passphrase_file": Field(_path, None),
    "registry": Field(_path),
    "custodians": Field(_path, None),
    "review": Field(_flag, False),
    "pending": Field(_path, "pending"),
    "review_timeout_s": Field(_number(1, LONGEST_REVIEW), 3600.0),
}

_NOISES = tuple(name for name in CHOICES["noise"] if name != "none")

POLICY_FIELDS: Final[dict[str, Field]] = {
    "largest_epsilon": Field(_number(LEAST_EPSILON, MOST_EPSILON, infinite=True)),
    "lifetime_epsilon": Field(_lifetime),
    "largest_delta": Field(_number(1e-15, 1e-2), 1e-5),
    "smallest_owners": Field(_integer(2, MOST_OWNERS), 3),
    "least_colluders": Field(_integer(0, MOST_OWNERS), 1),
    "most_colluders": Field(_integer(0, MOST_OWNERS), MOST_OWNERS),
    "most_dropouts": Field(_integer(0, MOST_OWNERS), MOST_OWNERS),
    "most_rounds": Field(_integer(1, MOST_ROUNDS), MOST_ROUNDS),
    "smallest_tile": Field(_integer(1, MOST_TILE), 1),
    "aggregations": Field(_some(CHOICES["aggregation"]), ("masked", "encrypted")),
    "noises": Field(_some(_NOISES), _NOISES),
    "mechanisms": Field(_some(CHOICES["mechanism"]), CHOICES["mechanism"]),
    "topologies": Field(_some(CHOICES["topology"]), CHOICES["topology"]),
    "key_agreements": Field(_some(CHOICES["key_agreement"]), CHOICES["key_agreement"]),
    "units": Field(_some(CHOICES["unit"]), CHOICES["unit"]),
    "allowed_configs": Field(_digests, ()),
    "show_bounds": Field(_flag, False),
}
