"""RFC 8785 (JSON Canonicalization Scheme): one byte string a JSON value, in any language.

What is hashed and signed as JSON in a transcript is in this form, so that anybody's JSON library
can check it. (`canonical_json` is the other form, for files that people read.) Numbers are written
as ECMAScript writes a double, names are sorted by their UTF-16 code units, text is UTF-8 with the
shortest escapes, and nothing stands between tokens. `parse_jcs` accepts only bytes that come out
the same when they are written again: repeated names, other spaces, other escapes, other orders and
other number forms are all refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeAlias

from feddiff_crypto.errors import DecodeError, LimitError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
MAX_DEPTH: Final = 32  # arrays and objects inside each other
MAX_SAFE_INTEGER: Final = 2**53 - 1  # RFC 7493: beyond it doubles and integers part
_MAX_INTEGER_TEXT: Final = 310  # characters: no double has more before its point


def jcs(value: Json) -> bytes:
    """The one form of `value`.

    Args:
        value: None, bool, int, float, str, list or tuple, or a mapping with text names.

    Raises:
        ValueError: not finite, an integer beyond ±(2⁵³ − 1) (write it as text), text that is not
            Unicode (a lone surrogate), or deeper than `MAX_DEPTH`.
        TypeError: another type.
    """
    return _text(value, 0).encode()


def parse_jcs(data: bytes, what: str, max_bytes: int) -> Any:
    """Read a JSON value in its one form.

    Args:
        data: bytes from anywhere.
        what: what it is, for the error message.
        max_bytes: the longest input that is parsed.

    Raises:
        LimitError: longer than `max_bytes`.
        DecodeError: not JSON in UTF-8, or not in its one form.
    """
    if len(data) > max_bytes:
        raise LimitError(f"{what}: {len(data)} bytes > limit {max_bytes}")
    try:
        value = json.loads(data.decode(), parse_int=_read_integer, parse_constant=_refuse_constant)
        again = jcs(value)
    except (ValueError, RecursionError) as error:  # bad text, bad JSON, huge numbers, deep nesting
        raise DecodeError(f"{what}: not RFC 8785 JSON: {str(error)[:80]!a}") from None
    if again != data:
        raise DecodeError(f"{what}: not in its one canonical form (RFC 8785)")
    return value


def _text(value: Json, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case None | bool():
            return json.dumps(value)
        case int():
            if abs(value) > MAX_SAFE_INTEGER:
                raise ValueError("an integer beyond ±(2^53 - 1)")
            return str(value)
        case float():
            return _number(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ",".join(_members(value, depth)) + "}"
        case list() | tuple():
            return "[" + ",".join(_text(item, depth + 1) for item in value) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON value")


def _members(value: Mapping[str, Json], depth: int) -> list[str]:
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"an object's name is a {type(name).__name__}")
    ordered = sorted(value, key=lambda name: name.encode("utf-16-be"))  # section 3.2.3
    return [f"{_text(name, depth)}:{_text(value[name], depth + 1)}" for name in ordered]


def _number(value: float) -> str:
    """ECMAScript's Number::toString (ECMA-262, 6.1.6.1.20), whose digits are those of `repr`."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no JSON number")
    if value == 0:
        return "0"  # minus zero too
    negative, digit_values, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    digits = "".join(map(str, digit_values))
    point = len(digits) + exponent  # the value is 0.digits · 10^point
    digits = digits.rstrip("0")
    sign = "-" if negative else ""
    if not -6 < point <= 21:
        mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
        return f"{sign}{mantissa}e{point - 1:+d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    whole, fraction = digits[:point].ljust(point, "0"), digits[point:]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole


def _read_integer(text: str) -> int | float:
    """A JSON number without point or exponent: an int where doubles are exact, else a double."""
    if len(text) > _MAX_INTEGER_TEXT:
        raise ValueError(f"a number of {len(text)} digits")
    value = int(text)
    return value if abs(value) <= MAX_SAFE_INTEGER else float(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
